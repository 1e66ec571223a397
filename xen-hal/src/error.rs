//! The error type for a kernel that uses several subsystems.

use xen_pac::access::{DecodeError, FieldError, OutOfBounds, RingError};

use crate::clock::UnsafePvClockError;
use crate::console::ConsoleError;
use crate::event::EventError;
use crate::grant::GrantError;
use crate::hvm::ParameterError;
use crate::hypercall::{DetectError, Errno};
use crate::memory::MemoryError;
use crate::ring::RingFullError;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use crate::start_info::StartInfoError;
use crate::vcpu::RegisterError;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use crate::vcpu::{InitialiseError, StartError};
use crate::xenbus::XenbusError;
use crate::xenstore::StoreError;

/// Any error of this crate, or of the encoders and decoders of [`xen_pac`]. `?` converts to it.
///
/// Errors that hold a resource do not convert to it, because the conversion would drop the
/// resource. Take the resource out first. These errors are [`LendError`](crate::grant::LendError),
/// [`MapError`](crate::grant::MapError), [`ListenError`](crate::event::ListenError),
/// [`UnmapError`](crate::grant::UnmapError), [`GrantInUseError`](crate::grant::GrantInUseError),
/// [`SuspendError`](crate::suspend::SuspendError) and
/// [`RestoreError`](crate::suspend::RestoreError).
///
/// ```
/// use xen_hal::hypercall::Hypercall;
/// use xen_hal::platform::VcpuId;
/// use xen_hal::{Error, Xen, pac};
///
/// fn start(xen: Xen<impl Hypercall + Copy>) -> Result<(), Error> {
///     let via = pac::hvm::CallbackVia::vector(0xf3)?; // FieldError
///     xen.hvm().set_callback_via(via)?; // ParameterError
///     xen.vcpu(VcpuId(0)).stop_singleshot_timer()?; // Errno
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Xen refused a hypercall.
    #[error("Xen refused the hypercall: {0}")]
    Errno(#[from] Errno),
    /// No backend was found.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A block device failed.
    #[cfg(feature = "blk")]
    #[error(transparent)]
    Block(#[from] crate::blk::BlockError),
    /// The clock cannot be used.
    #[error(transparent)]
    Clock(#[from] UnsafePvClockError),
    /// The console failed.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// An event operation failed.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A grant operation failed.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// An HVM parameter was not read or set.
    #[error(transparent)]
    Hvm(#[from] ParameterError),
    /// A memory operation failed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A shared ring is full.
    #[error(transparent)]
    RingFull(#[from] RingFullError),
    /// The start info cannot be used.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[error(transparent)]
    StartInfo(#[from] StartInfoError),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A vCPU was not initialised.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[error(transparent)]
    Initialise(#[from] InitialiseError),
    /// A vCPU cannot start in the requested state.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[error(transparent)]
    Start(#[from] StartError),
    /// An area of a vCPU was not registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A device was not connected.
    #[error(transparent)]
    Xenbus(#[from] XenbusError),
    /// A field of an encoded word is out of range.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A word does not have the expected encoding.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The indices of a shared ring are inconsistent.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A buffer in shared memory has no such bytes.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::string::ToString;

    #[test]
    fn an_error_keeps_its_text_and_its_cause() {
        let error = Error::from(XenbusError::from(StoreError::Refused(Errno::ENOENT)));
        assert_eq!(error, Error::Xenbus(XenbusError::Store(StoreError::Refused(Errno::ENOENT))));
        assert_eq!(error.to_string(), "xenstore refused: ENOENT");

        let error = Error::from(Errno::EPERM);
        assert_eq!(error.to_string(), "Xen refused the hypercall: EPERM");
        assert_eq!(error.source().map(ToString::to_string), Some("EPERM".to_string()));
    }
}
