//! Grants: pages that this domain lends to others, and that others lend to it (hypercall
//! `grant_table_op`; upstream: `xen/include/public/grant_table.h`).
//!
//! To lend pages, map the [`GrantTable`], and tell the other domain the reference of each
//! [`Grant`]:
//!
//! ```no_run
//! use core::ptr::NonNull;
//! use core::sync::atomic::AtomicU32;
//! use xen_hal::grant::{Access, GrantTable, Page, PageMemory, TableError};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::AddressSpace;
//! use xen_pac::base::Domid;
//! use xen_pac::grant_table::raw::GrantTableV1Page;
//!
//! fn lend<H: Hypercall + Copy>(
//!     xen: H,
//!     space: &impl AddressSpace,
//!     place: NonNull<GrantTableV1Page>,
//!     memory: &'static mut PageMemory,
//!     peer: Domid,
//! ) -> Result<(), TableError> {
//!     // The table: one page for now, and room for four.
//!     let mut storage = [const { AtomicU32::new(0) }; GrantTable::words(4)];
//!     // SAFETY: the place for four pages is kept for this alone.
//!     let table = unsafe { GrantTable::map(xen, space, place, 4, &mut storage, 1) }?;
//!
//!     let page = Page::new(space, memory)?;
//!     page.copy_from(0, b"hello").unwrap();
//!     let mut grant = table.lend(page, peer, Access::ReadOnly).expect("the table is empty");
//!     // ... the other domain is told grant.reference(), does what it wants, and says that it is done ...
//!     loop {
//!         match grant.revoke() {
//!             Ok((_slot, _page)) => break Ok(()),
//!             // It did not let go: the page is still lent, and must not be used for anything else.
//!             Err(still_in_use) => grant = still_in_use.into_grant(),
//!         }
//!     }
//! }
//! ```
//!
//! To use pages of others, map them ([`Grants::map`]) or have Xen copy them ([`Grants::fetch`],
//! [`Grants::store`]).
//!
//! Version 1 of the table is what this module lends by; version 2 lends parts of pages, and Arm
//! does not have it.

mod bytes;
mod copy;
mod foreign;
mod lend;
mod page;
mod ref_allocator;
mod status;
mod table;
#[cfg(test)]
mod tests;

use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn};
use xen_pac::grant_table::{
    GnttabGetVersion, GnttabQuerySize, GnttabSetVersion, GnttabSetupTable, GrantRef, command,
};

use crate::hypercall::{Commands, Errno, Hypercall};

pub use bytes::{Bytes, OutOfBounds, PageMemory, Shared};
pub use copy::{CopyEnd, CopyFailedError, CopyRequest};
pub use foreign::{MapFailedError, MapRequest, MapTarget, Mapping, UnmapFailedError};
pub use lend::{Access, Grant, GrantSlot, StillInUse, Usage};
pub use page::Page;
pub use ref_allocator::{GrantRefAllocator, NotTakenError};
pub use status::{Error, GrantError};
pub use table::{GrantTable, TableError, TableFullError};

use status::{NOT_REACHED, element};

/// The commands about grants.
#[derive(Clone, Copy, Debug)]
pub struct Grants<H> {
    xen: H,
}

/// A page that another domain lends: it means something to this domain and to that one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForeignGrant {
    /// The domain that lends, by its own number. A domain may use its own grants, by its own number
    /// too ([`Domid::SELF`] is refused): see [`Grants::map`] for what happens then.
    pub domain: Domid,
    /// The reference that it told.
    pub reference: GrantRef,
}

/// How large a grant table is, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// How many pages it has.
    pub frames: u32,
    /// How many it may have.
    pub maximum: u32,
}

/// The table's version was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionRefused {
    /// Why: `EBUSY` while a grant is in use, `ENOSYS` where version 2 is not allowed, `ERANGE`
    /// where entries cannot be had in version 1, `EINVAL` for other numbers.
    pub errno: Errno,
    /// The version in force, if Xen told.
    pub in_force: Option<u32>,
}

impl core::fmt::Display for VersionRefused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the grant table's version cannot be changed: {}", self.errno)
    }
}

impl core::error::Error for VersionRefused {}

impl<H: Hypercall> Grants<H> {
    /// The commands, through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// How large the table of `domain` is, and may become. Upstream: `GNTTABOP_query_size`.
    ///
    /// # Errors
    ///
    /// `BAD_DOMAIN` where there is no such domain, `PERMISSION_DENIED` for another one's table
    /// unless privileged. [`Domid::SELF`] always works.
    pub fn query_size(&self, domain: Domid) -> Result<TableSize, Error> {
        let mut query = GnttabQuerySize::new(domain);
        query.status = NOT_REACHED;
        let answer = self.xen.call(command::QuerySize, core::slice::from_mut(&mut query));
        element(answer, query.status)?;
        Ok(TableSize { frames: query.nr_frames, maximum: query.max_nr_frames })
    }

    /// Makes this domain's table grow until it has as many pages as `frames`, into which Xen writes
    /// the frame of each. Upstream: `GNTTABOP_setup_table`.
    ///
    /// With hardware virtualisation this maps nothing, and the frames are those at which the pages
    /// have been mapped before, if they were: [`GrantTable`] does not need it.
    ///
    /// # Errors
    ///
    /// `GENERAL_ERROR` for more pages than the maximum.
    pub fn setup_table(&self, frames: &mut [XenPfn]) -> Result<(), Error> {
        let count = u32::try_from(frames.len()).map_err(|_| Errno::E2BIG)?;
        let mut setup =
            GnttabSetupTable::new(Domid::SELF, count, Handle::from_ptr(frames.as_mut_ptr()));
        setup.status = NOT_REACHED;
        // SAFETY: Xen writes as many frame numbers as the argument says and the slice has; growing
        // takes nothing away.
        let answer = unsafe {
            self.xen.call_unchecked(command::SetupTable, core::slice::from_mut(&mut setup))
        };
        element(answer, setup.status)
    }

    /// The version of the entries of `domain`, 1 or 2. Upstream: `GNTTABOP_get_version`.
    ///
    /// # Errors
    ///
    /// `ESRCH` where there is no such domain, `EPERM` for another one's table unless privileged.
    pub fn version(&self, domain: Domid) -> Result<u32, Errno> {
        let mut query = GnttabGetVersion::new(domain);
        self.xen.call(command::GetVersion, core::slice::from_mut(&mut query))?;
        Ok(query.version)
    }

    /// Gives the entries of this domain's table the form of `version`, and answers with the version
    /// in force. Upstream: `GNTTABOP_set_version`.
    ///
    /// # Errors
    ///
    /// [`VersionRefused`], with the version that stays.
    ///
    /// # Safety
    ///
    /// All entries but the reserved eight are wiped, and have another size from then on: there must
    /// be no [`GrantTable`], nor anything made from one, whose memory is that of this domain's
    /// table.
    pub unsafe fn set_version(&self, version: u32) -> Result<u32, VersionRefused> {
        let mut argument = GnttabSetVersion::new(version);
        // SAFETY: the caller's promise.
        let answer = unsafe {
            self.xen.call_unchecked(command::SetVersion, core::slice::from_mut(&mut argument))
        };
        match answer {
            Ok(()) => Ok(argument.version),
            Err(errno) => Err(VersionRefused {
                errno,
                in_force: Some(argument.version).filter(|told| *told != version),
            }),
        }
    }
}
