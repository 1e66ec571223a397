//! Shows what Xen answers to each bad grant command: an errno for the whole, or a status for the
//! one grant that it was about.

use xen_hal::Xen;
use xen_hal::grant::{Access, CopyEnd, CopyRequest, ForeignGrant, GrantRef};
use xen_hal::hypercall::{Commands, Errno};
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, GrantHandle, GrantStatus, command, grant_map_flags,
};
use xen_pac::hypercall::HypercallNr;

use super::common::{self, NOWHERE};
use crate::{Failure, Machine, Transcript, line};

const NOBODY: Domid = Domid(77);
/// The machine's page that nothing is mapped over.
const PAGE: usize = 7;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
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
    let frame = machine
        .space()
        .frame_of(machine.page(PAGE))
        .ok_or(Failure::Broken("each page has a frame"))?;
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
    let grant = table
        .lend(page, machine.world().me(), Access::ReadWrite)
        .map_err(|_| Failure::Broken("an entry is free"))?;
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
    let own = CopyEnd::Own(
        machine
            .space()
            .frame_of(machine.page(PAGE))
            .ok_or(Failure::Broken("each page has a frame"))?,
    );
    let grant =
        |domain, reference| CopyEnd::Grant(ForeignGrant { domain, reference: GrantRef(reference) });
    for (what, from, to, length) in [
        ("within one's own page:", (own, 0), (own, 64), 16),
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
