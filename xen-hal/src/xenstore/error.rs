//! What can go wrong with xenstore.

use crate::hvm::ParameterError;
use crate::hypercall::Errno;
use crate::platform::Frame;

/// Why an operation on xenstore failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The server refused the request: `ENOENT` if the path does not exist, `EACCES` if the domain
    /// may not use it, `EINVAL` if it is malformed, `ENOSPC` or `E2BIG` if the domain has too much.
    #[error("xenstore refused: {0}")]
    Refused(Errno),
    /// The domain has no xenstore.
    #[error("the domain has no xenstore")]
    NoStore,
    /// Xen does not say where the ring is.
    #[error("the xenstore ring cannot be found: {0}")]
    Parameter(#[from] ParameterError),
    /// The guest has no mapping of the ring's frame.
    #[error("the xenstore ring's frame {:#x} is not mapped", .0.0)]
    NotMapped(Frame),
    /// Xen refused to notify the server.
    #[error("xenstore cannot be notified: {0}")]
    Xen(Errno),
    /// A path or token is empty or holds a zero byte.
    #[error("a path is empty or holds a zero byte")]
    InvalidPath,
    /// The request, or the answer for the buffer it should go to, has this many bytes.
    #[error("{0} bytes are too many for xenstore's message or the buffer")]
    TooLong(usize),
    /// As many requests as possible wait for their answers.
    #[error("too many requests wait for xenstore's answers")]
    Busy,
    /// The server did not answer, or did not read, in time.
    #[error("xenstore did not answer in time")]
    TimedOut,
    /// What the server sent makes no sense as the answer to this request, or the value read has not
    /// the form that the caller asked for.
    #[error("expected another form of answer from xenstore")]
    Malformed,
    /// A transaction met with changes by others each time it was tried.
    #[error("the transaction met with other changes each time")]
    Conflict,
    /// The connection cannot be used: the server sent no message, or a request was cut off.
    /// [`Store::reconnect`](super::Store::reconnect) starts it anew.
    #[error("the connection to xenstore is broken")]
    Broken,
    /// The connection was started anew while the request waited for its answer.
    #[error("the connection to xenstore was started anew")]
    Reset,
    /// The server cannot do this.
    #[error("this xenstore cannot do that")]
    Unsupported,
}

impl StoreError {
    /// True if the server refused with this error.
    #[must_use]
    pub fn is_refusal(self, errno: Errno) -> bool {
        self == Self::Refused(errno)
    }

    /// The error in an answer of type ERROR: the name of an errno.
    pub(super) fn from_name(text: &[u8]) -> Self {
        let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
        (1..=Errno::MAX)
            .filter_map(Errno::new)
            .find(|errno| errno.name().is_some_and(|known| known.as_bytes() == name))
            .map_or(Self::Malformed, Self::Refused)
    }
}
