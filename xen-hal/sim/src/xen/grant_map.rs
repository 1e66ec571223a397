//! Maps and unmaps grants (Xen's `map_grant_ref`, `unmap_common`).

use xen_hal::platform::{Frame, PAGE_SIZE};
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, GrantStatus, grant_map_flags as flags,
};

use super::Call;
use crate::raw_memory::MachineFrame;
use crate::state::{Entry, GrantedPage, Map, read_entry};

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
    if call.state.silo_forbids(me, me, owner) {
        return Err(GrantStatus::PERMISSION_DENIED);
    }
    let handle = take_handle(call)?;
    let frame = map_page(call, owner, asked).inspect_err(|_| {
        call.domain_mut().grants.return_handle(handle);
    })?;
    let map = Map {
        owner: asked.dom,
        reference: asked.reference,
        frame,
        address: asked.host_addr,
        writable: !is(flags::READONLY),
    };
    call.domain_mut().grants.maps[handle] = Some(map);
    asked.handle = handle as u32;
    asked.dev_bus_addr = (frame.0 * PAGE_SIZE) as u64;
    Ok(())
}

fn take_handle(call: &mut Call<'_>) -> Result<usize, GrantStatus> {
    // 4.16 introduced a status for this.
    let full = if call.state.profile.since(4, 16) {
        GrantStatus::NO_SPACE
    } else {
        GrantStatus::NO_DEVICE_SPACE
    };
    let vcpu = call.me.vcpu;
    call.domain_mut().grants.take_handle(vcpu).ok_or(full)
}

/// Maps the page of a grant at the caller's address, and counts the use.
fn map_page(
    call: &mut Call<'_>,
    owner: usize,
    asked: &GnttabMapGrantRef,
) -> Result<MachineFrame, GrantStatus> {
    let (reference, writable) = (asked.reference, !flags::READONLY.is_set(asked.flags));
    // If the mapping fails after Xen has marked the entry, Xen clears the marks.
    let unmark = |call: &Call<'_>| call.state.use_briefly(owner, reference, writable);
    let granted = granted_frame(call, owner, reference, writable, true);
    if granted == Err(GrantStatus::BAD_PAGE) {
        unmark(call);
    }
    let (frame, _) = granted?;
    // Xen accepts no other flags of a mapping (`create_grant_p2m_mapping`).
    let known = flags::HOST_MAP.val(1).value | flags::READONLY.val(1).value;
    if asked.flags & !known != 0 {
        unmark(call);
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let me = call.me;
    let gfn = Frame::containing(asked.host_addr).0;
    if call.state.add_page(me, me.domain, gfn, Entry::Grant { frame, writable }).is_err() {
        unmark(call);
        return Err(GrantStatus::GENERAL_ERROR);
    }
    let by = call.domain().id;
    call.state.pin_grant(owner, reference, by, frame, writable);
    call.state.frames.hold(frame);
    Ok(frame)
}

/// Returns the granting domain, by its number and never by `DOMID_SELF`.
pub(super) fn owner(call: &Call<'_>, domain: Domid) -> Result<usize, GrantStatus> {
    if domain == Domid::SELF {
        return Err(GrantStatus::BAD_DOMAIN);
    }
    call.target(domain).map_err(|_| GrantStatus::BAD_DOMAIN)
}

/// Returns the status of a copy through a transitive grant. It never succeeds, even if a grant
/// becomes transitive while it is in use, because the simulator has no grants of a third domain.
fn through(
    call: &Call<'_>,
    owner: usize,
    entry: &GrantedPage,
    reference: u32,
    writable: bool,
) -> GrantStatus {
    let me = call.domain().id;
    let active = call.state.domains[owner].grants.active.get(&reference);
    let is_refused = match active {
        Some(active) if active.by != me => true,
        // Who may use an entry that is already in use is not asked again (`_set_status_v2`).
        Some(active) => writable && active.writers == 0 && entry.is_read_only(),
        None => entry.to != me || writable && entry.is_read_only(),
    };
    let (domain, reference) = entry.through;
    match call.target(domain) {
        Ok(third) if !is_refused && third != owner && domain != Domid::SELF => {
            let is_there = reference < call.state.domains[third].grants.entries();
            if is_there { GrantStatus::GENERAL_ERROR } else { GrantStatus::BAD_GNTREF }
        }
        _ => GrantStatus::GENERAL_ERROR,
    }
}

/// Returns the frame that is granted to the caller, and the part of it.
pub(super) fn granted_frame(
    call: &Call<'_>,
    owner: usize,
    reference: u32,
    writable: bool,
    whole: bool,
) -> Result<(MachineFrame, (usize, usize)), GrantStatus> {
    let (me, granter) = (call.domain().id, &call.state.domains[owner]);
    if reference >= granter.grants.entries() {
        return Err(GrantStatus::BAD_GNTREF);
    }
    let entry = read_entry(&granter.grants, &call.state.memory, reference)
        .ok_or(GrantStatus::BAD_GNTREF)?;
    if !whole && granter.grants.version == 2 && entry.is_transitive() {
        return Err(through(call, owner, &entry, reference, writable));
    }
    // While a grant is in use, Xen uses the entry as it was at the first use.
    let active = granter.grants.active.get(&reference);
    if let Some(active) = active {
        if active.by != me {
            return Err(GrantStatus::GENERAL_ERROR);
        }
        if !writable || active.writers > 0 {
            return Ok((active.frame, (0, PAGE_SIZE)));
        }
    }
    let fits = entry.permits_access() && entry.to == me && (!whole || entry.is_whole_page());
    if writable && entry.is_read_only() || active.is_none() && !fits {
        return Err(GrantStatus::GENERAL_ERROR);
    }
    // A writable mapping uses the page that is already in use; a copy reads the entry again.
    let frame = match active {
        Some(active) if whole => active.frame,
        _ => call.state.page_of(owner, entry.gfn).ok_or(GrantStatus::BAD_PAGE)?,
    };
    if active.is_some_and(|active| active.frame != frame) {
        // Xen marks the entry before it compares the page with the one in use.
        call.state.use_briefly(owner, reference, writable);
        return Err(GrantStatus::GENERAL_ERROR);
    }
    Ok((frame, entry.part))
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
    // Without an address, Xen unmaps nothing and returns no error.
    if asked.host_addr == 0 {
        return Ok(());
    }
    // Xen compares the page at the frame. On Arm the frame can be empty, or the page's own.
    let gfn = Frame::containing(asked.host_addr).0;
    let (there, arm) = (call.domain().physmap.get(gfn), call.state.profile.is_arm());
    let at = call.domain().physmap.frame(gfn).filter(|_| match there {
        Entry::Grant { frame, .. } => frame == map.frame,
        _ => arm,
    });
    let at = at.ok_or(GrantStatus::GENERAL_ERROR)?;
    let removed = call.state.remove_page(call.me.domain, at, map.frame);
    removed.map_err(|_| GrantStatus::GENERAL_ERROR)?;
    let handle = asked.handle as usize;
    call.domain_mut().grants.maps[handle] = Some(Map { address: asked.host_addr, ..map });
    call.state.end_map(call.me.domain, handle);
    Ok(())
}
