//! The trait that every way into the hypervisor implements, and how the native ones do.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

/// How often the domain has been restored.
static RESTORES: AtomicU32 = AtomicU32::new(0);

/// A way to make hypercalls: the seam over which everything in this crate is generic.
///
/// # For porters
///
/// Take a backend from [`detect`](super::detect), pass it to [`Xen`](crate::Xen) or to one
/// subsystem, and forget this trait. Every handle takes a backend by value, by reference, or as
/// `&dyn Hypercall`. To issue a command that no subsystem has, use the typed
/// [`Commands::call`](super::Commands::call). The methods here take bare machine words; use
/// [`check`](super::check) to separate results from errors.
///
/// # For backend authors
///
/// [`call5`](Self::call5) is enough. The shorter methods pass zeros in the remaining arguments.
/// Override them if the backend is an instruction sequence, so that unused registers are not
/// loaded.
///
/// # Safety
///
/// The HAL trusts a backend as it trusts the hypervisor: it uses memory at addresses, of sizes and
/// for as long as the answers say. An implementation must meet these obligations:
///
/// - `callN` performs hypercall `number` with exactly these arguments, in this order, for the vCPU
///   that calls, or does what the hypervisor would do.
/// - It returns the hypervisor's answer unchanged: an error between -4095 and -1, or a result.
/// - It returns after the hypervisor has finished. Everything that the hypervisor wrote is then
///   visible, and the compiler must assume that memory has changed.
/// - It preserves every register that the calling convention preserves. A debug build of Xen
///   overwrites the argument registers of the hypercall's nominal number of arguments, which can be
///   more than were passed: treat all five as overwritten.
/// - Copies and borrows of a backend reach the same domain of the same hypervisor.
///
/// A backend that refuses calls, such as a fault injector, meets them: it returns an error that the
/// hypervisor could return, and does nothing else.
pub unsafe trait Hypercall {
    /// Makes a hypercall with five arguments and returns the hypervisor's answer, negative errors
    /// included.
    ///
    /// # Safety
    ///
    /// Every address among the arguments must be valid for what the hypercall reads and writes
    /// there. The caller must expect what the hypercall does to the domain: memory that is
    /// unmapped, a vCPU that starts.
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

    /// Returns how often the domain has been restored since this program started. What Xen closed
    /// by a restore must not be closed again: its number can be in use again.
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

/// Forwards the six calls, so that a borrowed backend costs no more than the backend.
macro_rules! forward {
    ($($call:ident($($argument:ident),*))*) => {$(
        #[inline(always)]
        unsafe fn $call(&self, number: u32 $(, $argument: usize)*) -> isize {
            // SAFETY: the caller's obligations are the same.
            unsafe { (**self).$call(number $(, $argument)*) }
        }
    )*};
}

// SAFETY: every call is the backend's own.
unsafe impl<H: Hypercall + ?Sized> Hypercall for &H {
    forward! { call0() call1(a) call2(a, b) call3(a, b, c) call4(a, b, c, d) call5(a, b, c, d, e) }

    fn restores(&self) -> u32 {
        (**self).restores()
    }

    fn count_restore(&self) {
        (**self).count_restore();
    }
}

/// An argument register. An unused one holds nothing, and loading it costs no instruction.
pub(super) type Register = MaybeUninit<usize>;

/// The five argument registers.
pub(super) type Arguments = [Register; 5];

/// What a native backend is: one instruction sequence.
pub(super) trait Entry {
    /// Enters the hypervisor and returns its answer.
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
        // SAFETY: `enter` makes the hypercall with these arguments and returns Xen's answer. The
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

// By hand, because optimised for size a loop over the registers stays a loop.
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
