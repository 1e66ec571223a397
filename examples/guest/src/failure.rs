//! Errors that say what was being done.

use core::error::Error;
use core::fmt::{self, Display};

use xen_hal::hypercall::Errno;

/// Why a program failed, and at what.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    doing: &'static str,
    why: Why,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Xen(Errno),
    Other(&'static str),
}

impl Failure {
    /// A failure that is not Xen's: what was being done, and what went wrong.
    #[must_use]
    pub const fn new(doing: &'static str, why: &'static str) -> Self {
        Self { doing, why: Why::Other(why) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Xen(error) => write!(f, "{}: {error}", self.doing),
            Why::Other(why) => write!(f, "{}: {why}", self.doing),
        }
    }
}

impl Error for Failure {}

/// Adds to Xen's error what was being done.
pub trait During<T> {
    /// The result, its error with `doing` in front.
    ///
    /// # Errors
    ///
    /// Where the result is one.
    fn during(self, doing: &'static str) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, doing: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure { doing, why: Why::Xen(error) })
    }
}
