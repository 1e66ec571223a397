//! Prints text to Xen's console, and reads input.
//!
//! On x86 the output goes to I/O port 0xe9, which every guest with hardware virtualisation has. It
//! needs no setup and no hypercall, so it works from the first instruction and in a panic. On
//! aarch64 it uses the hypercall `console_io`, which Xen permits to dom0 and to domains that Xen
//! started at boot. Xen prints it if its option `guest_loglvl` permits. A domain that `xl` created
//! on aarch64 uses its UART, if its configuration has `vuart="sbsa_uart"`.

use core::fmt::{self, Write};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// True while a vCPU prints.
static BUSY: AtomicBool = AtomicBool::new(false);

/// The number of attempts to get the console. After that, a vCPU prints anyway, because the code
/// that it interrupted may hold the console.
const ATTEMPTS: u32 = 1_000_000;

/// Prints text on the console, one vCPU at a time. Xen shows it line by line.
pub fn print(text: fmt::Arguments<'_>) {
    let taken = (0..ATTEMPTS).any(|_| {
        spin_loop();
        !BUSY.swap(true, Ordering::Acquire)
    });
    let mut line = Line { bytes: [0; LINE], length: 0 };
    // The console never fails. An error can only come from a `Display` implementation.
    let _ = line.write_fmt(text);
    line.flush();
    if taken {
        BUSY.store(false, Ordering::Release);
    }
}

/// Prints text and the end of a line.
pub fn print_line(text: fmt::Arguments<'_>) {
    print(format_args!("{text}\n"));
}

/// Writes bytes as they are.
pub fn write(bytes: &[u8]) {
    arch::write_console(bytes);
}

/// Reads a byte of input, if there is one: from the UART on aarch64, from Xen's console on x86,
/// which only dom0 can read.
#[must_use]
pub fn read() -> Option<u8> {
    arch::read_console()
}

/// The number of bytes that are passed to the console at once.
const LINE: usize = 128;

struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Line {
    fn flush(&mut self) {
        arch::write_console(&self.bytes[..self.length]);
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == LINE {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}
