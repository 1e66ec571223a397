//! The errors of xenstore operations.

use crate::hvm::ParameterError;
use crate::hypercall::Errno;
use crate::platform::Frame;

/// A xenstore operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The server refused the request: `ENOENT` if the path does not exist, `EACCES` if the domain
    /// may not use it, `EINVAL` if it is malformed, `ENOSPC` or `E2BIG` if the domain exceeds its
    /// quota.
    #[error("xenstore refused: {0}")]
    Refused(Errno),
    /// The domain has no xenstore.
    #[error("the domain has no xenstore")]
    NoStore,
    /// The parameters of the ring cannot be read.
    #[error("the xenstore ring cannot be found: {0}")]
    Parameter(#[from] ParameterError),
    /// The guest has no mapping of the ring's frame.
    #[error("the xenstore ring's frame {:#x} is not mapped", .0.0)]
    NotMapped(Frame),
    /// Xen refused to notify the server.
    #[error("xenstore cannot be notified: {0}")]
    Xen(Errno),
    /// A path is empty, or a path or token holds a zero byte.
    #[error("a path is empty, or a path or token holds a zero byte")]
    InvalidPath,
    /// The request, or the answer, has this many bytes, which do not fit into a message, into the
    /// caller's buffer or into the store's storage.
    #[error("{0} bytes do not fit into a xenstore message, the buffer or the store's storage")]
    TooLong(usize),
    /// The maximum number of requests is in flight.
    #[error("too many xenstore requests are in flight")]
    Busy,
    /// The server did not read or answer in time.
    #[error("xenstore did not answer in time")]
    TimedOut,
    /// The server's answer does not fit the request, or the value does not have the requested form.
    #[error("xenstore's answer does not have the expected form")]
    Malformed,
    /// Every attempt of the transaction conflicted with changes by others.
    #[error("every attempt of the transaction conflicted with other changes")]
    Conflict,
    /// The connection cannot be used: the server sent invalid data, only part of a request was
    /// sent, or a restart did not complete. [`Store::reconnect`](super::Store::reconnect) restarts
    /// it.
    #[error("the connection to xenstore is broken")]
    Broken,
    /// The connection was restarted while the request was in flight.
    #[error("the connection to xenstore was restarted")]
    Reset,
    /// The request has ended.
    #[error("the xenstore request is not in flight")]
    NotInFlight,
    /// The server does not support the operation.
    #[error("this xenstore does not support the operation")]
    Unsupported,
}

impl StoreError {
    /// True if the server refused with this error.
    #[must_use]
    pub fn is_refusal(self, errno: Errno) -> bool {
        self == Self::Refused(errno)
    }

    /// Decodes the error in an answer of type ERROR, which holds the name of an errno.
    pub(super) fn from_name(text: &[u8]) -> Self {
        let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
        (1..=Errno::MAX)
            .filter_map(Errno::new)
            .find(|errno| errno.name().is_some_and(|known| known.as_bytes() == name))
            .map_or(Self::Malformed, Self::Refused)
    }
}
