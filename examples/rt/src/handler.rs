//! The program's interrupt handlers.

use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function of the program, or none.
pub(crate) struct Handler(AtomicPtr<()>);

impl Handler {
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn set(&self, function: fn()) {
        self.0.store(function as *mut (), Ordering::Release);
    }

    /// Calls the function, if there is one.
    pub(crate) fn call(&self) {
        let function = self.0.load(Ordering::Acquire);
        if !function.is_null() {
            // SAFETY: only `set` writes the pointer, and it takes a function of this type.
            let function: fn() = unsafe { mem::transmute(function) };
            function();
        }
    }
}

pub(crate) static UPCALL: Handler = Handler::none();
/// The handler of upcalls at a vCPU's own vector.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) static OWN_UPCALL: Handler = Handler::none();
/// The handler of the virtual timer.
#[cfg(target_arch = "aarch64")]
pub(crate) static TIMER: Handler = Handler::none();

/// Sets the function that is called on each upcall, on the vCPU that Xen notifies, with interrupts
/// off.
///
/// On x86, Xen also needs the vector: [`interrupts::callback_via`](crate::interrupts::callback_via)
/// has it, and [`map_shared_info`](crate::map_shared_info) sets it.
pub fn on_upcall(handler: fn()) {
    UPCALL.set(handler);
}
