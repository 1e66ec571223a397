//! The trait of all hypercall backends, and its implementation for native ones.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

/// The number of times that the domain has been restored.
static RESTORES: AtomicU32 = AtomicU32::new(0);

/// Makes hypercalls. Everything in this crate is generic over this trait.
///
/// # For porters
///
/// Pass the backend that [`detect`](super::detect) returns to [`Xen`](crate::Xen) or to one
/// subsystem. No method of this trait needs to be called directly. Every handle takes a backend by
/// value, by reference, or as `&dyn Hypercall`. To issue a command that no subsystem has, use the
/// typed [`Commands::call`](super::Commands::call). The methods here take bare machine words; use
/// [`check`](super::check) to separate results from errors.
///
/// # For backend authors
///
/// Only [`call5`](Self::call5) is required. By default, the shorter methods pass zeros as the
/// remaining arguments. If the backend is an instruction sequence, override them so that unused
/// registers are not loaded.
///
/// # Safety
///
/// The HAL trusts a backend's results as it trusts the hypervisor: they decide which memory it
/// accesses and for how long. An implementation must meet these obligations:
///
/// - `callN` performs hypercall `number` with exactly these arguments, in this order, for the
///   calling vCPU, or does what the hypervisor would do.
/// - It returns the hypervisor's result unchanged: an error between -4095 and -1, or a value.
/// - It returns after the hypervisor has finished. Everything that the hypervisor wrote is then
///   visible, and the compiler must assume that memory has changed.
/// - It preserves every register that the calling convention preserves. A debug build of Xen
///   overwrites as many argument registers as the hypercall has nominally, which can be more than
///   were passed: treat all five as overwritten.
/// - Copies and borrows of a backend reach the same domain of the same hypervisor.
///
/// A backend that refuses calls, such as a fault injector, meets these obligations if it returns an
/// error that the hypervisor could return, and does nothing else.
pub unsafe trait Hypercall {
    /// Makes a hypercall with five arguments and returns the hypervisor's result, including
    /// negative errors.
    ///
    /// # Safety
    ///
    /// Every address among the arguments must be valid for what the hypercall reads and writes
    /// there. The caller must permit the hypercall's effects on the domain, such as unmapped memory
    /// or a started vCPU.
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize;

    /// Makes a hypercall without arguments.
    ///
    /// # Safety
    ///
    /// As for [`call5`](Self::call5).
    #[inline(always)]
    unsafe fn call0(&self, number: u32) -> isize {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.call5(number, 0, 0, 0, 0, 0) }
    }

    /// Makes a hypercall with one argument.
    ///
    /// # Safety
    ///
    /// As for [`call5`](Self::call5).
    #[inline(always)]
    unsafe fn call1(&self, number: u32, a: usize) -> isize {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.call5(number, a, 0, 0, 0, 0) }
    }

    /// Makes a hypercall with two arguments.
    ///
    /// # Safety
    ///
    /// As for [`call5`](Self::call5).
    #[inline(always)]
    unsafe fn call2(&self, number: u32, a: usize, b: usize) -> isize {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.call5(number, a, b, 0, 0, 0) }
    }

    /// Makes a hypercall with three arguments.
    ///
    /// # Safety
    ///
    /// As for [`call5`](Self::call5).
    #[inline(always)]
    unsafe fn call3(&self, number: u32, a: usize, b: usize, c: usize) -> isize {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.call5(number, a, b, c, 0, 0) }
    }

    /// Makes a hypercall with four arguments.
    ///
    /// # Safety
    ///
    /// As for [`call5`](Self::call5).
    #[inline(always)]
    unsafe fn call4(&self, number: u32, a: usize, b: usize, c: usize, d: usize) -> isize {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.call5(number, a, b, c, d, 0) }
    }

    /// Returns the number of times that the domain has been restored since this program started.
    /// Handles compare it to detect that Xen closed their channel in a restore, and that its number
    /// can be in use again.
    ///
    /// Override this and [`count_restore`](Self::count_restore) if the backends of one program
    /// reach several domains, as a simulator's do.
    fn restores(&self) -> u32 {
        RESTORES.load(Ordering::Relaxed)
    }

    /// Counts a restore. [`Sched::suspend`](crate::sched::Sched::suspend) calls it.
    fn count_restore(&self) {
        RESTORES.fetch_add(1, Ordering::Relaxed);
    }
}

/// Forwards all six calls, so a borrowed backend costs no more than an owned one.
macro_rules! forward {
    ($($call:ident($($argument:ident),*))*) => {$(
        #[inline(always)]
        unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
            // SAFETY: the caller's obligations are the same.
            unsafe { (**self).$call(number $(, $argument)*) }
        }
    )*};
}

// SAFETY: forwards every call to the backend.
unsafe impl<H: Hypercall + ?Sized> Hypercall for &H {
    forward! { call0() call1(a) call2(a, b) call3(a, b, c) call4(a, b, c, d) call5(a, b, c, d, e) }

    fn restores(&self) -> u32 {
        (**self).restores()
    }

    fn count_restore(&self) {
        (**self).count_restore();
    }
}

/// An argument register. An unused register is uninitialised, so loading it costs no instruction.
pub(super) type Register = MaybeUninit<usize>;

/// The five argument registers.
pub(super) type Arguments = [Register; 5];

/// A native backend: one instruction sequence.
pub(super) trait Entry {
    /// Enters the hypervisor and returns its result.
    ///
    /// # Safety
    ///
    /// As for [`Hypercall::call5`].
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize;
}

/// Implements [`Hypercall`] for an [`Entry`]: each method puts its arguments into the first
/// registers.
macro_rules! hypercall_by_entry {
    ($backend:ty) => {
        // SAFETY: `enter` makes the hypercall with these arguments and returns Xen's result. The
        // assembly marks memory and every register that may change.
        unsafe impl $crate::hypercall::Hypercall for $backend {
            $crate::hypercall::backend::methods_by_entry! {
                call0()
                call1(a 0)
                call2(a 0, b 1)
                call3(a 0, b 1, c 2)
                call4(a 0, b 1, c 2, d 3)
                call5(a 0, b 1, c 2, d 3, e 4)
            }
        }
    };
}

// Written out for each number of arguments, because at opt-level `s` the compiler does not unroll a
// loop over the registers.
macro_rules! methods_by_entry {
    ($($call:ident($($argument:ident $register:literal),*))*) => {$(
        #[inline(always)]
        unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
            #[allow(unused_mut, reason = "call0 has no argument")]
            let mut arguments = [core::mem::MaybeUninit::uninit(); 5];
            $(arguments[$register] = core::mem::MaybeUninit::new($argument);)*
            // SAFETY: the caller's obligations are the same.
            unsafe { $crate::hypercall::backend::Entry::enter(self, number, arguments) }
        }
    )*};
}

pub(super) use {hypercall_by_entry, methods_by_entry};
