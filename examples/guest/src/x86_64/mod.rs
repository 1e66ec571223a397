//! What the runtime needs of x86_64.

pub mod descriptors;
mod entry;
pub mod interrupts;
mod note;
pub mod port;
mod start;
pub mod vcpus;

use core::arch::asm;

/// Stops the processor for good: no interrupt wakes it.
pub fn stop() -> ! {
    loop {
        // SAFETY: the instructions touch no memory. Interrupts stay off.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
