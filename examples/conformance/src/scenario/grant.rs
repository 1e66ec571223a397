//! Shows a page that a domain grants to itself, by its own number. A mapped page cannot be revoked.
//! Each side reads the other's writes. A revoked page cannot be used.
//!
//! On x86, a page of the domain is at one frame only, so mapping the domain's own grant moves the
//! page to the target. The granting frame is then empty, also after the mapping ends. If the frame
//! is granted again, it cannot be copied until it has memory.

use xen_hal::Xen;
use xen_hal::grant::{Access, ForeignGrant, Grant, Grants, MapRequest, MapTarget, Page};
use xen_hal::memory::Extent;
use xen_pac::base::Domid;

use super::common;
use crate::failure::Required;
use crate::{Failure, Machine, Transcript, line};

const FULL: Failure = Failure::Broken("an entry is free");
const LOST: Failure = Failure::Broken("the page is there");

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let grants = Xen::new(machine.xen()).grants();
    let size =
        grants.query_size(Domid::SELF).required("a domain may ask for its own table's size")?;
    let (version, pages, most) = (grants.version(Domid::SELF), size.frames, size.maximum);
    line!(t, "version:", version, "pages:", pages, "of at most", most);
    let table = common::table(machine)?;
    line!(t, "entries that are free:", table.available());
    let page = common::page(machine)?;
    let grant = table.lend(page, machine.world().me(), Access::ReadWrite).map_err(|_| FULL)?;
    copied(machine, t, grants, &grant)?;
    let (page, target) = mapped(machine, t, grants, grant)?;
    for_reading(machine, t, grants, &table, page, target)
}

/// How a page that is lent is named to the peer.
fn foreign<M: Machine>(machine: &M, grant: &Grant<'_>) -> ForeignGrant {
    ForeignGrant { domain: machine.world().me(), reference: grant.reference() }
}

/// Has Xen copy from and to the page.
fn copied<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    grants: Grants<M::Xen>,
    grant: &Grant<'_>,
) -> Result<(), Failure> {
    let (lent, read, written) = (grant.reference(), grant.usage().reading, grant.usage().writing);
    line!(t, "lent by reference:", lent, "read:", read, "written:", written);
    grant.bytes().copy_from(0, b"from the lender").map_err(|_| LOST)?;
    let mut seen = [0; 15];
    let fetched = grants.copy_from_grant(&machine.space(), foreign(machine, grant), 0, &mut seen);
    line!(t, "fetched:", fetched, "as it was written:", &seen == b"from the lender");
    let stored =
        grants.copy_to_grant(&machine.space(), b"from the peer", foreign(machine, grant), 100);
    line!(t, "stored:", stored);
    let mut seen = [0; 13];
    grant.bytes().copy_to(100, &mut seen).map_err(|_| LOST)?;
    line!(t, "read by the lender:", &seen == b"from the peer");
    Ok(())
}

/// Maps the page, tries to take it back, unmaps it, takes it back, and tries to map it.
fn mapped<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    grants: Grants<M::Xen>,
    grant: Grant<'_>,
) -> Result<(Page, MapTarget<'static>), Failure> {
    let memory = Xen::new(machine.xen()).memory();
    let target = common::target(machine)?;
    let has = memory.current_reservation()?;
    let of = foreign(machine, &grant);
    let mapping = common::map::<M>(&grants, MapRequest { of, access: Access::ReadWrite, target });
    let mapping = mapping.required("a page that is lent can be mapped")?;
    line!(t, "mapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    let mut seen = [0; 15];
    mapping.copy_to(0, &mut seen).map_err(|_| LOST)?;
    line!(t, "seen through the mapping:", &seen == b"from the lender");
    // SAFETY: the page is at the target alone, which is what is shown: there is nothing to be
    // removed.
    line!(t, "removed from the lender's frame:", unsafe {
        memory.remove_from_physmap(grant.frame())
    });
    let grant = match grant.revoke() {
        Ok(_) => return Err(Failure::Broken("a page that is mapped stays lent")),
        Err(still) => still.into_grant(),
    };
    line!(t, "taken back while it is mapped: no");
    let target = mapping.unmap().required("a mapping can be ended")?;
    line!(t, "unmapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    // SAFETY: the mapping has ended, and nothing is at the target either.
    line!(t, "removed from where it was mapped:", unsafe {
        memory.remove_from_physmap(target.frame())
    });
    line!(t, "pages that the domain has fewer:", (has - memory.current_reservation()?) as u64);
    let (_slot, page) = grant.revoke().required("a page that nobody uses can be taken back")?;
    line!(t, "taken back: yes");
    match common::map::<M>(&grants, MapRequest { of, access: Access::ReadOnly, target }) {
        Ok(_) => Err(Failure::Broken("a page that is not lent cannot be mapped")),
        Err(failed) => {
            line!(t, "mapped after that:", Err::<(), _>(failed.error));
            Ok((page, failed.target))
        }
    }
}

/// Lends the page for reading only: from an empty frame, and then with memory at it.
fn for_reading<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    grants: Grants<M::Xen>,
    table: &common::Table<M>,
    page: Page,
    target: MapTarget<'static>,
) -> Result<(), Failure> {
    let frame = page.frame();
    let grant = table.lend(page, machine.world().me(), Access::ReadOnly).map_err(|_| FULL)?;
    line!(t, "lent for reading by reference:", grant.reference());
    let mut seen = [0; 15];
    let fetched = grants.copy_from_grant(&machine.space(), foreign(machine, &grant), 0, &mut seen);
    line!(t, "fetched:", fetched);
    // SAFETY: the frame is empty, and what is populated there is the page's.
    let populated =
        unsafe { Xen::new(machine.xen()).memory().populate_physmap([frame], Extent::PAGE) };
    line!(t, "populated:", populated.is_ok());
    grant.bytes().copy_from(0, b"once more there").map_err(|_| LOST)?;
    let fetched = grants.copy_from_grant(&machine.space(), foreign(machine, &grant), 0, &mut seen);
    line!(t, "fetched:", fetched, "as it was written:", &seen == b"once more there");
    line!(t, "stored:", grants.copy_to_grant(&machine.space(), b"no", foreign(machine, &grant), 0));
    let written = common::map::<M>(
        &grants,
        MapRequest { of: foreign(machine, &grant), access: Access::ReadWrite, target },
    );
    let Err(refused) = written else {
        return Err(Failure::Broken(
            "a page that is lent for reading cannot be mapped for writing",
        ));
    };
    line!(t, "mapped for writing:", Err::<(), _>(refused.error));
    let mapping = common::map::<M>(
        &grants,
        MapRequest {
            of: foreign(machine, &grant),
            access: Access::ReadOnly,
            target: refused.target,
        },
    );
    let mapping = mapping.required("a page that is lent for reading can be mapped for reading")?;
    line!(t, "mapped for reading: read:", grant.usage().reading, "written:", grant.usage().writing);
    mapping.copy_to(0, &mut seen).map_err(|_| LOST)?;
    let (same, writable) = (&seen == b"once more there", mapping.bytes().is_some());
    line!(t, "seen through the mapping:", same, "to be written:", writable);
    let ended = mapping.unmap().is_ok();
    line!(t, "unmapped:", ended, "read:", grant.usage().reading);
    let taken_back = grant.revoke().is_ok();
    line!(t, "taken back:", taken_back, "entries that are free:", table.available());
    Ok(())
}
