//! The domain's memory: its size, and what is mapped at each guest frame (hypercall `memory_op`;
//! upstream: `xen/include/public/memory.h`).
//!
//! ```
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
//! # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
//! #     shared_info(guest.xen(), &guest.space(), guest.page(0).cast()).map(drop)
//! # });
//! ```
//!
//! # Pitfalls
//! - Map memory that Xen or a peer uses with the caching of ordinary memory: write-back, and on Arm
//!   also inner shareable. With another attribute, the guest can read stale data.
//! - Mapping a page over RAM loses that RAM, also after the page is unmapped. x86 frees the RAM. On
//!   Arm it stays allocated to the domain but is unreachable, as it is after
//!   [`Memory::remove_from_physmap`] on either architecture. To avoid this, first return the RAM
//!   with [`Memory::decrease_reservation`], or map at a frame that never had RAM.
//! - A Xen page (the shared info page, or a page of the grant table) can be mapped at one frame
//!   only. On x86, mapping it again unmaps the first frame, and accesses there fault. On Arm, since
//!   4.17, mapping it again fails with `EBUSY`, also if firmware left the page mapped: unmap it
//!   with [`Memory::remove_from_physmap`].
//! - A mapped Xen page can be granted, copied and, on x86, moved like the domain's own memory.
//!   Granting it exposes the grant table or the shared page to the peer.
//! - [`Memory::decrease_reservation`] of a Xen page ends its use: it can be mapped, granted and
//!   copied only until the last grant of it is unmapped. A page of the grant table then cannot be
//!   mapped again: Xen returns `EBUSY`.
//! - The commands that populate and release memory do not fail: they process fewer extents than
//!   requested, and the methods return a [`PartialReservation`].

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
    /// The address is not page-aligned.
    #[error("expected a page-aligned address, found {0:#x}")]
    Misaligned(usize),
    /// The address space has no frame for the address.
    #[error("no guest frame is mapped at address {0:#x}")]
    NotMapped(usize),
    /// The word width was latched before the domain was restored.
    #[error("the word width was latched before the domain was restored; latch it again")]
    StaleLatch,
    /// The frame number is too large, or too small, for this use.
    #[error("frame {:#x} cannot be used for this", .0.0)]
    OutOfReach(Frame),
    /// Xen did not map a page.
    #[error("cannot map {} at frame {:#x}: {errno}", PageName(*space, *index), at.0)]
    Physmap {
        /// The kind of page.
        space: MapSpace,
        /// Which page of this kind.
        index: u64,
        /// The requested frame.
        at: Frame,
        /// Xen's reason.
        errno: Errno,
    },
    /// A page was not moved, and could not be mapped again at its old frame, which is now empty.
    #[error("{} left its frame and cannot be mapped again: {errno}", PageName(*space, *index))]
    PageLost {
        /// The kind of page.
        space: MapSpace,
        /// Which page of this kind.
        index: u64,
        /// Why the page was not moved.
        errno: Errno,
    },
    /// Some pages of a batch were not mapped. The entries hold the results.
    #[error("cannot map entry {first} of the batch: {errno}")]
    Batch {
        /// The kind of pages.
        space: MapSpace,
        /// The first entry that was not mapped, counted from 0.
        first: usize,
        /// The entry's error, or the hypercall's if it failed before it reached the entry;
        /// `ENODATA` if the hypercall succeeded without a result for the entry.
        errno: Errno,
    },
    /// The buffer is full, so the memory map may have more entries. The entries in the buffer are
    /// valid.
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
    /// True if the failed operation may have unmapped a page from its old frame.
    ///
    /// x86 unmaps the page from its old frame first, and does not restore it if the new frame is
    /// invalid or Xen has no memory for its page tables. Pointers to the old frame must not be used
    /// afterwards. A Xen page can be mapped again with [`Memory::add_to_physmap`]; RAM of the
    /// domain ([`MapSpace::Own`]) is lost. [`Memory::move_page`] maps the page again itself.
    ///
    /// For a batch, true if this applies to any of its pages.
    #[must_use]
    pub const fn may_have_unmapped(self) -> bool {
        let (space, errno) = match self {
            Self::Physmap { space, errno, .. } => (space, errno),
            // The batch holds only its first error.
            Self::Batch { space, .. } => (space, Errno::EINVAL),
            Self::PageLost { .. } => return true,
            _ => return false,
        };
        let moves = !matches!(space, MapSpace::Foreign(_) | MapSpace::DeviceMemory);
        // Xen checks these before it unmaps a page.
        let refused = matches!(
            errno,
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

    /// Returns Xen's error, if Xen returned one.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Physmap { errno, .. }
            | Self::PageLost { errno, .. }
            | Self::Batch { errno, .. }
            | Self::Errno(errno) => Some(errno),
            Self::Partial(partial) => partial.errno,
            _ => None,
        }
    }
}

/// Displays the name of a page.
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
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Returns the highest guest frame that the domain uses. Upstream: `XENMEM_maximum_gpfn`.
    ///
    /// # Errors
    ///
    /// No known release of Xen returns one.
    pub fn maximum_frame(&self) -> Result<Frame, Errno> {
        self.xen.call(command::MaximumGpfn, &mut own()).map(|frame| Frame(frame as u64))
    }

    /// Returns the number of pages that the domain has. Upstream: `XENMEM_current_reservation`.
    ///
    /// # Errors
    ///
    /// No known release of Xen returns one.
    pub fn current_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::CurrentReservation, &mut own())
    }

    /// Returns the greatest number of pages that the domain may have. Upstream:
    /// `XENMEM_maximum_reservation`.
    ///
    /// # Errors
    ///
    /// No known release of Xen returns one.
    pub fn maximum_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::MaximumReservation, &mut own())
    }

    /// Returns the machine's highest frame of RAM. Upstream: `XENMEM_maximum_ram_page`.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn machine_maximum_frame(&self) -> Result<u64, Errno> {
        self.xen.call(command::MaximumRamPage, ()).map(|frame| frame as u64)
    }
}

const fn own() -> XenMemoryDomain {
    XenMemoryDomain::new(Domid::SELF)
}

/// Returns the frame as an argument holds it: with 32 bits on 32-bit x86.
fn pfn(frame: Frame) -> Option<XenPfn> {
    #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
    frame.0.try_into().ok()
}

/// Returns a list as an argument holds it. Exposes its provenance, because Xen may write to it.
pub(crate) fn exposed<T>(list: &mut [T]) -> Handle<T> {
    let first = list.as_mut_ptr();
    first.expose_provenance();
    Handle::from_ptr(first)
}
