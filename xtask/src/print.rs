//! Prints the output of all commands. If the device is full or the pipe is closed, the program ends
//! with a message and exit code 1 instead of a panic.
//!
//! The macros replace the standard ones in the whole crate.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes to standard output, with colours if it is a terminal.
pub fn out(text: Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            err(format_args!("error: cannot write to standard output: {error}\n"));
        }
        std::process::exit(1);
    }
}

/// Writes to standard error, with colours if it is a terminal. Ignores a failure, because it cannot
/// be reported.
pub fn err(text: Arguments<'_>) {
    let _ = anstream::stderr().lock().write_fmt(text);
}

macro_rules! print {
    ($($text:tt)*) => { $crate::print::out(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::print::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::out(format_args!("{}\n", format_args!($($text)*))) };
}
#[allow(unused_macros, reason = "not every set of commands uses each")]
macro_rules! eprint {
    ($($text:tt)*) => { $crate::print::err(format_args!($($text)*)) };
}
macro_rules! eprintln {
    () => { $crate::print::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::err(format_args!("{}\n", format_args!($($text)*))) };
}
