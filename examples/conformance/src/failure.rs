//! The reasons why a scenario cannot continue.

use core::error::Error;
use core::fmt;

use xen_hal::hypercall::Errno;

/// A scenario cannot continue. An expected refusal by Xen is not a failure: the transcript records
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No scenario has the name.
    Unknown,
    /// Xen refused an operation that the rest of the scenario needs.
    Refused(Errno),
    /// A condition that must hold is false.
    Broken(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no scenario of that name"),
            Self::Refused(errno) => write!(f, "Xen refused with {errno}"),
            Self::Broken(what) => write!(f, "it does not hold that {what}"),
        }
    }
}

impl Error for Failure {}

impl<E: Into<Errno>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Fails unless `holds`. For conditions that must hold on every machine, but are not in the
/// transcript because they depend on times or counts.
pub(crate) const fn require(holds: bool, what: &'static str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Broken(what)) }
}

/// Converts a missing value to a failure.
pub(crate) trait Required<T> {
    /// Returns the value. If it is missing, returns a failure with the text `what`.
    fn required(self, what: &'static str) -> Result<T, Failure>;
}

impl<T> Required<T> for Option<T> {
    fn required(self, what: &'static str) -> Result<T, Failure> {
        self.ok_or(Failure::Broken(what))
    }
}

impl<T, E> Required<T> for Result<T, E> {
    fn required(self, what: &'static str) -> Result<T, Failure> {
        self.map_err(|_| Failure::Broken(what))
    }
}
