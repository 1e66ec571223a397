//! Everything that the HAL hands out can be shown.

use std::error::Error;
use std::fmt::{self, Debug, Display, Write};

/// Takes a text, and keeps none of it.
struct Sink;

impl Write for Sink {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

pub(super) fn debug(value: &(impl Debug + ?Sized)) {
    write!(Sink, "{value:?} {value:#?}").expect("a sink takes everything");
}

pub(super) fn display(value: &(impl Display + ?Sized)) {
    write!(Sink, "{value} {value:>9}").expect("a sink takes everything");
}

/// Shows a result in all ways, and gives what is good of it.
pub(super) fn good<T: Debug, E: Error>(result: Result<T, E>) -> Option<T> {
    debug(&result);
    result.inspect_err(|error| display(error)).ok()
}
