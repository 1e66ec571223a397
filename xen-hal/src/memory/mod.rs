//! The domain's memory: how much it has, and what is mapped at which guest frame (hypercall
//! `memory_op`; upstream: `xen/include/public/memory.h`).
//!
//! ```no_run
//! use core::ptr::NonNull;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::{MemoryError, WidthLatch};
//! use xen_hal::platform::AddressSpace;
//! use xen_pac::shared_info::{SharedInfo, raw};
//!
//! /// Maps the page that the domain shares with Xen at `page`, which nothing else uses.
//! fn shared_info(
//!     xen: impl Hypercall + Copy,
//!     space: &impl AddressSpace,
//!     page: NonNull<raw::SharedInfo>,
//! ) -> Result<SharedInfo<'static>, MemoryError> {
//!     // SAFETY: the page is reserved for the shared page, and the domain is never suspended.
//!     unsafe { WidthLatch::new(xen)?.map_shared_info(space, page) }
//! }
//! ```
//!
//! # Pitfalls
//! - RAM that was at a frame does not come back when what was mapped over it is unmapped. x86 frees
//!   it. On Arm it stays the domain's and cannot be reached, as after
//!   [`Memory::remove_from_physmap`] on either architecture: return it by
//!   [`Memory::decrease_reservation`] before, or map at a frame that never had RAM.
//! - A page of Xen has one place. Mapped a second time on x86 it leaves the first, and an access to
//!   that faults. Arm refuses the second time with `EBUSY` since 4.17, which also happens if
//!   firmware left the page mapped: [`Memory::remove_from_physmap`] unmaps it.
//! - Where a page of Xen's is mapped, it can be granted, copied and, on x86, moved as memory of the
//!   domain. A grant of it reveals the grant table or the shared page to the peer.
//! - The commands that populate and release memory do not fail. They do less than was asked, and
//!   return a [`PartialReservation`].

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod e820;
mod physmap;
mod reservation;
mod shared_info;

#[cfg(test)]
mod tests;

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn};
use xen_pac::memory::{XenMemoryDomain, command};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Frame;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use e820::MapEntry;
pub use physmap::{BatchEntry, MapSpace};
pub use reservation::{Extent, PartialReservation};
pub use shared_info::WidthLatch;
pub(crate) use shared_info::frame_of_page;

/// Why a memory operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The address is not that of a page's first byte.
    #[error("expected the address of a page, found {0:#x}")]
    Misaligned(usize),
    /// The address space has no frame for the address.
    #[error("no guest frame lies behind address {0:#x}")]
    NotMapped(usize),
    /// The width was latched before the domain was restored.
    #[error("the width was latched before the domain was restored; latch it again")]
    StaleLatch,
    /// The frame's number is too large, or too small, for this use.
    #[error("frame {:#x} cannot be used for this", .0.0)]
    OutOfReach(Frame),
    /// Xen did not map a page.
    #[error("cannot map {} at frame {:#x}: {errno}", PageName(*space, *index), at.0)]
    Physmap {
        /// The kind of page.
        space: MapSpace,
        /// Which page of this kind.
        index: u64,
        /// The frame at which it was to be mapped.
        at: Frame,
        /// Xen's reason.
        errno: Errno,
    },
    /// A page was not moved, and could not be mapped again at the frame where it was. Nothing is
    /// at that frame.
    #[error("{} left its frame and cannot be mapped again: {errno}", PageName(*space, *index))]
    PageLost {
        /// The kind of page.
        space: MapSpace,
        /// Which page of this kind.
        index: u64,
        /// Why it was not moved.
        errno: Errno,
    },
    /// Some pages of a batch were not mapped. The others were, and the entries say which.
    #[error("cannot map entry {first} of the batch: {errno}")]
    Batch {
        /// The kind of pages.
        space: MapSpace,
        /// The first entry that was not mapped, counted from 0.
        first: usize,
        /// The entry's own error, or that of the hypercall before Xen reached the entry; `ENODATA`
        /// if the hypercall succeeded without a result for the entry.
        errno: Errno,
    },
    /// The buffer is full, so the memory map may have more entries. Those in the buffer are valid.
    #[error("the memory map fills the buffer and may have more entries")]
    BufferTooShort,
    /// Xen processed only some of the extents.
    #[error(transparent)]
    Partial(#[from] PartialReservation),
    /// Xen's error.
    #[error("{0}")]
    Errno(#[from] Errno),
}

impl MemoryError {
    /// True if a page that was mapped elsewhere may have left that frame, although it was not
    /// mapped anew.
    ///
    /// x86 unmaps the page from its old frame first, and does not restore it if the new frame turns
    /// out to be impossible, or if Xen has no memory for its page tables. Whatever points to the
    /// old frame must not be used any more. A page of Xen is mapped again at a possible frame by
    /// [`Memory::add_to_physmap`]; RAM of the domain ([`MapSpace::Own`]) is lost.
    /// [`Memory::move_page`] maps the page again by itself.
    ///
    /// For a batch this is about any of its pages.
    #[must_use]
    pub const fn may_have_unmapped(&self) -> bool {
        let (space, errno) = match self {
            Self::Physmap { space, errno, .. } => (space, errno),
            // Only the first error is here.
            Self::Batch { space, .. } => (space, &Errno::EINVAL),
            Self::PageLost { .. } => return true,
            _ => return false,
        };
        let moves = !matches!(space, MapSpace::Foreign(_) | MapSpace::DeviceMemory);
        // What Xen checks before it unmaps anything.
        let refused = matches!(
            *errno,
            Errno::EPERM
                | Errno::ESRCH
                | Errno::EACCES
                | Errno::EBUSY
                | Errno::EFAULT
                | Errno::EXDEV
                | Errno::ENOSYS
                | Errno::EOVERFLOW
        );
        moves && !refused
    }

    /// Xen's error, if it returned one.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Physmap { errno, .. }
            | Self::PageLost { errno, .. }
            | Self::Batch { errno, .. }
            | Self::Errno(errno) => Some(*errno),
            Self::Partial(partial) => partial.errno,
            _ => None,
        }
    }
}

/// Shows which page it is.
struct PageName(MapSpace, u64);

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(self.1, f)
    }
}

/// Memory operations of the running domain.
#[derive(Clone, Copy, Debug)]
pub struct Memory<H> {
    xen: H,
}

impl<H: Hypercall> Memory<H> {
    /// Memory operations through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Returns the greatest guest frame that the domain uses. Upstream: `XENMEM_maximum_gpfn`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to return to a domain about itself.
    pub fn maximum_frame(&self) -> Result<Frame, Errno> {
        self.xen.call(command::MaximumGpfn, &mut own()).map(|frame| Frame(frame as u64))
    }

    /// Returns how many pages the domain has. Upstream: `XENMEM_current_reservation`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to return to a domain about itself.
    pub fn current_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::CurrentReservation, &mut own())
    }

    /// Returns how many pages the domain may have. Upstream: `XENMEM_maximum_reservation`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to return to a domain about itself.
    pub fn maximum_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::MaximumReservation, &mut own())
    }

    /// Returns the greatest frame of RAM of the machine. Upstream: `XENMEM_maximum_ram_page`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to return.
    pub fn machine_maximum_frame(&self) -> Result<u64, Errno> {
        self.xen.call(command::MaximumRamPage, ()).map(|frame| frame as u64)
    }
}

const fn own() -> XenMemoryDomain {
    XenMemoryDomain::new(Domid::SELF)
}

/// The frame as an argument holds it: with 32 bits on 32-bit x86.
fn pfn(frame: Frame) -> Option<XenPfn> {
    #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
    frame.0.try_into().ok()
}

/// A list inside an argument, whose provenance is exposed: Xen may write to it.
pub(crate) fn exposed<T>(list: &mut [T]) -> Handle<T> {
    let first = list.as_mut_ptr();
    first.expose_provenance();
    Handle::from_ptr(first)
}
