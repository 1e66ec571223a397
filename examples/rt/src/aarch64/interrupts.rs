//! Turning interrupts on, waiting for them, and the virtual timer.

use core::arch::asm;

use xen_pac::hvm::CallbackVia;

use crate::handler::TIMER;

/// Returns `None`: on aarch64 the upcall interrupt is fixed, so the guest sets no callback.
#[must_use]
pub const fn callback_via() -> Option<CallbackVia> {
    None
}

/// Sets the function that is called on each interrupt of the calling vCPU's virtual timer, which is
/// masked then.
pub fn on_timer(handler: fn()) {
    TIMER.set(handler);
}

/// Starts the calling vCPU's virtual timer, which fires once the counter has reached `at`.
pub fn set_timer(at: u64) {
    // SAFETY: the timer's interrupt has a handler. Without `nomem`, the handler sees the program's
    // earlier writes.
    unsafe {
        asm!("msr cntv_cval_el0, {}", "msr cntv_ctl_el0, {}", "isb", in(reg) at, in(reg) 1_u64,
            options(nostack));
    }
}

/// Turns interrupts on.
#[inline]
pub fn enable() {
    // SAFETY: every vector has a handler. Without `nomem`, the handler sees the program's earlier
    // writes.
    unsafe { asm!("msr daifclr, #2", "isb", options(nostack)) };
}

/// Sleeps until `done` returns true. Calls `done` with interrupts off, first at the call and then
/// after each interrupt. An interrupt after a call of `done` ends the sleep. Interrupts are on
/// afterwards.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        // SAFETY: interrupts are turned on again below.
        unsafe { asm!("msr daifset, #2", options(nostack)) };
        if done() {
            return enable();
        }
        // SAFETY: a pending interrupt ends the sleep although it is masked. Every vector has a
        // handler.
        unsafe { asm!("wfi", "msr daifclr, #2", "isb", options(nostack)) };
    }
}

/// Masks the calling vCPU's virtual timer: its interrupt is a level.
pub(super) fn mask_timer() {
    // SAFETY: the value turns the timer on with its interrupt masked, and touches no memory.
    unsafe { asm!("msr cntv_ctl_el0, {}", "isb", in(reg) 0b11_u64, options(nomem, nostack)) };
}
