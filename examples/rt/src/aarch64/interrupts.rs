//! Turning interrupts on, waiting for them, and the virtual timer.

use core::arch::asm;

use xen_hal::platform::LocalTimer;
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

/// Returns the calling vCPU's virtual timer.
#[must_use]
pub const fn timer() -> LocalTimer {
    // SAFETY: the runtime is at EL1, and every vector has a handler.
    unsafe { LocalTimer::new() }
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
