//! Implements the platform traits on aarch64.

use core::arch::asm;

use super::{Counter, CurrentVcpu, Interrupts, VcpuId};

/// Reads the architected virtual counter, `CNTVCT_EL0`, in order with memory accesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct VirtualCounter;

impl VirtualCounter {
    /// Returns the counter's rate in ticks per second, as the firmware stored it in `CNTFRQ_EL0`.
    #[must_use]
    pub fn frequency(&self) -> u64 {
        let frequency: u64;
        // SAFETY: the register can be read from EL1 and the read changes nothing.
        unsafe {
            asm!(
                "mrs {}, cntfrq_el0",
                out(reg) frequency,
                options(nomem, nostack, preserves_flags)
            );
        }
        frequency
    }
}

impl Counter for VirtualCounter {
    #[inline(always)]
    fn read(&self) -> u64 {
        let ticks: u64;
        // SAFETY: the register can be read from EL1 and the read changes nothing. The barriers
        // order the reading with the loads before and after it.
        unsafe {
            asm!(
                "isb",
                "mrs {}, cntvct_el0",
                "isb",
                out(reg) ticks,
                options(nostack, preserves_flags)
            );
        }
        ticks
    }
}

/// The virtual timer of the calling vCPU (`CNTV_CVAL_EL0`, `CNTV_CTL_EL0`), for kernels at EL1: the
/// counterpart of x86's [singleshot timer](crate::vcpu::Vcpu::set_singleshot_timer).
///
/// Its interrupt is a private one of each vCPU, 27 unless the device tree names another, and
/// [level-triggered](Self::mask). Xen keeps the timer while the vCPU sleeps, and wakes it.
///
/// ```
/// use core::time::Duration;
/// use xen_hal::clock::{Clock, CounterClock};
/// use xen_hal::platform::{VirtualCounter, LocalTimer};
///
/// fn wake_in(delay: Duration, clock: &CounterClock<VirtualCounter>, timer: LocalTimer) {
///     timer.set(clock.ticks_at(clock.now() + delay));
/// }
///
/// fn timer_interrupt(timer: LocalTimer) {
///     timer.mask();
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LocalTimer(());

/// Bits of `CNTV_CTL_EL0`: the timer is on, and its interrupt is masked.
const TIMER_ON: u64 = 1;
const TIMER_MASKED: u64 = 1 << 1;

impl LocalTimer {
    /// Creates the handle.
    ///
    /// # Safety
    ///
    /// The program must run at EL1, with a handler for the timer's interrupt wherever interrupts
    /// are on.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Starts the timer, which fires once the [counter](VirtualCounter) has reached `at`: at once
    /// if it has. A timer that runs gets the new time.
    #[inline]
    pub fn set(&self, at: u64) {
        // SAFETY: `new` requires EL1 and a handler. Without `nomem`, the handler sees the program's
        // earlier writes.
        unsafe {
            asm!(
                "msr cntv_cval_el0, {}",
                "msr cntv_ctl_el0, {}",
                "isb",
                in(reg) at,
                in(reg) TIMER_ON,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Masks the interrupt until the timer is set again. The interrupt lasts until then, so its
    /// handler calls this or [`set`](Self::set).
    #[inline]
    pub fn mask(&self) {
        Self::control(TIMER_ON | TIMER_MASKED);
    }

    /// Stops the timer.
    #[inline]
    pub fn stop(&self) {
        Self::control(0);
    }

    #[inline]
    fn control(value: u64) {
        // SAFETY: `new` requires EL1. The write raises no interrupt, and touches no memory.
        unsafe {
            asm!(
                "msr cntv_ctl_el0, {}",
                "isb",
                in(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

/// Controls the interrupt mask (the I bit of `DAIF`) of the calling vCPU, for kernels at EL1. It
/// does not change the FIQ mask: Xen sends no FIQs.
#[derive(Clone, Copy, Debug)]
pub struct LocalInterrupts(());

const MASKED: u64 = 1 << 7;

impl LocalInterrupts {
    /// Creates the handle.
    ///
    /// # Safety
    ///
    /// The program must run at EL1.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: with the I bit set, the processor takes no IRQ. `wfi` returns at once if an IRQ is
// pending, masked or not, so the code can unmask IRQs after it.
unsafe impl Interrupts for LocalInterrupts {
    #[inline(always)]
    fn disable(&self) -> bool {
        let mask: u64;
        // SAFETY: `new` requires EL1.
        unsafe {
            asm!(
                "mrs {}, daif",
                "msr daifset, #2",
                out(reg) mask,
                options(nostack, preserves_flags)
            );
        }
        mask & MASKED == 0
    }

    #[inline(always)]
    unsafe fn enable(&self) {
        // SAFETY: as above; the caller allows handlers to run. After `isb`, pending handlers have
        // run.
        unsafe { asm!("msr daifclr, #2", "isb", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    unsafe fn wait(&self) {
        // SAFETY: as above. `dsb` completes earlier stores before the vCPU sleeps.
        unsafe {
            asm!("dsb sy", "wfi", "msr daifclr, #2", "isb", options(nostack, preserves_flags));
        }
    }
}

/// Identifies the calling vCPU by `MPIDR_EL1`, in which Xen stores the vCPU's number, with 16 vCPUs
/// per cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct MpidrVcpu;

// SAFETY: each vCPU reads its own register, and Xen derives it from the vCPU's number.
unsafe impl CurrentVcpu for MpidrVcpu {
    #[inline(always)]
    fn current_vcpu(&self) -> VcpuId {
        let mpidr: u64;
        // SAFETY: the register can be read from EL1 and the read changes nothing.
        unsafe {
            asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags));
        }
        VcpuId((mpidr & 0xf) as u32 | ((mpidr >> 8 & 0xff) as u32 * 16))
    }
}
