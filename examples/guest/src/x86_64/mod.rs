//! What the runtime needs of x86_64.

pub mod descriptors;
mod entry;
pub mod interrupts;
pub mod local_apic;
mod note;
pub mod port;
mod start;
mod stubs;
pub mod vcpus;

use core::arch::asm;

/// Stops the processor for good: no interrupt wakes it.
pub fn stop() -> ! {
    loop {
        // SAFETY: the instructions touch no memory. Interrupts stay off.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
