//! Grants: pages that the domain shares with others.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;

use xen_hal::Xen;
use xen_hal::grant::{
    Access, ForeignGrant, Grant, GrantRef, GrantRefAllocator, GrantTable, MapRequest, MapTarget,
    Mapping, Page,
};
use xen_hal::hypercall::{Errno, Installed, installed};
use xen_hal::pac::base::Domid;

use super::port::PortSpace;
use super::storage::{
    bytes, bytes_mut, create, create_at, done, errno, get, page, some, stores, take,
};

/// The most pages that a `struct xen_grant_table` has room for. Each has 512 entries.
pub const XEN_GRANT_TABLE_PAGES: usize = 4;

/// The size of a `struct xen_grant_table` in bytes.
pub const XEN_GRANT_TABLE_SIZE: usize = 640;

/// The size of a `struct xen_grant` in bytes.
pub const XEN_GRANT_SIZE: usize = 64;

/// The size of a `struct xen_mapping` in bytes.
pub const XEN_MAPPING_SIZE: usize = 80;

/// The domain's grant table. It must be static, and zero before the first call. All vCPUs can use
/// it at the same time.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct XenGrantTable {
    opaque: [u64; XEN_GRANT_TABLE_SIZE / 8],
}

/// A page that is granted to another domain. It must be zero before the first call, and stay where
/// it is until the grant is revoked.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct XenGrant {
    opaque: [u64; XEN_GRANT_SIZE / 8],
}

/// A page of another domain that is mapped. It must be zero before the first call, and stay where
/// it is until the page is unmapped.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct XenMapping {
    opaque: [u64; XEN_MAPPING_SIZE / 8],
}

/// What a `struct xen_grant_table` holds: `table` refers to `refs`.
pub(crate) struct Table {
    refs: GrantRefAllocator<XEN_GRANT_TABLE_PAGES>,
    table: MaybeUninit<GrantTable<'static, Installed, PortSpace>>,
}

stores!(XenGrantTable, Table, b"xen_gtab");
stores!(XenGrant, Grant<'static>, b"xen_grnt");
stores!(XenMapping, Mapping<'static, Installed>, b"xen_gmap");

/// Maps the first `count` pages of the domain's grant table at `pages`.
///
/// Errors: `-EINVAL` if a pointer is null, `pages` is not at the start of a page, `count` is 0 or
/// above `XEN_GRANT_TABLE_PAGES`, or the table has version 2; `-EBUSY` if it is mapped already;
/// Xen's error.
///
/// # Safety
///
/// `table` must be static, and one for the domain. `pages` must be `XEN_GRANT_TABLE_PAGES` pages of
/// the program's memory that nothing else uses, and stay mapped. The domain must not be suspended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_table_map(
    table: *mut XenGrantTable,
    pages: *mut c_void,
    count: u32,
) -> c_int {
    let map = |place: *mut Table| {
        let pages = page(pages)?;
        if count == 0 || count as usize > XEN_GRANT_TABLE_PAGES {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the place is that of the value, which is created here.
        let refs = unsafe { &raw mut (*place).refs };
        // SAFETY: as above.
        unsafe { refs.write(GrantRefAllocator::new()) };
        // SAFETY: the value is never moved or changed.
        let refs: &'static GrantRefAllocator<XEN_GRANT_TABLE_PAGES> = unsafe { &*refs };
        // SAFETY: the caller's obligations are the same.
        let mapped = unsafe { GrantTable::map(installed(), PortSpace, pages, refs, count) };
        let mapped = MaybeUninit::new(mapped.map_err(errno)?);
        // SAFETY: the place is that of the value.
        let table = unsafe { &raw mut (*place).table };
        // SAFETY: as above.
        unsafe { table.write(mapped) };
        Ok(())
    };
    // SAFETY: the caller's obligation, and both fields are written.
    done(unsafe { create_at(table, map) })
}

/// Grants `page` to `domain`, which can use it from now until the grant is revoked: for reading, or
/// for reading and writing. Stores the reference in `*reference`; pass it to that domain. Upstream:
/// `grant_entry_v1`.
///
/// The domain can change the page at any moment. Copy what it wrote, check the copy, then use it.
///
/// Errors: `-EINVAL` if a pointer is null, `page` is not at the start of a page, or the table is
/// not mapped; `-EBUSY` if `grant` holds a grant; `-ENOSPC` if no reference is free.
///
/// # Safety
///
/// `table` must be one of these structs. `page` must be a page of the program's memory that stays
/// mapped, and holds nothing that the domain must not see. `*reference` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_lend(
    table: *mut XenGrantTable,
    grant: *mut XenGrant,
    page: *mut c_void,
    domain: u16,
    read_only: bool,
    reference: *mut u32,
) -> c_int {
    let lend = || {
        // SAFETY: the caller's obligation.
        let table = unsafe { get(table) }?;
        // SAFETY: it was written when the table was mapped.
        let table = unsafe { table.table.assume_init_ref() };
        let (page, reference) = (self::page(page)?, some(reference)?);
        // SAFETY: the caller's obligation: C code uses the page as memory that others change.
        let page = unsafe { Page::from_raw(&PortSpace, page) }.map_err(errno)?;
        let lent = table.lend(page, Domid(domain), access(read_only));
        let lent = lent.map_err(|error| errno(error.error()))?;
        // SAFETY: the caller's obligation.
        unsafe { reference.write(lent.reference().0) };
        Ok(lent)
    };
    // SAFETY: the caller's obligation.
    done(unsafe { create(grant, lend) })
}

const fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

/// Revokes a grant. The page is then the program's alone.
///
/// Errors: `-EBUSY` if the other domain still uses the page: the grant stays, try again;
/// `-EINVAL` if `grant` is null or holds no grant.
///
/// # Safety
///
/// `grant` must be one of these structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_revoke(grant: *mut XenGrant) -> c_int {
    let revoke = |grant: Grant<'static>| match grant.revoke() {
        Ok((_slot, page)) => {
            let _ = page.into_raw();
            Ok(())
        }
        Err(in_use) => Err((in_use.into_grant(), Errno::EBUSY)),
    };
    // SAFETY: the caller's obligation.
    done(unsafe { take(grant, revoke) })
}

/// Maps the page that `domain` granted by `reference` at `target`. Upstream:
/// `GNTTABOP_map_grant_ref`.
///
/// The domain can change the page at any moment. Copy what it wrote, check the copy, then use it.
///
/// Errors: `-EINVAL` if a pointer is null, `target` is not at the start of a page, or there is no
/// such reference; `-EBUSY` if `mapping` holds a mapping; `-ESRCH` if there is no such domain;
/// `-EACCES` if the reference does not grant this access; `-EPERM` if a security policy forbids it;
/// `-EAGAIN` if it can succeed later; `-ENOSPC`.
///
/// # Safety
///
/// `target` must be a page that nothing else uses, and stay mapped. Choose one whose frame has no
/// RAM: if it has, the domain loses that RAM, and unmapping does not restore it. This domain must
/// not map a grant of its own. The domain must not be suspended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_map(
    mapping: *mut XenMapping,
    target: *mut c_void,
    domain: u16,
    reference: u32,
    read_only: bool,
) -> c_int {
    let map = || {
        let target = page(target)?;
        // SAFETY: the caller's obligations are the same.
        let target = unsafe { MapTarget::new(&PortSpace, target) }.map_err(errno)?;
        let of = foreign(domain, reference);
        let request = MapRequest { of, access: access(read_only), target };
        // SAFETY: the caller's obligations are the same.
        let mapped = unsafe { Xen::new(installed()).grants().map(request) };
        mapped.map_err(|error| errno(error.error))
    };
    // SAFETY: the caller's obligation.
    done(unsafe { create(mapping, map) })
}

const fn foreign(domain: u16, reference: u32) -> ForeignGrant {
    ForeignGrant { domain: Domid(domain), reference: GrantRef(reference) }
}

/// Unmaps a page. The target can be used for another mapping.
///
/// Errors: `-EINVAL` if `mapping` is null or holds no mapping; Xen's error, and the page stays
/// mapped.
///
/// # Safety
///
/// `mapping` must be one of these structs. The program must not use the page again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_unmap(mapping: *mut XenMapping) -> c_int {
    let unmap = |mapping: Mapping<'static, Installed>| match mapping.unmap() {
        Ok(_target) => Ok(()),
        Err(error) => Err((error.mapping, errno(error.error))),
    };
    // SAFETY: the caller's obligation.
    done(unsafe { take(mapping, unmap) })
}

/// Copies `length` bytes from the page that `domain` granted by `reference`, starting at `offset`,
/// to `into`, without mapping the page. Upstream: `GNTTABOP_copy`.
///
/// Errors: `-EINVAL` if `into` is null or the bytes are not within a page; otherwise as for
/// `xen_grant_map`. After an error, some bytes may have been copied.
///
/// # Safety
///
/// `into` must have room for the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_copy_from(
    domain: u16,
    reference: u32,
    offset: u16,
    into: *mut c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { bytes_mut(into, length) }.and_then(|into| {
        let grants = Xen::new(installed()).grants();
        let of = foreign(domain, reference);
        grants.copy_from_grant(&PortSpace, of, offset, into).map_err(errno)
    }))
}

/// Copies `length` bytes at `from` to the page that `domain` granted by `reference`, starting at
/// `offset`, without mapping the page. Upstream: `GNTTABOP_copy`.
///
/// Errors: as for `xen_grant_copy_from`.
///
/// # Safety
///
/// `length` bytes must be at `from`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xen_grant_copy_to(
    domain: u16,
    reference: u32,
    offset: u16,
    from: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's obligation.
    done(unsafe { bytes(from, length) }.and_then(|from| {
        let grants = Xen::new(installed()).grants();
        grants.copy_to_grant(&PortSpace, from, foreign(domain, reference), offset).map_err(errno)
    }))
}
