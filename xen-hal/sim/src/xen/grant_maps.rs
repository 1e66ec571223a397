//! Mapping what others lend, and ending it (Xen's `map_grant_ref`, `unmap_common`).

use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, GrantStatus, grant_map_flags as flags,
};

use super::{Call, grant_entry};
use crate::boundary::MachineFrame;
use crate::state::{Active, Domain, Entry, Grants, Map};
use xen_hal::platform::{Frame, PAGE_SIZE};

pub(super) fn map(call: &mut Call<'_>, asked: &mut GnttabMapGrantRef) {
    asked.status = try_map(call, asked).err().unwrap_or(GrantStatus::OKAY);
}

fn try_map(call: &mut Call<'_>, asked: &mut GnttabMapGrantRef) -> Result<(), GrantStatus> {
    let is = |field: tock_registers::fields::Field<u32, flags::Register>| field.is_set(asked.flags);
    if !is(flags::HOST_MAP) && !is(flags::DEVICE_MAP) {
        return Err(GrantStatus::BAD_GNTREF);
    }
    if is(flags::DEVICE_MAP) || is(flags::APPLICATION_MAP) || is(flags::CONTAINS_PTE) {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let owner = owner(call, asked.dom)?;
    let me = call.me.domain;
    if call.state.apart(me, me, owner) {
        return Err(GrantStatus::PERMISSION_DENIED);
    }
    let handle = free_handle(call)?;
    let writable = !is(flags::READONLY);
    let frame = lent_frame(call, owner, asked.reference, writable, true)?.0;
    let address = asked.host_addr;
    place(call, owner, frame, address, writable)?;
    pin(call, owner, asked.reference, frame, writable);
    let table = call.state.domains[owner].grants.table;
    call.state.frames.hold(frame);
    let map = Map { owner: asked.dom, table, reference: asked.reference, frame, address, writable };
    let maps = &mut call.domain_mut().grants.maps;
    maps.resize((handle + 1).max(maps.len()), None);
    maps[handle] = Some(map);
    asked.handle = handle as u32;
    asked.dev_bus_addr = (frame.0 * PAGE_SIZE) as u64;
    Ok(())
}

/// The lowest handle that is free.
fn free_handle(call: &Call<'_>) -> Result<usize, GrantStatus> {
    let Grants { maps, max_maps, .. } = &call.domain().grants;
    let free = maps.iter().position(Option::is_none).unwrap_or(maps.len());
    // 4.16 gave this an answer of its own.
    let full = if call.state.profile.since(4, 16) {
        GrantStatus::NO_SPACE
    } else {
        GrantStatus::NO_DEVICE_SPACE
    };
    if free < *max_maps { Ok(free) } else { Err(full) }
}

/// A domain that lends: by its own number, never by `DOMID_SELF`.
pub(super) fn owner(call: &Call<'_>, domain: Domid) -> Result<usize, GrantStatus> {
    if domain == Domid::SELF {
        return Err(GrantStatus::BAD_DOMAIN);
    }
    call.target(domain).map_err(|_| GrantStatus::BAD_DOMAIN)
}

/// The frame that a grant lends to the caller, and the part of it.
pub(super) fn lent_frame(
    call: &Call<'_>,
    owner: usize,
    reference: u32,
    writable: bool,
    whole: bool,
) -> Result<(MachineFrame, (usize, usize)), GrantStatus> {
    let (me, lender) = (call.domain().id, &call.state.domains[owner]);
    if reference >= lender.grants.entries() {
        return Err(GrantStatus::BAD_GNTREF);
    }
    // While somebody uses a grant it means what it meant when that began.
    let active = lender.grants.active.get(&reference);
    if let Some(active) = active {
        if active.by != me {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        if !writable || active.writers > 0 {
            return Ok((active.frame, (0, PAGE_SIZE)));
        }
    }
    let lent = grant_entry::read(&lender.grants, &call.state.memory, reference)
        .ok_or(GrantStatus::BAD_GNTREF)?;
    if !lent.permits_access()
        || lent.to != me
        || writable && lent.is_read_only()
        || whole && !lent.is_whole_page()
    {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let frame = active
        .map(|active| active.frame)
        .or_else(|| lender.physmap.ram(lent.gfn))
        .ok_or(GrantStatus::BAD_PAGE)?;
    Ok((frame, lent.part))
}

/// Lets the page appear at the caller's address.
fn place(
    call: &mut Call<'_>,
    owner: usize,
    frame: MachineFrame,
    address: u64,
    writable: bool,
) -> Result<(), GrantStatus> {
    let me = call.me.domain;
    let at = call
        .domain()
        .physmap
        .frame(Frame::containing(address).0)
        .ok_or(GrantStatus::GENERAL_ERROR)?;
    let state = &mut *call.state;
    if matches!(state.domains[me].physmap.entries[at], Entry::Grant { .. })
        && !state.profile.is_arm()
    {
        // Xen has no way out of this. On Arm what was there is forgotten.
        call.crash("it mapped a grant over another");
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let physmap = &mut state.domains[me].physmap;
    if owner == me && !state.profile.is_arm() {
        // On x86 a page of one's own leaves the frame at which it is memory. As a grant it can be
        // at several.
        if let Some(from) = physmap.entries.iter().position(|entry| *entry == Entry::Ram(frame)) {
            physmap
                .put(from, Entry::Empty, &state.memory)
                .map_err(|_| GrantStatus::GENERAL_ERROR)?;
        }
    }
    physmap
        .put(at, Entry::Grant { frame, writable }, &state.memory)
        .map_err(|_| GrantStatus::GENERAL_ERROR)
}

fn pin(call: &mut Call<'_>, owner: usize, reference: u32, frame: MachineFrame, writable: bool) {
    let by = call.domain().id;
    let state = &mut *call.state;
    let grants = &mut state.domains[owner].grants;
    let active =
        grants.active.entry(reference).or_insert(Active { by, frame, readers: 0, writers: 0 });
    if writable {
        active.writers += 1;
    } else {
        active.readers += 1;
    }
    let writing = active.writers > 0;
    grant_entry::mark(grants, &state.memory, reference, true, writing);
}

pub(super) fn unmap(call: &mut Call<'_>, asked: &mut GnttabUnmapGrantRef) {
    asked.status = try_unmap(call, asked).err().unwrap_or(GrantStatus::OKAY);
}

fn try_unmap(call: &mut Call<'_>, asked: &GnttabUnmapGrantRef) -> Result<(), GrantStatus> {
    let map = call
        .domain()
        .grants
        .maps
        .get(asked.handle as usize)
        .cloned()
        .flatten()
        .ok_or(GrantStatus::BAD_HANDLE)?;
    // Without an address nothing is unmapped, and Xen finds nothing wrong with that.
    if asked.host_addr == 0 {
        return Ok(());
    }
    // What counts is what is there, not under which handle it was put there.
    let there = call.domain().physmap.get(Frame::containing(asked.host_addr).0);
    if !matches!(there, Entry::Grant { frame, .. } if frame == map.frame) {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let handle = asked.handle as usize;
    call.domain_mut().grants.maps[handle] = Some(Map { address: asked.host_addr, ..map });
    call.state.end_map(call.me.domain, handle);
    Ok(())
}

impl crate::state::State {
    /// Ends a mapping: its frame is empty, and the lender is told when nobody uses the page any
    /// more.
    pub(crate) fn end_map(&mut self, domain: usize, handle: usize) {
        let Some(map) = self.domains[domain].grants.maps[handle].take() else { return };
        let physmap = &mut self.domains[domain].physmap;
        let at = physmap.frame(Frame::containing(map.address).0);
        if let Some(at) = at.filter(|at| matches!(physmap.entries[*at], Entry::Grant { .. })) {
            // The computer may refuse to change the mapping; then the page stays where a program
            // can see it, as after a translation that was not flushed.
            let _ = physmap.put(at, Entry::Empty, &self.memory);
        }
        self.frames.release(map.frame);
        let lent_it =
            |owner: &&mut Domain| owner.id == map.owner && owner.grants.table == map.table;
        let Some(owner) = self.domains.iter_mut().find(lent_it) else { return };
        let Some(active) = owner.grants.active.get_mut(&map.reference) else { return };
        if map.writable {
            active.writers -= 1;
        } else {
            active.readers -= 1;
        }
        let (used, writing) = (active.readers + active.writers > 0, active.writers > 0);
        if !used {
            owner.grants.active.remove(&map.reference);
        }
        grant_entry::mark(&owner.grants, &self.memory, map.reference, used, writing);
    }
}
