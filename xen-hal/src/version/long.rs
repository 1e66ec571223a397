//! Answers of any length: the build id, and the texts without a limit that Xen 4.20 added.

use xen_pac::command::Command;
use xen_pac::version::command;

use super::Version;
use crate::hypercall::{Errno, Hypercall, check};

/// A header with the buffer's length, and the buffer: what `xen_build_id` and `xen_varbuf` look
/// like to Xen.
#[repr(C)]
struct Buffer<const N: usize> {
    len: u32,
    bytes: [u8; N],
}

impl<H: Hypercall> Version<H> {
    /// The hypervisor's build id, raw, in a buffer of `N` bytes, and how many of them it fills; 20
    /// is common.
    ///
    /// # Errors
    ///
    /// - `EPERM` in a domain that is not privileged.
    /// - `ENODATA` where the hypervisor was linked without one.
    /// - `ENOBUFS` where `N` is too small, `EINVAL` where it is 0.
    /// - `ENOSYS` before Xen 4.7.
    pub fn build_id<const N: usize>(&self) -> Result<([u8; N], usize), Errno> {
        self.long(command::BuildId)
    }

    /// As [`extraversion`](Self::extraversion), of any length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` where `N` is too small, `ENOSYS` before Xen 4.20.
    pub fn long_extraversion<const N: usize>(&self) -> Result<([u8; N], usize), Errno> {
        self.long(command::Extraversion2)
    }

    /// As [`capabilities`](Self::capabilities), of any length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` where `N` is too small, `ENOSYS` before Xen 4.20.
    pub fn long_capabilities<const N: usize>(&self) -> Result<([u8; N], usize), Errno> {
        self.long(command::Capabilities2)
    }

    /// As [`changeset`](Self::changeset), of any length.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` where `N` is too small, `ENOSYS` before Xen 4.20.
    pub fn long_changeset<const N: usize>(&self) -> Result<([u8; N], usize), Errno> {
        self.long(command::Changeset2)
    }

    /// As [`command_line`](Self::command_line), of any length.
    ///
    /// # Errors
    ///
    /// `EPERM` in a domain that is not privileged, `ENOBUFS` where `N` is too small, `ENOSYS`
    /// before Xen 4.20.
    pub fn long_command_line<const N: usize>(&self) -> Result<([u8; N], usize), Errno> {
        self.long(command::Commandline2)
    }

    /// Any of them: the bytes, and how many Xen wrote.
    fn long<C: Command, const N: usize>(&self, _: C) -> Result<([u8; N], usize), Errno> {
        // A length that 32 bits cannot tell is told as the longest: Xen then writes less than there
        // is room for.
        let mut buffer = Buffer { len: u32::try_from(N).unwrap_or(u32::MAX), bytes: [0; N] };
        // SAFETY: both commands read the length and write at most so many bytes behind it, and the
        // buffer has them.
        let answer = unsafe {
            self.xen.call2(
                C::HYPERCALL.0,
                C::NUMBER as usize,
                (&raw mut buffer).expose_provenance(),
            )
        };
        check(answer).map(|length| (buffer.bytes, length.min(N)))
    }
}
