//! Lending pages and taking them back.

use xen_hal::grant::{Access, Grant, GrantInUseError, GrantRef, GrantTable, LendError, Page};
use xen_pac::base::Domid;
use xen_pac::grant_table::raw;

/// A table that makes no hypercall.
pub type Table<'t> = GrantTable<'t, (), ()>;

/// A page that is taken back, or what became of it.
pub type TakenBack<'t> = Result<(Grant<'t>, Page), GrantInUseError<'t>>;

/// The page of a grant is taken back, and its slot lends another.
///
/// # Errors
///
/// When the page is in use.
#[unsafe(export_name = "ours_relend")]
#[inline(never)]
pub fn relend(grant: Grant<'_>, page: Page, peer: Domid, access: Access) -> TakenBack<'_> {
    let (slot, back) = grant.revoke()?;
    Ok((slot.lend(page, peer, access), back))
}

/// Takes a reference and lends the page by it.
///
/// # Errors
///
/// When no reference is free.
#[unsafe(export_name = "ours_lend")]
#[inline(never)]
pub fn lend<'t>(
    table: &Table<'t>,
    page: Page,
    peer: Domid,
    access: Access,
) -> Result<Grant<'t>, LendError> {
    table.lend(page, peer, access)
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
    table: &Table<'_>,
    page: Page,
    peer: Domid,
    tell: extern "C" fn(GrantRef),
) -> Option<Page> {
    let grant = table.lend(page, peer, Access::ReadWrite).ok()?;
    tell(grant.reference());
    grant.revoke().ok().map(|(_, page)| page)
}

#[allow(missing_docs, reason = "the C twins of the functions above, and what they are called with")]
pub mod twin {
    use super::{GrantRef, raw};

    #[repr(C)]
    #[derive(Default)]
    pub struct Word {
        pub free: u32,
        pub deferred: u32,
    }

    #[repr(C)]
    pub struct Table {
        pub entries: *mut raw::GrantEntryV1,
        pub words: *mut Word,
        pub length: usize,
        pub start: usize,
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
        pub word: *mut Word,
        pub reference: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Grant {
        pub slot: GrantSlot,
        pub page: Page,
    }

    unsafe extern "C" {
        pub fn twin_relend(
            grant: *mut Grant,
            page: *const Page,
            peer: u16,
            access: u16,
            back: *mut Page,
        ) -> bool;
        pub fn twin_lend(
            table: *mut Table,
            page: *const Page,
            peer: u16,
            access: u16,
            grant: *mut Grant,
        ) -> bool;
        pub fn twin_revoke(grant: *const Grant, page: *mut Page) -> bool;
        pub fn twin_round(
            table: *mut Table,
            page: *mut Page,
            peer: u16,
            tell: extern "C" fn(GrantRef),
        ) -> bool;
    }
}
