//! Grants: pages that this domain shares with others, and that others share with it (hypercall
//! `grant_table_op`; upstream: `xen/include/public/grant_table.h`).
//!
//! To grant pages, map the [`GrantTable`] and pass the reference of each [`Grant`] to the peer:
//!
//! ```
//! use core::ptr::NonNull;
//! use xen_hal::grant::{
//!     Access, Grant, GrantError, GrantRefAllocator, GrantTable, Page, PageMemory,
//! };
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::AddressSpace;
//! use xen_pac::base::Domid;
//! use xen_pac::grant_table::raw::GrantTableV1Page;
//!
//! /// `refs`, usually a static, has room for four pages of the table.
//! fn lend(
//!     xen: impl Hypercall,
//!     space: impl AddressSpace,
//!     place: NonNull<GrantTableV1Page>,
//!     refs: &'static GrantRefAllocator<4>,
//!     memory: &'static mut PageMemory,
//!     peer: Domid,
//! ) -> Result<Grant<'static>, GrantError> {
//!     let page = Page::new(&space, memory)?;
//!     page.copy_from(0, b"hello")?;
//!     // SAFETY: the place for four pages is reserved for the table, and the domain is never
//!     // suspended.
//!     let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
//!     let grant = table.lend(page, peer, Access::ReadOnly).map_err(|error| error.error())?;
//!     // The peer needs `grant.reference()`.
//!     Ok(grant)
//! }
//!
//! /// Takes the page back after the peer has reported that it is done.
//! fn take_back(mut grant: Grant<'_>, mut pause: impl FnMut()) -> Option<Page> {
//!     for _ in 0..100 {
//!         match grant.revoke() {
//!             Ok((_slot, page)) => return Some(page),
//!             Err(in_use) => grant = in_use.into_grant(),
//!         }
//!         pause();
//!     }
//!     // The peer still uses the page, so nothing else may. Dropping the grant leaks the page.
//!     None
//! }
//! # xen_sim::for_each_seed(10, |seed| {
//! #     use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};
//! #     let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(FaultRates::storm());
//! #     let kernel = |guest: Guest| -> Result<(), GrantError> {
//! #         let (xen, space, place) = (guest.xen(), guest.space(), guest.page(1).cast());
//! #         // SAFETY: nothing else uses the page.
//! #         let memory = unsafe { guest.page(8).cast().as_mut() };
//! #         let grant = lend(xen, space, place, Box::leak(Box::default()), memory, Domid(2))?;
//! #         guest.publish("reference", grant.reference().0.into());
//! #         guest.wait_for_key("done");
//! #         assert!(take_back(grant, || guest.relax()).is_some());
//! #         Ok(())
//! #     };
//! #     let peer = |guest: Guest| -> Result<(), GrantError> {
//! #         let reference = xen_hal::grant::GrantRef(guest.wait_for_key("reference") as u32);
//! #         let of = xen_hal::grant::ForeignGrant { domain: Domid(1), reference };
//! #         let mut hello = [0; 5];
//! #         let grants = xen_hal::Xen::new(guest.xen()).grants();
//! #         grants.copy_from_grant(&guest.space(), of, 0, &mut hello)?;
//! #         assert_eq!(&hello, b"hello");
//! #         guest.publish("done", 1);
//! #         Ok(())
//! #     };
//! #     machine.domain(DomainConfig::new(), kernel)?;
//! #     machine.domain(DomainConfig::new(), peer)?;
//! #     Ok(machine.run()?)
//! # });
//! ```
//!
//! To use foreign grants, map them ([`Grants::map`]) or let Xen copy their bytes
//! ([`Grants::copy_from_grant`], [`Grants::copy_to_grant`]).
//!
//! This module uses version 1 of the table. Version 2 can also grant parts of pages, and does not
//! exist on Arm.

mod bytes;
mod copy;
mod lend;
mod map;
mod refs;
mod table;

#[cfg(test)]
mod tests;

use core::fmt;

use xen_pac::base::{Domid, XenPfn};
use xen_pac::grant_table::{
    self as pac, GnttabGetVersion, GnttabQuerySize, GnttabSetVersion, GnttabSetupTable,
    GrantStatus, command,
};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::memory::{MemoryError, exposed};

pub use bytes::{Bytes, Page, PageMemory, SharedInt};
pub use copy::{CopyEnd, CopyRequest};
pub use lend::{Access, DeferredGrant, Grant, GrantInUseError, GrantSlot, GrantUsage};
pub use map::{MapError, MapRequest, MapTarget, Mapping, UnmapError};
pub use refs::GrantRefAllocator;
pub use table::{GrantTable, GrantTablePlace, LendError};

/// Why a grant operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Xen refused the hypercall.
    #[error("{0}")]
    Errno(#[from] Errno),
    /// Xen refused this element of the hypercall. The status is never that of success. A later
    /// release may return a status that has no name here.
    #[error("{}", StatusName(*.0))]
    Status(GrantStatus),
    /// The address space has no frame for the address.
    #[error("no guest frame is mapped at address {0:#x}")]
    NotMapped(usize),
    /// The bytes do not lie within a page, or an integer is not aligned.
    #[error("{count} bytes at offset {offset} are not within a page, or not aligned")]
    OutOfBounds {
        /// The offset of the bytes.
        offset: usize,
        /// The number of bytes.
        count: usize,
    },
    /// No reference is free.
    #[error("no grant reference is free")]
    Full,
    /// The table is no longer mapped: the domain was restored. Map the table again.
    #[error("the grant table is no longer mapped: the domain was restored")]
    TableLost,
    /// A page of the table could not be mapped, or a page to grant has no usable frame.
    #[error("{0}")]
    Memory(#[from] MemoryError),
    /// The table's entries have this version instead of 1. Earlier software in this domain changed
    /// it: see [`Grants::set_version`].
    #[error("expected a grant table of version 1, found version {0}")]
    Version(u32),
    /// Xen did not change the version: `EBUSY` while a grant is in use, `ENOSYS` if version 2 is
    /// not allowed, `ERANGE` for entries that version 1 cannot express, `EINVAL` for other numbers.
    #[error("cannot change the version of the grant table: {errno}")]
    VersionRefused {
        /// Xen's reason.
        errno: Errno,
        /// The current version, if Xen returned it.
        in_force: Option<u32>,
    },
    /// The table's storage has room for fewer pages than requested.
    #[error("expected at most {capacity} pages of the grant table, found {asked}")]
    Capacity {
        /// The number of pages requested.
        asked: u32,
        /// The number of pages for which there is room.
        capacity: u32,
    },
    /// Another vCPU is growing the table. Try again.
    #[error("another vCPU is growing the grant table")]
    Growing,
}

impl GrantError {
    /// True if the same operation may succeed later: the foreign page is paged out, or another vCPU
    /// is growing the table.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Status(GrantStatus::EAGAIN) | Self::Growing)
    }
}

struct StatusName(GrantStatus);

impl fmt::Display for StatusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant status {}", self.0)
    }
}

/// The initial status of an element. Xen never writes a positive status.
const NOT_REACHED: GrantStatus = GrantStatus(i16::MAX);

/// Returns the result of one element of a hypercall: its status if Xen reached it, otherwise the
/// result of the whole hypercall.
fn element(answer: Result<(), Errno>, status: GrantStatus) -> Result<(), GrantError> {
    match (answer, status) {
        (Err(errno), NOT_REACHED) => Err(errno.into()),
        (_, GrantStatus::OKAY) => Ok(()),
        (_, status) => Err(GrantError::Status(status)),
    }
}

/// The number of an entry of a domain's grant table. Wraps [`xen_pac`'s integer](pac::GrantRef).
/// The peer names the granted page by it. Upstream: `grant_ref_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct GrantRef(pub pac::GrantRef);

/// The number by which Xen identifies a mapping. Wraps [`xen_pac`'s integer](pac::GrantHandle).
/// Upstream: `grant_handle_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct GrantHandle(pub pac::GrantHandle);

impl fmt::Display for GrantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GrantHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A page that another domain grants to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForeignGrant {
    /// The granting domain's number.
    pub domain: Domid,
    /// The reference that it passed to this domain.
    pub reference: GrantRef,
}

impl fmt::Display for ForeignGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {} of domain {}", self.reference, self.domain)
    }
}

/// The size of a grant table in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// The number of pages that it has.
    pub frames: u32,
    /// The greatest number of pages that it may have.
    pub maximum: u32,
}

/// Queries and resizes grant tables, and maps, unmaps and copies foreign grants.
#[derive(Clone, Copy, Debug)]
pub struct Grants<H> {
    xen: H,
}

impl<H: Hypercall> Grants<H> {
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Returns the size of the table of `domain`. Upstream: `GNTTABOP_query_size`.
    ///
    /// # Errors
    ///
    /// `BAD_DOMAIN` if the domain does not exist, `PERMISSION_DENIED` for the table of another
    /// domain, unless privileged. [`Domid::SELF`] always works.
    pub fn query_size(&self, domain: Domid) -> Result<TableSize, GrantError> {
        let mut query = GnttabQuerySize::new(domain);
        query.status = NOT_REACHED;
        let answer = self.xen.call(command::QuerySize, core::slice::from_mut(&mut query));
        element(answer, query.status)?;
        Ok(TableSize { frames: query.nr_frames, maximum: query.max_nr_frames })
    }

    /// Grows this domain's table to `frames.len()` pages. Xen writes the frame of each page to
    /// `frames`. Upstream: `GNTTABOP_setup_table`.
    ///
    /// In an HVM or PVH domain this maps nothing: Xen writes the guest frames at which pages of the
    /// table are mapped already, if any. [`GrantTable`] does not need this method.
    ///
    /// # Errors
    ///
    /// `GENERAL_ERROR` for more pages than the maximum.
    pub fn setup_table(&self, frames: &mut [XenPfn]) -> Result<(), GrantError> {
        let count = u32::try_from(frames.len()).map_err(|_| Errno::E2BIG)?;
        let mut setup = GnttabSetupTable::new(Domid::SELF, count, exposed(frames));
        setup.status = NOT_REACHED;
        // SAFETY: Xen writes as many frame numbers as the argument says and the slice has. Growing
        // the table removes no memory.
        let answer = unsafe {
            self.xen.call_unchecked(command::SetupTable, core::slice::from_mut(&mut setup))
        };
        element(answer, setup.status)
    }

    /// Returns the version of the entries of `domain`, 1 or 2. Upstream: `GNTTABOP_get_version`.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the domain does not exist, `EPERM` for the table of another domain, unless
    /// privileged.
    pub fn version(&self, domain: Domid) -> Result<u32, Errno> {
        let mut query = GnttabGetVersion::new(domain);
        self.xen.call(command::GetVersion, core::slice::from_mut(&mut query))?;
        Ok(query.version)
    }

    /// Changes the version of the entries of this domain's table. Returns the new version.
    /// Upstream: `GNTTABOP_set_version`.
    ///
    /// # Errors
    ///
    /// [`GrantError::VersionRefused`].
    ///
    /// # Safety
    ///
    /// Xen changes the size of all entries, and clears them except for the first eight, which are
    /// reserved. No [`GrantTable`] of this domain's table may exist, nor any value made from one.
    /// The status pages of version 2 go with it: Xen destroys the domain if one of them is mapped
    /// as a grant then.
    pub unsafe fn set_version(&self, version: u32) -> Result<u32, GrantError> {
        let mut argument = GnttabSetVersion::new(version);
        // SAFETY: the caller's obligations are the same.
        let answer = unsafe {
            self.xen.call_unchecked(command::SetVersion, core::slice::from_mut(&mut argument))
        };
        match answer {
            Ok(()) => Ok(argument.version),
            Err(errno) => {
                let in_force = Some(argument.version).filter(|found| *found != version);
                Err(GrantError::VersionRefused { errno, in_force })
            }
        }
    }
}
