//! The calling vCPU's interrupts, for `xen-hal`.

use xen_hal::platform::{self, Interrupts};

/// Controls the interrupts of the calling vCPU. Unlike xen-hal's type of this name, it also sleeps
/// safely on x86 in QEMU, which can deliver an interrupt between `sti` and `hlt`: the runtime's
/// stubs then skip the halt.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalInterrupts;

fn processor() -> platform::LocalInterrupts {
    // SAFETY: the runtime runs at the highest privilege of the guest.
    unsafe { platform::LocalInterrupts::new() }
}

// SAFETY: xen-hal's type keeps the contract. The runtime's halt turns interrupts on and sleeps as
// one step.
unsafe impl Interrupts for LocalInterrupts {
    #[inline]
    fn disable(&self) -> bool {
        processor().disable()
    }

    #[inline]
    unsafe fn enable(&self) {
        // SAFETY: the caller's obligations are the same.
        unsafe { processor().enable() };
    }

    #[inline]
    unsafe fn wait(&self) {
        // SAFETY: the caller's obligations are the same.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            processor().wait();
        }
        #[cfg(not(target_arch = "aarch64"))]
        crate::interrupts::enable_and_halt();
    }
}
