//! The console: lines of text for whoever watches the guest.
//!
//! Two ways lead to Xen's own console. The hypercall `console_io` is for the control domain; port 0xe9 is for every x86 guest with hardware virtualisation, one
//! character at a time, and shows where Xen was started with a `guest_loglvl` that lets it through. The port needs nothing set up, not even a hypercall, so that it
//! works from the first instruction to the last, and in a panic.

use core::fmt::{self, Write};

use xen_pac::console::XEN_HVM_DEBUGCONS_IOPORT;

use crate::arch::port;

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints text on the console. Xen shows it line by line.
pub fn print(text: fmt::Arguments<'_>) {
    // The console itself never fails; an error could only come from a `Display` that gives up, and there is nobody to tell.
    let _ = Console.write_fmt(text);
}

/// The console as something to write to.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the port belongs to the hypervisor, which takes a character and touches nothing of the guest.
            unsafe { port::write_u8(XEN_HVM_DEBUGCONS_IOPORT, byte) };
        }
        Ok(())
    }
}
