//! Why a scenario could not go on.

use core::error::Error;
use core::fmt;

use xen_hal::hypercall::Errno;

/// A scenario could not go on. What Xen refuses as expected is no failure: that is in the
/// transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no scenario of that name.
    Unknown,
    /// Xen refused something without which the rest makes no sense.
    Refused(Errno),
    /// Something that must hold did not.
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

/// Fails unless `holds`. For what must be true wherever a scenario runs, and has no place in a
/// transcript because it is about times or counts.
pub(crate) const fn require(holds: bool, what: &'static str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Broken(what)) }
}

/// Fails without what a scenario needs to go on.
pub(crate) trait Required<T> {
    /// Returns the value, or a failure that says what does not hold.
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
