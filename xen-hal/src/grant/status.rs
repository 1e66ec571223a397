//! How a grant command went.

use core::fmt;

use xen_pac::grant_table::GrantStatus;

use crate::hypercall::Errno;

/// A status with which a part of a grant command failed.
///
/// Later releases may have more of them: an unknown one is kept as it came, and a positive number,
/// which Xen does not give, is a failure too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantError(GrantStatus);

impl GrantError {
    /// Tells success from failure.
    ///
    /// ```
    /// use xen_hal::grant::GrantError;
    /// use xen_pac::grant_table::GrantStatus;
    ///
    /// assert_eq!(GrantError::check(GrantStatus::OKAY), Ok(()));
    /// let error = GrantError::check(GrantStatus(-3)).unwrap_err();
    /// assert_eq!(error.status(), GrantStatus::BAD_GNTREF);
    /// assert_eq!(GrantError::check(GrantStatus(-99)).unwrap_err().to_string(), "grant status -99");
    /// ```
    ///
    /// # Errors
    ///
    /// For each status but that of success.
    pub const fn check(status: GrantStatus) -> Result<(), Self> {
        if status.0 == GrantStatus::OKAY.0 { Ok(()) } else { Err(Self(status)) }
    }

    /// The status, to be compared with the constants of [`GrantStatus`]. It is never that of
    /// success.
    #[must_use]
    pub const fn status(self) -> GrantStatus {
        self.0
    }

    /// Whether the same may work later: the other domain's page is paged out.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.0.0 == GrantStatus::EAGAIN.0
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "grant status {name}"),
            None => write!(f, "grant status {}", self.0.0),
        }
    }
}

impl fmt::Debug for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantError({self})")
    }
}

impl core::error::Error for GrantError {}

/// What goes wrong with a grant command: the call, or the one thing that it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The hypercall as a whole was refused.
    Errno(Errno),
    /// The hypercall was made, and this is how it went.
    Status(GrantError),
    /// The address space has no frame for the caller's memory at this address.
    NotMapped(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::Status(status) => status.fmt(f),
            Self::NotMapped(address) => {
                write!(f, "no guest frame lies behind address {address:#x}")
            }
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// A failure that this program noticed before Xen would have.
    pub(super) const fn noticed(status: GrantStatus) -> Self {
        Self::Status(GrantError(status))
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<GrantError> for Error {
    fn from(status: GrantError) -> Self {
        Self::Status(status)
    }
}

/// What stands in an element's status until Xen writes there: Xen gives no positive one.
pub(super) const NOT_REACHED: GrantStatus = GrantStatus(i16::MAX);

/// How one element of a call went: by its status if Xen came to it, else by the answer to the
/// whole.
pub(super) fn element(answer: Result<(), Errno>, status: GrantStatus) -> Result<(), Error> {
    match answer {
        Err(errno) if status == NOT_REACHED => Err(errno.into()),
        _ => Ok(GrantError::check(status)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_xen_came_to_has_its_own_result() {
        let failed = Err(Errno::EFAULT);
        assert_eq!(element(failed, GrantStatus::OKAY), Ok(()));
        assert_eq!(element(failed, NOT_REACHED), Err(Error::Errno(Errno::EFAULT)));
        assert_eq!(
            element(failed, GrantStatus::BAD_PAGE),
            Err(Error::Status(GrantError(GrantStatus::BAD_PAGE)))
        );
        assert_eq!(element(Ok(()), NOT_REACHED), Err(Error::Status(GrantError(NOT_REACHED))));
        assert!(
            GrantError(GrantStatus::EAGAIN).is_transient()
                && !GrantError(GrantStatus::BAD_PAGE).is_transient()
        );
    }
}
