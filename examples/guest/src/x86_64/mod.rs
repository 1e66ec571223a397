//! What the runtime needs of x86_64.

mod entry;
mod note;
pub mod port;
mod start;

use core::arch::asm;

/// Stops the processor for good: no interrupt wakes it.
pub fn stop() -> ! {
    loop {
        // SAFETY: the instructions touch no memory. Interrupts stay off.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
