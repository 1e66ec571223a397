//! Errors with the operation that failed.

use core::error::Error;
use core::fmt::{self, Display};

use xen_hal::hypercall::Errno;

/// An operation of the program, and the reason for its failure.
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
    /// Creates a failure whose reason is not one of Xen's errors.
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

/// Adds to Xen's error the operation that failed.
pub trait During<T> {
    /// Converts the error to a [`Failure`] of the operation `doing`.
    ///
    /// # Errors
    ///
    /// The error of the result, with the operation.
    fn during(self, doing: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<Errno>> During<T> for Result<T, E> {
    fn during(self, doing: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure { doing, why: Why::Xen(error.into()) })
    }
}
