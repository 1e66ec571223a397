//! The console: lines of text for whoever watches the guest.
//!
//! Two ways lead to Xen's own console. The hypercall `console_io` is for the control domain; port
//! 0xe9 is for every x86 guest with hardware virtualisation, one character at a time, and shows
//! where Xen was started with a `guest_loglvl` that lets it through. The port needs nothing set up,
//! not even a hypercall, so that it works from the first instruction to the last, and in a panic.

use core::fmt::{self, Write};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};

use xen_pac::console::XEN_HVM_DEBUGCONS_IOPORT;

use crate::arch::port;

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Whether a vCPU is printing.
static BUSY: AtomicBool = AtomicBool::new(false);

/// For how many attempts a vCPU waits for another to have printed. It gives up in the end: what
/// holds the console may be the very code that this one interrupted.
const PATIENCE: u32 = 10_000_000;

/// Prints text on the console, of one vCPU at a time. Xen shows it line by line.
pub fn print(text: fmt::Arguments<'_>) {
    let mine = (0..PATIENCE).any(|_| {
        spin_loop();
        !BUSY.swap(true, Ordering::Acquire)
    });
    // The console itself never fails; an error could only come from a `Display` that gives up, and
    // there is nobody to tell.
    let _ = Console.write_fmt(text);
    if mine {
        BUSY.store(false, Ordering::Release);
    }
}

/// The console as something to write to.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the port belongs to the hypervisor, which takes a character and touches
            // nothing of the guest.
            unsafe { port::write_u8(XEN_HVM_DEBUGCONS_IOPORT, byte) };
        }
        Ok(())
    }
}
