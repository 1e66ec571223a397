//! Lending pages and taking them back.

use xen_hal::grant::{Access, Grant, GrantSlot, GrantTable, Page, StillInUse};
use xen_pac::base::Domid;
use xen_pac::grant_table::raw;

/// A free slot and a page become a grant.
#[unsafe(export_name = "ours_publish")]
#[inline(never)]
pub fn publish<'t>(slot: GrantSlot<'t>, page: Page, peer: Domid, access: Access) -> Grant<'t> {
    slot.lend(page, peer, access)
}

/// A grant becomes its slot and its page again, or stays what it is.
///
/// # Errors
///
/// When the page is in use.
#[unsafe(export_name = "ours_withdraw")]
#[inline(never)]
pub fn withdraw(grant: Grant<'_>) -> Result<(GrantSlot<'_>, Page), StillInUse<'_>> {
    grant.revoke()
}

/// Takes a reference and lends the page by it.
#[unsafe(export_name = "ours_lend")]
#[inline(never)]
pub fn lend<'t>(
    table: &'t GrantTable<'_>,
    page: Page,
    peer: Domid,
    access: Access,
) -> Option<Grant<'t>> {
    table.lend(page, peer, access).ok()
}

/// Takes the page back and makes the reference free.
#[unsafe(export_name = "ours_revoke")]
#[inline(never)]
pub fn revoke(grant: Grant<'_>) -> Option<Page> {
    grant.revoke().ok().map(|(_, page)| page)
}

/// A page lent to a peer for the time of one call, which is told the reference.
#[unsafe(export_name = "ours_round")]
#[inline(never)]
pub fn round(
    table: &GrantTable<'_>,
    page: Page,
    peer: Domid,
    tell: extern "C" fn(u32),
) -> Option<Page> {
    let grant = table.lend(page, peer, Access::ReadWrite).ok()?;
    tell(grant.reference());
    grant.revoke().ok().map(|(_, page)| page)
}

#[allow(missing_docs, reason = "the C twins of the functions above, and what they are called with")]
pub mod twin {
    use super::raw;

    #[repr(C)]
    pub struct GrantRefAllocator {
        pub words: *mut u32,
        pub length: usize,
        pub limit: u32,
        pub start: usize,
    }

    #[repr(C)]
    pub struct Table {
        pub entries: *mut raw::GrantEntryV1,
        pub frames: u32,
        pub references: GrantRefAllocator,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Page {
        pub memory: *mut u8,
        pub frame: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct GrantSlot {
        pub entry: *mut raw::GrantEntryV1,
        pub references: *mut GrantRefAllocator,
        pub reference: u32,
        pub published: u16,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Grant {
        pub slot: GrantSlot,
        pub page: Page,
    }

    unsafe extern "C" {
        pub fn twin_publish(
            slot: *const GrantSlot,
            page: *const Page,
            peer: u16,
            readonly: bool,
            grant: *mut Grant,
        );
        pub fn twin_withdraw(grant: *mut Grant, slot: *mut GrantSlot, page: *mut Page) -> bool;
        pub fn twin_lend(
            table: *mut Table,
            page: *const Page,
            peer: u16,
            readonly: bool,
            grant: *mut Grant,
        ) -> bool;
        pub fn twin_revoke(grant: *mut Grant, page: *mut Page) -> bool;
        pub fn twin_round(
            table: *mut Table,
            page: *mut Page,
            peer: u16,
            tell: extern "C" fn(u32),
        ) -> bool;
    }
}
