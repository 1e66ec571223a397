//! What appears at a guest frame.

use core::fmt;

use xen_pac::base::{Domid, XenUlong};
use xen_pac::memory::{
    MapSpace, XENMAPIDX_GRANT_TABLE_STATUS, XenAddToPhysmap, XenRemoveFromPhysmap, command,
};

use super::{Memory, pfn};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Frame;

/// A page that can be made to appear at a guest frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The page that the domain shares with Xen.
    SharedInfo,
    /// A page of the domain's grant table, counted from 0. The table grows to hold it.
    GrantTable(u32),
    /// A status page of a version 2 grant table, counted from 0.
    GrantStatus(u32),
    /// The page at another frame of the domain, which is empty afterwards. Not on Arm.
    Own(Frame),
    /// Device registers at a machine frame: for the hardware domain on Arm, where they are mapped
    /// as cached memory.
    DeviceMemory(Frame),
}

impl Source {
    fn space_and_index(self) -> (MapSpace, u64) {
        match self {
            Self::SharedInfo => (MapSpace::SHARED_INFO, 0),
            Self::GrantTable(page) => (MapSpace::GRANT_TABLE, page.into()),
            Self::GrantStatus(page) => {
                (MapSpace::GRANT_TABLE, (page | XENMAPIDX_GRANT_TABLE_STATUS).into())
            }
            Self::Own(Frame(frame)) => (MapSpace::GMFN, frame),
            Self::DeviceMemory(Frame(frame)) => (MapSpace::DEV_MMIO, frame),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedInfo => f.write_str("the shared info page"),
            Self::GrantTable(page) => write!(f, "page {page} of the grant table"),
            Self::GrantStatus(page) => write!(f, "status page {page} of the grant table"),
            Self::Own(Frame(frame)) => write!(f, "the page at frame {frame:#x}"),
            Self::DeviceMemory(Frame(frame)) => {
                write!(f, "device memory at machine frame {frame:#x}")
            }
        }
    }
}

/// A page was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhysmapError {
    /// The page.
    pub source: Source,
    /// The frame at which it was to appear.
    pub at: Frame,
    /// Xen's reason.
    pub errno: Errno,
}

impl fmt::Display for PhysmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be mapped at frame {:#x}: {}", self.source, self.at.0, self.errno)
    }
}

impl core::error::Error for PhysmapError {}

impl From<PhysmapError> for Errno {
    fn from(error: PhysmapError) -> Self {
        error.errno
    }
}

impl<H: Hypercall> Memory<H> {
    /// Lets `source` appear at the frame `at`. Upstream: `XENMEM_add_to_physmap`.
    ///
    /// What was there is gone: x86 frees RAM and unmaps a page of Xen's; Arm unmaps either, and RAM
    /// stays counted as the domain's although it cannot reach it any more. A page of Xen's that is
    /// mapped at another frame leaves that one on x86; on Arm it has to be unmapped there before.
    ///
    /// For the shared info page, [`map_shared_info`](Self::map_shared_info) is harder to get wrong.
    ///
    /// # Errors
    ///
    /// - `EBUSY` on Arm since 4.17, for a page of Xen's that is mapped at some frame already.
    /// - `EINVAL` for a page that is not there: a grant table index past the maximum, a frame of
    ///   one's own that is not RAM; on x86 for a kind unknown to Xen too.
    /// - `EPERM` for a frame that holds a device's registers.
    /// - `ENOSYS` on Arm for a kind that it does not have, and `EACCES` for device memory outside
    ///   the hardware domain.
    /// - `ENOMEM` when the grant table cannot grow, or Xen has no memory for its page tables.
    ///
    /// # Safety
    ///
    /// Nothing may be kept at the frame `at`, nor, for a page that moves, may anything point to
    /// where it was.
    pub unsafe fn add_to_physmap(&self, source: Source, at: Frame) -> Result<(), PhysmapError> {
        let (space, index) = source.space_and_index();
        // SAFETY: the caller's promise is the same.
        unsafe { self.add(space, index, 0, at) }.map_err(|errno| PhysmapError { source, at, errno })
    }

    /// Moves `count` pages of the domain from the frames that begin at `from` to those that begin
    /// at `to`. x86 only. Upstream: `XENMAPSPACE_gmfn_range`.
    ///
    /// # Errors
    ///
    /// As for a single page, and `EOVERFLOW` where a range wraps. Pages that precede the culprit
    /// have moved by then, and Xen does not tell how many.
    ///
    /// # Safety
    ///
    /// As for [`add_to_physmap`](Self::add_to_physmap), for each of the pages.
    pub unsafe fn move_frames(
        &self,
        from: Frame,
        count: u16,
        to: Frame,
    ) -> Result<(), PhysmapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.add(MapSpace::GMFN_RANGE, from.0, count, to) }.map_err(|errno| PhysmapError {
            source: Source::Own(from),
            at: to,
            errno,
        })
    }

    /// Empties a guest frame. What was there is only unmapped: RAM stays counted as the domain's
    /// and is out of its reach for good, so to give it back use
    /// [`decrease`](Self::decrease_reservation). Upstream: `XENMEM_remove_from_physmap`.
    ///
    /// # Errors
    ///
    /// `ENOENT` where nothing was mapped.
    ///
    /// # Safety
    ///
    /// Nothing may be kept at the frame, and nothing may point there: an access faults afterwards.
    pub unsafe fn remove_from_physmap(&self, frame: Frame) -> Result<(), Errno> {
        // At a frame beyond what an argument can hold there is nothing.
        let gpfn = pfn(frame).ok_or(Errno::ENOENT)?;
        let mut argument = XenRemoveFromPhysmap::new(Domid::SELF, gpfn);
        // SAFETY: the argument holds no pointer; the rest is the caller's promise.
        unsafe { self.xen.call_unchecked(command::RemoveFromPhysmap, &mut argument) }
    }

    /// # Safety
    ///
    /// As for `add_to_physmap`.
    unsafe fn add(&self, space: MapSpace, index: u64, count: u16, at: Frame) -> Result<(), Errno> {
        let mut argument = XenAddToPhysmap::new(
            Domid::SELF,
            count,
            space,
            word(index)?,
            pfn(at).ok_or(Errno::EINVAL)?,
        );
        // SAFETY: the argument holds no pointer; the rest is the caller's promise.
        unsafe { self.xen.call_unchecked(command::AddToPhysmap, &mut argument) }
    }
}

/// An index as an argument holds it; one that does not fit a 32-bit guest's argument is one of a
/// page that is not there.
pub(super) fn word(index: u64) -> Result<XenUlong, Errno> {
    #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
    index.try_into().map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::{Script, errno};
    use std::string::ToString;

    #[test]
    fn each_source_has_its_space_and_index() {
        let cases = [
            (Source::SharedInfo, MapSpace::SHARED_INFO, 0),
            (Source::GrantTable(3), MapSpace::GRANT_TABLE, 3),
            (Source::GrantStatus(3), MapSpace::GRANT_TABLE, 0x8000_0003),
            (Source::Own(Frame(77)), MapSpace::GMFN, 77),
            (Source::DeviceMemory(Frame(78)), MapSpace::DEV_MMIO, 78),
        ];
        for (source, space, index) in cases {
            let xen = Script::new().argument(command::AddToPhysmap, |asked| {
                assert_eq!(
                    (asked.domid, asked.size, asked.space, asked.idx, asked.gpfn),
                    (Domid::SELF, 0, space, index, 0xfee)
                );
                0
            });
            // SAFETY: the script touches no memory.
            assert_eq!(unsafe { Memory::new(&xen).add_to_physmap(source, Frame(0xfee)) }, Ok(()));
        }
    }

    #[test]
    fn an_error_names_page_and_frame() {
        let xen = Script::new().argument(command::AddToPhysmap, |_| errno(Errno::EBUSY));
        // SAFETY: the script touches no memory.
        let error = unsafe { Memory::new(&xen).add_to_physmap(Source::GrantTable(2), Frame(0x10)) }
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "page 2 of the grant table cannot be mapped at frame 0x10: EBUSY"
        );
    }

    #[test]
    fn a_range_tells_its_length() {
        let xen = Script::new().argument(command::AddToPhysmap, |asked| {
            assert_eq!(
                (asked.size, asked.space, asked.idx, asked.gpfn),
                (9, MapSpace::GMFN_RANGE, 100, 200)
            );
            errno(Errno::EOVERFLOW)
        });
        // SAFETY: the script touches no memory.
        let error =
            unsafe { Memory::new(&xen).move_frames(Frame(100), 9, Frame(200)) }.unwrap_err();
        assert_eq!((error.source, error.errno), (Source::Own(Frame(100)), Errno::EOVERFLOW));
    }

    #[test]
    fn frames_are_emptied() {
        let xen = Script::new().argument(command::RemoveFromPhysmap, |asked| {
            assert_eq!((asked.domid, asked.gpfn), (Domid::SELF, 0x44));
            errno(Errno::ENOENT)
        });
        // SAFETY: the script touches no memory.
        assert_eq!(
            unsafe { Memory::new(&xen).remove_from_physmap(Frame(0x44)) },
            Err(Errno::ENOENT)
        );
    }
}
