//! x86: the time stamp counter and the interrupt flag.

use core::arch::asm;

use super::{Counter, Interrupts};

/// The time stamp counter, read in order with memory accesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tsc;

impl Counter for Tsc {
    #[inline(always)]
    fn read(&self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: both instructions exist on every processor that Xen runs on, and change only the
        // registers named. `lfence` waits for the loads before it; the one behind keeps later loads
        // from starting early. Without `nomem` the compiler keeps the order as well.
        unsafe {
            asm!("lfence", "rdtsc", "lfence", out("eax") low, out("edx") high, options(nostack, preserves_flags))
        };
        u64::from(high) << 32 | u64::from(low)
    }
}

/// The interrupt flag of the vCPU that runs; for kernels, which may change it.
#[derive(Clone, Copy, Debug)]
pub struct LocalInterrupts(());

/// Whether the interrupt flag was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(bool);

const INTERRUPT_FLAG: usize = 1 << 9;

impl LocalInterrupts {
    /// The control.
    ///
    /// # Safety
    ///
    /// The program runs at a privilege level that may execute `cli` and `sti`, and has a handler
    /// for each interrupt that can arrive while the flag is set.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: with the flag clear the processor takes no maskable interrupt.
unsafe impl Interrupts for LocalInterrupts {
    type State = Flag;

    #[inline(always)]
    fn disable(&self) -> Flag {
        let flags: usize;
        // SAFETY: whoever made the control promised the privilege. The stack is used below the red
        // zone's reach: without `nostack` the compiler makes room.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("pushfq", "pop {}", "cli", out(reg) flags)
        };
        // SAFETY: as above. In Intel's syntax `pushf` is the 16-bit form here.
        #[cfg(target_arch = "x86")]
        unsafe {
            asm!("pushfd", "pop {}", "cli", out(reg) flags)
        };
        Flag(flags & INTERRUPT_FLAG != 0)
    }

    #[inline(always)]
    fn restore(&self, state: Flag) {
        if state.0 {
            // SAFETY: as above, and the flag was set before, so handlers are in place.
            unsafe { asm!("sti", options(nostack)) };
        }
    }
}
