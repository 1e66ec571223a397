//! Shows the grant table's versions, and what Xen refuses.

use core::mem;

use xen_hal::Xen;
use xen_hal::grant::{
    Access, CopyEnd, CopyRequest, ForeignGrant, GrantError, GrantRef, GrantTable, Grants,
    MapRequest,
};
use xen_hal::hypercall::{Commands, Errno, Hypercall};
use xen_hal::memory::MapSpace;
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::access::Handle;
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::grant_table::{
    GnttabGetStatusFrames, GnttabMapGrantRef, GnttabUnmapGrantRef, GrantHandle, GrantStatus,
    command, grant_map_flags,
};
use xen_pac::hypercall::HypercallNr;

use super::common::{self, NOWHERE, TABLE};
use crate::failure::Required;
use crate::{Failure, Machine, Transcript, line};

const NOBODY: Domid = Domid(77);
/// The machine's page that nothing is mapped over.
const PAGE: usize = 7;

/// What Xen answers to each bad grant command: an errno for the whole, or a status for the one
/// grant that it was about.
pub(super) fn refusals<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (xen, grants) = (machine.xen(), Xen::new(machine.xen()).grants());
    line!(t, "size of domain 77's table:", grants.query_size(NOBODY).map(|size| size.frames));
    line!(t, "version of domain 77's:", grants.version(NOBODY));
    // SAFETY: nothing has been made of the table.
    line!(t, "version 3:", unsafe { grants.set_version(3) });
    line!(t, "more pages than there may be:", grants.setup_table(&mut [0; 65]));
    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::GRANT_TABLE_OP));
    for (what, number, count) in [
        ("map with an argument that is nowhere:", command::MapGrantRef::NUMBER, 1),
        ("size with an argument that is nowhere:", command::QuerySize::NUMBER, 1),
        ("size of two:", command::QuerySize::NUMBER, 2),
        ("a negative count:", command::MapGrantRef::NUMBER, usize::from(u16::MAX) << 16),
    ] {
        // SAFETY: Xen finds no argument, and does nothing.
        line!(t, what, unsafe {
            common::raw(&xen, HypercallNr::GRANT_TABLE_OP, [number as usize, NOWHERE, count])
        });
    }
    maps(machine, t)?;
    copies(machine, t)?;
    unmaps(machine, t)
}

fn maps<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let frame = common::frame(machine, PAGE)?;
    let address = frame.address().unwrap_or_default();
    let host = grant_map_flags::HOST_MAP.mask << grant_map_flags::HOST_MAP.shift;
    let device = grant_map_flags::DEVICE_MAP.mask << grant_map_flags::DEVICE_MAP.shift;
    for (what, flags, reference, domain) in [
        ("for nothing:", 0, 8, machine.world().me()),
        ("for a device:", host | device, 8, machine.world().me()),
        ("of domain 77:", host, 8, NOBODY),
        ("of SELF:", host, 8, Domid::SELF),
        ("beyond the table:", host, 1 << 20, machine.world().me()),
        ("that is not lent:", host, 8, machine.world().me()),
    ] {
        let mut map = GnttabMapGrantRef::new(address, flags, reference, domain);
        map.status = GrantStatus(1);
        // SAFETY: none of these is there to be mapped.
        let answer = unsafe {
            machine.xen().call_unchecked(command::MapGrantRef, core::slice::from_mut(&mut map))
        };
        line!(t, "map a grant", what, answer.map(|()| map.status));
    }
    for (what, handle) in [("an unused handle:", 3), ("an absurd handle:", u32::MAX)] {
        line!(t, "unmap", what, unmap(machine, address, handle));
    }
    Ok(())
}

/// Ends a mapping of which nothing is used, if Xen knows it.
fn unmap<M: Machine>(machine: &M, address: u64, handle: GrantHandle) -> Result<GrantStatus, Errno> {
    let mut unmap = GnttabUnmapGrantRef::new(address, 0, handle);
    unmap.status = GrantStatus(1);
    // SAFETY: nothing that is mapped here is used.
    unsafe {
        machine.xen().call_unchecked(command::UnmapGrantRef, core::slice::from_mut(&mut unmap))
    }?;
    Ok(unmap.status)
}

/// Ends a mapping with an address that is not where it is, and with none, which is a success that
/// ends nothing; and then rightly, and once more.
fn unmaps<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let table = common::table(machine)?;
    let page = common::page(machine)?;
    let (lent, target) = (page.frame().address().unwrap_or_default(), common::target(machine)?);
    let grant =
        table.lend(page, machine.world().me(), Access::ReadWrite).required("an entry is free")?;
    let (address, host) =
        (target.frame().address().unwrap_or_default(), grant_map_flags::HOST_MAP.val(1).value);
    let other =
        machine.space().frame_of(machine.page(PAGE)).and_then(Frame::address).unwrap_or_default();
    let mut map = GnttabMapGrantRef::new(address, host, grant.reference().0, machine.world().me());
    // SAFETY: nothing is at the target.
    unsafe { machine.xen().call_unchecked(command::MapGrantRef, core::slice::from_mut(&mut map)) }?;
    line!(t, "mapped:", map.status);
    for (what, address) in [
        ("from where nothing is:", lent),
        ("from where there is other memory:", other),
        ("from address 0:", 0),
        ("from where it is:", address),
        ("again:", address),
    ] {
        let (answer, read) = (unmap(machine, address, map.handle), grant.usage().reading);
        line!(t, "unmap", what, answer, "still read:", read);
    }
    Ok(())
}

fn copies<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let grants = Xen::new(machine.xen()).grants();
    let own = CopyEnd::Own(common::frame(machine, PAGE)?);
    let grant =
        |domain, reference| CopyEnd::Grant(ForeignGrant { domain, reference: GrantRef(reference) });
    for (what, from, to, length) in [
        ("within the guest's own page:", (own, 0), (own, 64), 16),
        ("beyond the page:", (own, 4090), (own, 0), 16),
        ("of domain 77's grant:", (grant(NOBODY, 8), 0), (own, 0), 16),
        ("of a grant that is not lent:", (grant(machine.world().me(), 8), 0), (own, 0), 16),
        ("of a grant beyond the table:", (grant(machine.world().me(), 1 << 20), 0), (own, 0), 16),
        ("from a frame that cannot be:", (CopyEnd::Own(Frame(1 << 40)), 0), (own, 0), 16),
        ("of nothing:", (own, 0), (own, 0), 0),
    ] {
        let mut copy = [CopyRequest::new(from, to, length)];
        // SAFETY: the page is the scenario's, and nothing is kept in it.
        line!(t, "copy", what, unsafe { grants.copy(&mut copy) });
    }
    Ok(())
}

/// The machine's page at which a status page is mapped.
const STATUS: usize = 6;

/// The two versions of a grant table: how one becomes the other, that nothing changes while a page
/// is mapped, and what a change wipes. Version 2 has status pages, which a guest with hardware
/// virtualisation can map; the command that returns them is not for it.
pub(super) fn versions<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
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
        Xen::new(machine.xen()).memory().remove_from_physmap(common::frame(machine, STATUS)?)
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
        Xen::new(machine.xen()).memory().add_to_physmap(
            MapSpace::GrantStatus,
            0,
            common::frame(machine, STATUS)?,
        )
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
        .required("an entry is free")?;
    let of = ForeignGrant { domain: machine.world().me(), reference: grant.reference() };
    line!(t, "lent by reference:", of.reference);
    let mapping = common::map::<M>(
        grants,
        MapRequest { of, access: Access::ReadOnly, target: common::target(machine)? },
    );
    let mapping = mapping.required("a page that is lent can be mapped")?;
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
    let slot = slot.required("an entry is free")?;
    line!(t, "the first entry that is free:", slot.reference());
    Ok(())
}
