//! Maps, moves and unmaps pages at guest frames.

use core::fmt;

use xen_pac::base::{Domid, XenPfn, XenUlong};
use xen_pac::memory::{
    self as pac, XENMAPIDX_GRANT_TABLE_STATUS, XenAddToPhysmap, XenAddToPhysmapBatch,
    XenAddToPhysmapBatchU, XenRemoveFromPhysmap, command,
};

use super::{Memory, MemoryError, exposed, pfn};
use crate::hypercall::{Commands, Errno, Hypercall, check};
use crate::platform::Frame;

/// The kind of page to map at a guest frame. An index selects the page of this kind.
/// [`xen_pac::memory::MapSpace`](pac::MapSpace) has Xen's number of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapSpace {
    /// The page that the domain shares with Xen. The index is 0.
    SharedInfo,
    /// The domain's grant table. The index counts its pages, and the table grows to hold it.
    GrantTable,
    /// The status pages of a version 2 grant table. The index counts them.
    GrantStatus,
    /// RAM of the domain. The index is its current frame, which is empty afterwards. Not on Arm.
    Own,
    /// RAM of a domain over which this one has privileges. The index is the frame in that domain.
    /// Only in a batch.
    Foreign(Domid),
    /// Device registers. The index is their machine frame. Only for the hardware domain on Arm,
    /// which maps them as cached memory.
    DeviceMemory,
}

impl MapSpace {
    /// Returns the number of the space, the index as an argument holds it, and the foreign domain.
    fn encode(self, index: u64) -> Result<(pac::MapSpace, XenUlong, Option<Domid>), Errno> {
        let (space, index, domain) = match self {
            Self::SharedInfo => (pac::MapSpace::SHARED_INFO, index, None),
            Self::GrantTable => (pac::MapSpace::GRANT_TABLE, index, None),
            Self::GrantStatus => {
                (pac::MapSpace::GRANT_TABLE, index | u64::from(XENMAPIDX_GRANT_TABLE_STATUS), None)
            }
            Self::Own => (pac::MapSpace::GMFN, index, None),
            Self::Foreign(domain) => (pac::MapSpace::GMFN_FOREIGN, index, Some(domain)),
            Self::DeviceMemory => (pac::MapSpace::DEV_MMIO, index, None),
        };
        // No page has an index that does not fit into a 32-bit guest's argument.
        #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
        Ok((space, index.try_into().map_err(|_| Errno::EINVAL)?, domain))
    }

    /// Writes the name of a page.
    pub(super) fn describe(self, index: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedInfo => f.write_str("the shared info page"),
            Self::GrantTable => write!(f, "page {index} of the grant table"),
            Self::GrantStatus => write!(f, "status page {index} of the grant table"),
            Self::Own => write!(f, "the page at frame {index:#x}"),
            Self::Foreign(domain) => write!(f, "the page at frame {index:#x} of domain {domain}"),
            Self::DeviceMemory => write!(f, "device memory at machine frame {index:#x}"),
        }
    }
}

/// One page of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The page's index in its [`MapSpace`].
    pub index: u64,
    /// The frame at which to map the page.
    pub at: Frame,
    /// The result; `None` if Xen did not reach the entry.
    pub result: Option<Result<(), Errno>>,
}

impl BatchEntry {
    /// Creates an entry without a result.
    #[must_use]
    pub const fn new(index: u64, at: Frame) -> Self {
        Self { index, at, result: None }
    }
}

/// The number of pages per hypercall of a batch. Their lists are on the stack.
pub(super) const BATCH: usize = 32;

/// The initial content of a batch's error list: neither an errno nor a negated one.
pub(super) const NOT_REACHED: i32 = i32::MIN;

impl<H: Hypercall> Memory<H> {
    /// Maps a page at the frame `at`. Upstream: `XENMEM_add_to_physmap`.
    ///
    /// What was at the frame is unmapped. If it was RAM, x86 frees it; on Arm it stays allocated to
    /// the domain, which cannot reach it. If a Xen page is already mapped at another frame, x86
    /// unmaps it there; on Arm, the guest must unmap it first.
    ///
    /// For the shared info page, prefer
    /// [`WidthLatch::map_shared_info`](super::WidthLatch::map_shared_info).
    ///
    /// # Errors
    ///
    /// [`MemoryError::Physmap`]. On x86 the page may no longer be mapped at its old frame: see
    /// [`MemoryError::may_have_unmapped`]. Xen returns
    /// - `EBUSY` for a page of the grant table that the domain released; on Arm, since 4.17, also
    ///   for a Xen page that is already mapped;
    /// - `EINVAL` for a page that does not exist: an index beyond the grant table's maximum, or a
    ///   frame of the domain that is not RAM; on x86 also for a space that Xen does not have;
    /// - `EXDEV` on x86 for a page at a frame where it is mapped as a grant, or `EACCES` from
    ///   4.19.5, 4.20.3 and 4.21.1 on;
    /// - `ENOENT` or `EINVAL` on x86 for a frame beyond the guest's limit;
    /// - `EPERM` for a frame that holds device registers;
    /// - `ENOSYS` on Arm for a space that it does not have, and `EACCES` for device registers
    ///   outside the hardware domain;
    /// - `ENOMEM` if the grant table cannot grow, or Xen has no memory for its page tables.
    ///
    /// # Safety
    ///
    /// The frame `at` must hold no data in use. Nothing may point to the frame from which a page is
    /// unmapped.
    pub unsafe fn add_to_physmap(
        &self,
        space: MapSpace,
        index: u64,
        at: Frame,
    ) -> Result<(), MemoryError> {
        let add = || {
            let (space, index, _) = space.encode(index)?;
            // SAFETY: the caller's obligations are the same.
            unsafe { self.add(space, index, 0, at) }
        };
        add().map_err(|errno| MemoryError::Physmap { space, index, at, errno })
    }

    /// Moves a page from the frame `from` to the frame `to`. If that fails, maps it at `from`
    /// again. On Arm, unmaps it from `from` first.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Physmap`], with the errors of [`add_to_physmap`](Self::add_to_physmap): the
    ///   page is still at `from`.
    /// - [`MemoryError::PageLost`]: the page is at neither frame, and `from` is empty. RAM of the
    ///   domain is lost this way if `to` is beyond the guest's frames, because nothing but its old
    ///   frame identifies it.
    ///
    /// # Safety
    ///
    /// The frame `to` must hold no data in use. Nothing may point to the frame `from` during the
    /// call, nor afterwards unless the error is [`MemoryError::Physmap`].
    pub unsafe fn move_page(
        &self,
        space: MapSpace,
        index: u64,
        from: Frame,
        to: Frame,
    ) -> Result<(), MemoryError> {
        // SAFETY: the caller's obligations are the same.
        let mut moved = unsafe { self.add_to_physmap(space, index, to) };
        if matches!(moved, Err(MemoryError::Physmap { errno: Errno::EBUSY, .. })) {
            // SAFETY: the caller's obligations are the same.
            let removed = unsafe { self.remove_from_physmap(from) };
            let at = to;
            removed.map_err(|errno| MemoryError::Physmap { space, index, at, errno })?;
            // SAFETY: the caller's obligations are the same.
            moved = unsafe { self.add_to_physmap(space, index, to) };
        } else if moved.is_err_and(|error| !error.may_have_unmapped()) {
            return moved;
        }
        let Err(error) = moved else { return Ok(()) };
        // SAFETY: the page was at this frame, so the frame holds nothing else.
        if unsafe { self.add_to_physmap(space, index, from) }.is_ok() {
            return Err(error);
        }
        let errno = error.errno().unwrap_or(Errno::EINVAL);
        Err(MemoryError::PageLost { space, index, errno })
    }

    /// Moves `count` pages of the domain from the frames that start at `from` to the frames that
    /// start at `to`. x86 only. Upstream: `XENMAPSPACE_gmfn_range`.
    ///
    /// If `to` is one of the frames after `from`, Xen before 4.20.4 and 4.21.2 moves the first page
    /// onto the second, then the same page onto the third, and so on: all others are lost. Move
    /// such a range in parts that do not overlap, the last part first.
    ///
    /// # Errors
    ///
    /// As for [`add_to_physmap`](Self::add_to_physmap), and `EOVERFLOW` if a range wraps. Pages
    /// before the failing one have moved; Xen does not return how many.
    ///
    /// # Safety
    ///
    /// As for [`add_to_physmap`](Self::add_to_physmap), for each of the pages.
    pub unsafe fn move_frames(
        &self,
        from: Frame,
        count: u16,
        to: Frame,
    ) -> Result<(), MemoryError> {
        let add = || {
            let (_, index, _) = MapSpace::Own.encode(from.0)?;
            // SAFETY: the caller's obligations are the same.
            unsafe { self.add(pac::MapSpace::GMFN_RANGE, index, count, to) }
        };
        add().map_err(|errno| MemoryError::Physmap {
            space: MapSpace::Own,
            index: from.0,
            at: to,
            errno,
        })
    }

    /// Unmaps a guest frame. RAM stays allocated to the domain but is unreachable; to return it to
    /// Xen, use [`decrease_reservation`](Self::decrease_reservation). Upstream:
    /// `XENMEM_remove_from_physmap`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if nothing was mapped, or a peer's page.
    ///
    /// # Safety
    ///
    /// The frame must hold no data in use, and nothing may point to it: an access faults
    /// afterwards.
    pub unsafe fn remove_from_physmap(&self, frame: Frame) -> Result<(), Errno> {
        // No page is mapped at a frame that does not fit into an argument.
        let gpfn = pfn(frame).ok_or(Errno::ENOENT)?;
        let mut argument = XenRemoveFromPhysmap::new(Domid::SELF, gpfn);
        // SAFETY: the argument holds no pointer; the caller's obligations are the same.
        unsafe { self.xen.call_unchecked(command::RemoveFromPhysmap, &mut argument) }
    }

    /// Maps several pages of one kind, each at its frame. Upstream: `XENMEM_add_to_physmap_batch`.
    ///
    /// An entry that Xen refuses does not stop the others: after an error, look at each result.
    /// Only this method maps [`MapSpace::Foreign`] pages. No other page can be mapped over a
    /// foreign one before [`remove_from_physmap`](Self::remove_from_physmap).
    ///
    /// # Errors
    ///
    /// [`MemoryError::Batch`] if at least one page was not mapped; each entry's errors are those of
    /// [`add_to_physmap`](Self::add_to_physmap). An error of a whole hypercall, such as `ESRCH` or
    /// `EPERM` for a foreign domain, ends the batch: the remaining entries have no result. An entry
    /// that does not fit Xen's argument ends it too, and then the other entries of the same
    /// hypercall, which has up to 32, have no result either.
    ///
    /// # Safety
    ///
    /// As for [`add_to_physmap`](Self::add_to_physmap), for each of the entries.
    pub unsafe fn add_to_physmap_batch(
        &self,
        space: MapSpace,
        entries: &mut [BatchEntry],
    ) -> Result<(), MemoryError> {
        let mut failure = None;
        entries.iter_mut().for_each(|entry| entry.result = None);
        for (list, entries) in entries.chunks_mut(BATCH).enumerate() {
            let before = list * BATCH;
            // SAFETY: the caller's obligations are the same.
            let answer = unsafe { self.add_list(space, entries) };
            failure = failure.or_else(|| first_failure(space, before, entries));
            let reached = entries.iter().take_while(|entry| entry.result.is_some()).count();
            // The entries' results decide, not the hypercall's. If every entry has a result, an
            // error of the hypercall has undone nothing. If a result is missing, the entry has
            // failed even if the hypercall succeeded.
            if reached < entries.len() {
                let errno = answer.err().unwrap_or(Errno::ENODATA);
                let first = before + reached;
                return Err(failure.unwrap_or(MemoryError::Batch { space, first, errno }));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// # Safety
    ///
    /// As for `add_to_physmap`.
    unsafe fn add(
        &self,
        space: pac::MapSpace,
        index: XenUlong,
        count: u16,
        at: Frame,
    ) -> Result<(), Errno> {
        let gpfn = pfn(at).ok_or(Errno::EINVAL)?;
        let mut argument = XenAddToPhysmap::new(Domid::SELF, count, space, index, gpfn);
        // SAFETY: the argument holds no pointer; the caller's obligations are the same.
        unsafe { self.xen.call_unchecked(command::AddToPhysmap, &mut argument) }
    }

    /// # Safety
    ///
    /// As for `add_to_physmap_batch`. There are at most [`BATCH`] entries.
    unsafe fn add_list(&self, space: MapSpace, entries: &mut [BatchEntry]) -> Result<(), Errno> {
        let mut indices: [XenUlong; BATCH] = [0; BATCH];
        let mut frames: [XenPfn; BATCH] = [0; BATCH];
        let mut errors = [NOT_REACHED; BATCH];
        for ((entry, index), frame) in entries.iter_mut().zip(&mut indices).zip(&mut frames) {
            let (Ok((_, encoded, _)), Some(at)) = (space.encode(entry.index), pfn(entry.at)) else {
                entry.result = Some(Err(Errno::EINVAL));
                return Err(Errno::EINVAL);
            };
            (*index, *frame) = (encoded, at);
        }
        let (number, _, domain) = space.encode(0)?;
        let mut argument = XenAddToPhysmapBatch::new(
            Domid::SELF,
            number.0 as u16,
            entries.len().min(BATCH) as u16,
            domain.map_or(XenAddToPhysmapBatchU::ZEROED, XenAddToPhysmapBatchU::from_foreign_domid),
            exposed(&mut indices),
            exposed(&mut frames),
            exposed(&mut errors),
        );
        // SAFETY: each of the lists has as many elements as the argument says, and Xen may read and
        // write them; the caller's obligations are the same.
        let answer = unsafe { self.xen.call_unchecked(command::AddToPhysmapBatch, &mut argument) };
        for (entry, error) in entries.iter_mut().zip(errors) {
            entry.result = result_of(error);
        }
        answer
    }
}

/// Decodes a number of a batch's error list. Returns `None` for a number that is neither 0 nor an
/// error: it does not show that the page was mapped.
fn result_of(error: i32) -> Option<Result<(), Errno>> {
    match check(error as isize) {
        Ok(0) => Some(Ok(())),
        Ok(_) => None,
        Err(errno) => Some(Err(errno)),
    }
}

fn first_failure(space: MapSpace, before: usize, entries: &[BatchEntry]) -> Option<MemoryError> {
    entries.iter().zip(before..).find_map(|(entry, first)| {
        Some(MemoryError::Batch { space, first, errno: entry.result?.err()? })
    })
}
