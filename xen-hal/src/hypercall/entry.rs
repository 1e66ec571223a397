//! What a backend has to write: one instruction sequence. The six methods of
//! [`Hypercall`](super::Hypercall) follow from it.

use core::mem::MaybeUninit;

/// The five argument registers. Those that the caller does not use hold nothing, and cost no
/// instruction.
///
/// A debug build of Xen overwrites the argument registers of the hypercall's nominal arity, which
/// may be more than were passed: a backend gives up all five, always.
pub(super) type Arguments = [MaybeUninit<usize>; 5];

/// A backend's instruction sequence.
pub(super) trait Entry {
    /// Enters the hypervisor with `number` and `arguments`, and returns its answer.
    ///
    /// # Safety
    ///
    /// As for [`Hypercall::call0`](super::Hypercall::call0).
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize;
}

/// Implements [`Hypercall`](super::Hypercall) for a type that implements [`Entry`].
macro_rules! hypercall_by_entry {
    ($backend:ty) => {
        // SAFETY: `enter` makes the hypercall with these arguments and returns Xen's answer; the assembly
        // marks every register that may change, and memory.
        unsafe impl $crate::hypercall::Hypercall for $backend {
            $crate::hypercall::entry::methods_by_entry! {
                call0(), call1(a), call2(a, b), call3(a, b, c), call4(a, b, c, d), call5(a, b, c, d, e)
            }
        }
    };
}

/// The methods named, each of which puts its arguments into the first registers.
macro_rules! methods_by_entry {
    ($($call:ident($($argument:ident),*)),*) => {$(
        #[inline(always)]
        unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
            let passed: &[usize] = &[$($argument),*];
            let register = |register: usize| match passed.get(register) {
                Some(argument) => core::mem::MaybeUninit::new(*argument),
                None => core::mem::MaybeUninit::uninit(),
            };
            // SAFETY: the caller's promise is the same.
            unsafe { $crate::hypercall::entry::Entry::enter(self, number, core::array::from_fn(register)) }
        }
    )*};
}

pub(super) use {hypercall_by_entry, methods_by_entry};
