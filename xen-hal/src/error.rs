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
use crate::vcpu::VcpuError;
use crate::version::CommandError;
use crate::xenbus::XenbusError;
use crate::xenstore::StoreError;

/// Any error of this crate, or of [`xen_pac`]'s encoders and decoders. `?` converts to this type.
///
/// An error that holds a resource does not convert to this type, because the conversion would drop
/// the resource. Take the resource out first. These errors are
/// [`LendError`](crate::grant::LendError), [`MapError`](crate::grant::MapError),
/// [`ListenError`](crate::event::ListenError), [`UnmapError`](crate::grant::UnmapError),
/// [`GrantInUseError`](crate::grant::GrantInUseError),
/// [`SuspendError`](crate::suspend::SuspendError), [`RestoreError`](crate::suspend::RestoreError),
/// `blk::ResumeBlockError` and `net::ResumeNetError`.
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
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| start(Xen::new(guest.xen())));
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
    /// A network interface failed.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Net(#[from] crate::net::NetError),
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
    /// A command failed, or the running hypervisor lacks it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A vCPU operation failed.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
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
    /// A copy would exceed a buffer in shared memory.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::fs;
    use std::path::Path;
    use std::string::{String, ToString};
    use std::vec::Vec;

    /// The errors that hold a resource.
    const RETURNING: [&str; 9] = [
        "LendError",
        "MapError",
        "ListenError",
        "UnmapError",
        "GrantInUseError",
        "SuspendError",
        "RestoreError",
        "ResumeBlockError",
        "ResumeNetError",
    ];

    /// The names of all public error types in the sources below `folder`.
    fn error_types(folder: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                error_types(&path, names);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let items = source.lines().filter_map(|line| {
                let item = line.trim_start();
                item.strip_prefix("pub enum ").or_else(|| item.strip_prefix("pub struct "))
            });
            let ends = |c: char| !c.is_alphanumeric();
            let items = items.filter_map(|item| item.split(ends).next());
            names.extend(items.filter(|name| name.ends_with("Error")).map(Into::into));
        }
    }

    #[test]
    fn each_public_error_converts_or_returns_a_resource_and_has_defmt_s_format() {
        let mut names = Vec::new();
        error_types(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        assert!(names.len() > 15, "{names:?}");
        for name in names.iter().filter(|name| *name != "Error") {
            let mut variants = include_str!("error.rs").lines().filter(|it| it.contains("#[from]"));
            let variant = variants.any(|line| line.trim_end_matches("),").ends_with(name));
            let returning = RETURNING.contains(&name.as_str());
            assert!(variant != returning, "{name} is a variant: {variant}, listed: {returning}");
            // `defmt.rs` implements the trait for each type that it names.
            let words = include_str!("defmt.rs").split(|c: char| !c.is_alphanumeric());
            assert!(words.filter(|word| word == name).count() > 0, "defmt.rs lacks {name}");
        }
    }

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
