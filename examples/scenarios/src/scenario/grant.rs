//! Shows a page that a domain lends, with itself as the peer, by its own number: mapped, it cannot be taken back; what one side writes the other reads; and once it is
//! taken back, nobody can use it.
//!
//! Of the page that was mapped, unmapped, taken back and lent again for reading, Xen 4.17 refuses to make a copy, with `bad_page`. Which of these steps makes the
//! difference has not been found out.

use core::sync::atomic::AtomicU32;

use xen_hal::Xen;
use xen_hal::grant::{Access, Foreign, GrantTable, Grants, MapRequest, Page, Window};
use xen_hal::memory::Extent;
use xen_hal::platform::AddressSpace;
use xen_pac::base::Domid;

use crate::{Failure, Machine, Transcript, line};

/// The calling domain, by its own number: the control domain.
const MYSELF: Domid = Domid(0);
/// The machine's pages: for the grant table, for the page that is lent, and where it is mapped.
const TABLE: usize = 3;
const LENT: usize = 4;
const WINDOW: usize = 5;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let grants = Xen::new(machine.xen()).grants();
    let size = grants.query_size(Domid::SELF).map_err(|_| Failure::Broken("a domain may ask for its own table's size"))?;
    line!(t, "version:", grants.version(Domid::SELF), "pages:", size.frames, "of at most", size.maximum);
    let mut storage = [const { AtomicU32::new(0) }; GrantTable::words(1)];
    // SAFETY: the page is the scenario's, and nothing else maps the table.
    let table = unsafe { GrantTable::map(machine.xen(), &machine.space(), machine.page(TABLE).cast(), 1, &mut storage, 1) };
    let table = table.map_err(|_| Failure::Broken("the grant table can be mapped"))?;
    line!(t, "entries that are free:", table.free());
    // SAFETY: the page is the scenario's, and used by the grant alone from now on.
    let page = unsafe { Page::from_raw(&machine.space(), machine.page(LENT).cast()) };
    lend(machine, t, grants, &table, page.map_err(|_| Failure::Broken("each page has a frame"))?)
}

fn lend<M: Machine>(machine: &M, t: &Transcript<'_>, grants: Grants<M::Xen>, table: &GrantTable<'_>, page: Page) -> Result<(), Failure> {
    let lost = |_| Failure::Broken("the page is there");
    let full = |_| Failure::Broken("an entry is free");
    let grant = table.lend(page, MYSELF, Access::ReadWrite).map_err(full)?;
    let of = Foreign { domain: MYSELF, reference: grant.reference() };
    line!(t, "lent by reference:", grant.reference(), "read:", grant.usage().reading, "written:", grant.usage().writing);
    grant.page().copy_from(0, b"from the lender").map_err(lost)?;
    let mut seen = [0; 15];
    line!(t, "fetched:", grants.fetch(&machine.space(), of, 0, &mut seen), "as it was written:", &seen == b"from the lender");
    line!(t, "stored:", grants.store(&machine.space(), b"from the peer", of, 100));
    let mut seen = [0; 13];
    grant.page().copy_to(100, &mut seen).map_err(lost)?;
    line!(t, "read by the lender:", &seen == b"from the peer");

    let frame = machine.space().frame_of(machine.page(WINDOW)).ok_or(Failure::Broken("each page has a frame"))?;
    // SAFETY: nothing is kept in the page.
    unsafe { Xen::new(machine.xen()).memory().decrease([frame], Extent::PAGE) }.map_err(|_| Failure::Broken("a page can be given back"))?;
    // SAFETY: the frame is empty, and used through the window alone.
    let window =
        unsafe { Window::new(&machine.space(), machine.page(WINDOW).cast()) }.map_err(|_| Failure::Broken("each page has a frame"))?;
    let mapping = grants.map(MapRequest { of, access: Access::ReadWrite, window });
    let mapping = mapping.map_err(|_| Failure::Broken("a page that is lent can be mapped"))?;
    line!(t, "mapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    let mut seen = [0; 15];
    mapping.copy_to(0, &mut seen).map_err(lost)?;
    line!(t, "seen through the mapping:", &seen == b"from the lender");
    let grant = match grant.revoke() {
        Ok(_) => return Err(Failure::Broken("a page that is mapped stays lent")),
        Err(still) => still.into_grant(),
    };
    line!(t, "taken back while it is mapped: no");
    let window = mapping.unmap().map_err(|_| Failure::Broken("a mapping can be ended"))?;
    line!(t, "unmapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    let (slot, page) = grant.revoke().map_err(|_| Failure::Broken("a page that nobody uses can be taken back"))?;
    line!(t, "taken back: yes");
    drop(slot);
    let failed = grants.map(MapRequest { of, access: Access::ReadOnly, window }).map(drop);
    let (window, error) = match failed {
        Ok(()) => return Err(Failure::Broken("a page that is not lent cannot be mapped")),
        Err(failed) => (failed.window, failed.error),
    };
    line!(t, "mapped after that:", Err::<(), _>(error));

    let grant = table.lend(page, MYSELF, Access::ReadOnly).map_err(full)?;
    let of = Foreign { domain: MYSELF, reference: grant.reference() };
    line!(t, "lent for reading by reference:", grant.reference());
    let mut seen = [0; 15];
    line!(t, "fetched:", grants.fetch(&machine.space(), of, 0, &mut seen), "as it was written:", &seen == b"from the lender");
    line!(t, "stored:", grants.store(&machine.space(), b"no", of, 0));
    let written = grants.map(MapRequest { of, access: Access::ReadWrite, window }).map(drop);
    line!(t, "mapped for writing:", written.map_err(|failed| failed.error));
    let taken_back = grant.revoke().is_ok();
    line!(t, "taken back:", taken_back, "entries that are free:", table.free());
    Ok(())
}
