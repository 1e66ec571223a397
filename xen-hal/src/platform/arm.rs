//! aarch64: the virtual counter and the interrupt mask.

use core::arch::asm;

use super::{Counter, Interrupts};

/// The architected virtual counter, `CNTVCT_EL0`, read in order with memory accesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct VirtualCounter;

impl VirtualCounter {
    /// The counter's rate in ticks a second, as the firmware put it into `CNTFRQ_EL0`.
    #[must_use]
    pub fn frequency(&self) -> u64 {
        let frequency: u64;
        // SAFETY: the register can be read from EL1 and changes nothing.
        unsafe {
            asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack, preserves_flags))
        };
        frequency
    }
}

impl Counter for VirtualCounter {
    #[inline(always)]
    fn read(&self) -> u64 {
        let ticks: u64;
        // SAFETY: the register can be read from EL1 and changes nothing. The barriers keep the
        // reading in its place among loads before and after.
        unsafe {
            asm!("isb", "mrs {}, cntvct_el0", "isb", out(reg) ticks, options(nostack, preserves_flags))
        };
        ticks
    }
}

/// The interrupt mask (`DAIF`) of the vCPU that runs; for kernels at EL1.
#[derive(Clone, Copy, Debug)]
pub struct LocalInterrupts(());

/// What `DAIF` was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

impl LocalInterrupts {
    /// The control.
    ///
    /// # Safety
    ///
    /// The program runs at EL1 and has vectors for each interrupt that can arrive while the mask is
    /// clear.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: with the I and F bits set the processor takes no interrupt.
unsafe impl Interrupts for LocalInterrupts {
    type State = Mask;

    #[inline(always)]
    fn disable(&self) -> Mask {
        let mask: u64;
        // SAFETY: whoever made the control promised that this is EL1.
        unsafe {
            asm!("mrs {}, daif", "msr daifset, #3", out(reg) mask, options(nostack, preserves_flags))
        };
        Mask(mask)
    }

    #[inline(always)]
    fn restore(&self, state: Mask) {
        // SAFETY: as above; the value is one that the register had.
        unsafe { asm!("msr daif, {}", in(reg) state.0, options(nostack, preserves_flags)) };
    }
}
