//! Output of all commands. A full device or a closed pipe ends the program with exit code 1 and,
//! where it can be read, a message, and not with a panic.
//!
//! The macros take the place of the standard ones in the whole crate.

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

/// Writes to standard error, with colours if it is a terminal. If that fails, nothing can be said.
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
