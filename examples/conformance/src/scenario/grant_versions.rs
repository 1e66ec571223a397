//! Shows the two versions of a grant table: how one becomes the other, that nothing changes while a
//! page is mapped, and what a change wipes. Version 2 has status pages, which a guest with hardware
//! virtualisation can map; the command that asks for them is not for it.

use core::mem;

use xen_hal::Xen;
use xen_hal::grant::{Access, ForeignGrant, GrantError, GrantTable, Grants, MapRequest};
use xen_hal::hypercall::{Commands, Hypercall};
use xen_hal::memory::MapSpace;
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::access::Handle;
use xen_pac::base::Domid;
use xen_pac::grant_table::{GnttabGetStatusFrames, command};

use super::common::{self, TABLE};
use crate::{Failure, Machine, Transcript, line};

/// The machine's page at which a status page is mapped.
const STATUS: usize = 6;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let grants = Xen::new(machine.xen()).grants();
    line!(t, "at first:", grants.version(Domid::SELF));
    status(machine, t)?;
    for version in [1, 2, 2, 0, 3] {
        set(t, &grants, version);
    }
    let (version, by_number) = (grants.version(Domid::SELF), grants.version(machine.world().me()));
    line!(t, "then:", version, "by the domain's own number:", by_number);
    let (place, refs) = (machine.page(TABLE).cast(), common::refs::<M, 1>(machine));
    // SAFETY: the page is the scenario's, and nothing else maps the table.
    let mapped = unsafe { GrantTable::map(machine.xen(), machine.space(), place, refs, 1) };
    let refused = mapped.err();
    let for_version = refused == Some(GrantError::Version(2));
    line!(t, "mapped as a table of version 1: refused for its version:", for_version);
    status(machine, t)?;
    set(t, &grants, 1);
    // SAFETY: the page that was mapped there was the version's, so nothing is there any more.
    line!(t, "removed from where the status page was:", unsafe {
        Xen::new(machine.xen()).memory().remove_from_physmap(frame(machine)?)
    });
    pinned(machine, t, &grants)?;
    wiped(machine, t, &grants)
}

/// Changes the version of a table that nothing is made of.
fn set<H: Hypercall>(t: &Transcript<'_>, grants: &Grants<H>, version: u32) {
    // SAFETY: there is no table, or Xen changes nothing.
    match unsafe { grants.set_version(version) } {
        Ok(in_force) => line!(t, "set to", version, "and is", in_force),
        Err(GrantError::VersionRefused { errno, in_force }) => {
            line!(t, "set to", version, errno, "and is", in_force);
        }
        Err(error) => line!(t, "set to", version, Err::<(), _>(error)),
    }
}

fn frame<M: Machine>(machine: &M) -> Result<Frame, Failure> {
    machine.space().frame_of(machine.page(STATUS)).ok_or(Failure::Broken("each page has a frame"))
}

/// Asks for the status pages, and maps the first.
fn status<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let mut frames = [0_u64; 1];
    let mut argument =
        GnttabGetStatusFrames::new(1, Domid::SELF, Handle::from_ptr(frames.as_mut_ptr()));
    // SAFETY: Xen writes no more frames than there is room for.
    let asked = unsafe {
        machine.xen().call_unchecked(command::GetStatusFrames, core::slice::from_mut(&mut argument))
    };
    // SAFETY: the page is the scenario's, and nothing is kept in it.
    let mapped = unsafe {
        Xen::new(machine.xen()).memory().add_to_physmap(MapSpace::GrantStatus, 0, frame(machine)?)
    };
    line!(t, "status pages: asked for", asked, "mapped", mapped.map_err(common::errno));
    Ok(())
}

/// Lends a page, by an entry that nobody clears, and changes the version while it is mapped.
fn pinned<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    grants: &Grants<M::Xen>,
) -> Result<(), Failure> {
    let table = common::table(machine)?;
    let grant = table
        .lend(common::page(machine)?, machine.world().me(), Access::ReadWrite)
        .map_err(|_| Failure::Broken("an entry is free"))?;
    let of = ForeignGrant { domain: machine.world().me(), reference: grant.reference() };
    line!(t, "lent by reference:", of.reference);
    let mapping = common::map::<M>(
        grants,
        MapRequest { of, access: Access::ReadOnly, target: common::target(machine)? },
    );
    let mapping = mapping.map_err(|_| Failure::Broken("a page that is lent can be mapped"))?;
    line!(t, "while it is mapped:");
    set(t, grants, 2);
    set(t, grants, 1);
    line!(t, "unmapped:", mapping.unmap().is_ok());
    // The page stays lent, as by a kernel that ran before.
    mem::forget(grant);
    Ok(())
}

/// Changes the version and back, with an entry that lends a page.
fn wiped<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    grants: &Grants<M::Xen>,
) -> Result<(), Failure> {
    first_free(machine, t)?;
    set(t, grants, 2);
    set(t, grants, 1);
    first_free(machine, t)
}

/// Which entry the table has free, of which nothing is known but what is in it.
fn first_free<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (place, refs) = (machine.page(TABLE).cast(), common::refs::<M, 1>(machine));
    // SAFETY: the table was mapped there, and there is no other value of it.
    let table = unsafe { GrantTable::mapped(machine.xen(), machine.space(), place, refs, 1) };
    let slot = table.and_then(|table| table.slot());
    let slot = slot.map_err(|_| Failure::Broken("an entry is free"))?;
    line!(t, "the first entry that is free:", slot.reference());
    Ok(())
}
