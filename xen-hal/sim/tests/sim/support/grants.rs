//! Grants by their numbers, and entries of the grant table as they lie in memory.

use xen_hal::hypercall::Errno;
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabSetVersion, GnttabUnmapGrantRef, GrantStatus, command,
    grant_map_flags as flags, raw::GrantEntryV1,
};
use xen_pac::memory::{self, MapSpace, XenAddToPhysmap};

use super::{Answer, OK, Table};

/// What is said of a grant, or of the whole request.
pub(crate) type Told = Result<GrantStatus, Errno>;

pub(crate) const OKAY: Told = Ok(GrantStatus::OKAY);
pub(crate) const GENERAL: Told = Ok(GrantStatus::GENERAL_ERROR);
pub(crate) const BAD_DOMAIN: Told = Ok(GrantStatus::BAD_DOMAIN);
pub(crate) const BAD_GNTREF: Told = Ok(GrantStatus::BAD_GNTREF);
pub(crate) const BAD_HANDLE: Told = Ok(GrantStatus::BAD_HANDLE);
pub(crate) const BAD_PAGE: Told = Ok(GrantStatus::BAD_PAGE);
pub(crate) const BAD_COPY: Told = Ok(GrantStatus::BAD_COPY_ARG);
pub(crate) const DENIED: Told = Ok(GrantStatus::PERMISSION_DENIED);

/// An entry that grants its page, and further flags.
pub(crate) const PERMIT: u16 = 1;
pub(crate) const TRANSITIVE: u16 = 3;
pub(crate) const READ_ONLY_ENTRY: u16 = 1 << 2;
pub(crate) const READING: u16 = 1 << 3;
pub(crate) const WRITING: u16 = 1 << 4;
pub(crate) const SUB_PAGE: u16 = 1 << 8;

/// The address of one of the domain's pages.
pub(crate) fn at(t: &Table, page: usize) -> u64 {
    t.frame(page) * 4096
}

/// The answer, and the version that is in force.
pub(crate) fn set_version(t: &Table, version: u32) -> (Answer, u32) {
    let mut asked = GnttabSetVersion::new(version);
    (t.give_one(command::SetVersion, &mut asked), asked.version)
}

/// Lets the first page of the table appear at a page of the domain's.
pub(crate) fn map_table(t: &Table, page: usize) {
    let mut asked = XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::GRANT_TABLE, 0, t.frame(page));
    t.is("the table's page", t.give(memory::command::AddToPhysmap, &mut asked), OK);
}

/// Writes a value into a page of the domain's that Xen looks at.
pub(crate) fn put<T>(t: &Table, page: usize, index: usize, value: T) {
    let place = t.page(page).cast::<T>().as_ptr().wrapping_add(index);
    // SAFETY: the value is within the page, which the tests use by such accesses alone.
    unsafe { place.write_volatile(value) };
}

/// Reads a value from such a page.
pub(crate) fn peek<T>(t: &Table, page: usize, index: usize) -> T {
    let place = t.page(page).cast::<T>().as_ptr().wrapping_add(index);
    // SAFETY: as for writing.
    unsafe { place.read_volatile() }
}

pub(crate) fn entry(flags: u16, domid: Domid, frame: u64) -> GrantEntryV1 {
    GrantEntryV1 { flags, domid: domid.0, frame: frame as u32 }
}

pub(crate) const fn host_map() -> u32 {
    flags::HOST_MAP.mask << flags::HOST_MAP.shift
}

pub(crate) const fn read_only() -> u32 {
    flags::READONLY.mask << flags::READONLY.shift
}

/// The status, and the handle.
pub(crate) fn map(t: &Table, address: u64, flags: u32, reference: u32, dom: Domid) -> (Told, u32) {
    let mut asked = GnttabMapGrantRef::new(address, flags, reference, dom);
    let answer = t.give_one(command::MapGrantRef, &mut asked);
    (answer.map(|_| asked.status), asked.handle)
}

pub(crate) fn unmap(t: &Table, address: u64, handle: u32) -> Told {
    let mut asked = GnttabUnmapGrantRef::new(address, 0, handle);
    t.give_one(command::UnmapGrantRef, &mut asked).map(|_| asked.status)
}
