//! What the scenarios about grants begin with: the domain's own table, a page to lend, and a place
//! to map it at.

use core::sync::atomic::AtomicU32;

use xen_hal::Xen;
use xen_hal::grant::{GrantTable, MapTarget, Page};
use xen_hal::memory::Extent;
use xen_hal::platform::AddressSpace;
use xen_pac::base::Domid;

use crate::{Failure, Machine};

/// The calling domain, by its own number: the control domain.
pub(super) const MYSELF: Domid = Domid(0);

/// The machine's pages: for the grant table, for the page that is lent, and where it is mapped.
pub(super) const TABLE: usize = 3;
const LENT: usize = 4;
const WINDOW: usize = 5;

/// What a table of one page needs to keep account of its references.
pub(super) type Storage = [AtomicU32; GrantTable::words(1)];

pub(super) const fn storage() -> Storage {
    [const { AtomicU32::new(0) }; GrantTable::words(1)]
}

const NO_FRAME: Failure = Failure::Broken("each page has a frame");

/// Maps the domain's table, once in a scenario.
pub(super) fn table<'t, M: Machine>(
    machine: &M,
    storage: &'t mut Storage,
) -> Result<GrantTable<'t>, Failure> {
    // SAFETY: the page is the scenario's, and nothing else maps the table.
    let table = unsafe {
        GrantTable::map(machine.xen(), &machine.space(), machine.page(TABLE).cast(), 1, storage, 1)
    };
    table.map_err(|_| Failure::Broken("the grant table can be mapped"))
}

/// The page that is lent, once in a scenario.
pub(super) fn page<M: Machine>(machine: &M) -> Result<Page, Failure> {
    // SAFETY: the page is the scenario's, and used by the value alone from now on.
    unsafe { Page::from_raw(&machine.space(), machine.page(LENT).cast()) }.map_err(|_| NO_FRAME)
}

/// The place to map it at, which is emptied; once in a scenario.
pub(super) fn window<M: Machine>(machine: &M) -> Result<MapTarget, Failure> {
    let frame = machine.space().frame_of(machine.page(WINDOW)).ok_or(NO_FRAME)?;
    // SAFETY: nothing is kept in the page.
    unsafe { Xen::new(machine.xen()).memory().decrease_reservation([frame], Extent::PAGE) }
        .map_err(|_| Failure::Broken("a page can be given back"))?;
    // SAFETY: the frame is empty, and used through the window alone.
    unsafe { MapTarget::new(&machine.space(), machine.page(WINDOW).cast()) }.map_err(|_| NO_FRAME)
}
