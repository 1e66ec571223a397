//! The grant table's size and version: hypercall `grant_table_op` (Xen's `common/grant_table.c`).

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::{Domid, XenPfn};
use xen_pac::command::Command;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GnttabGetStatusFrames, GnttabGetVersion, GnttabQuerySize,
    GnttabSetVersion, GnttabSetupTable, GnttabSwapGrantRef, GrantStatus, command,
};

use super::{Answer, Call, grant_copy, grant_map};
use crate::state::{MAX_FRAMES, reserved_entries, swap_entries, write_reserved_entries};

/// Commands that only Arm offers, and the bits of a command.
const TRANSFER: u32 = 4;
const UNMAP_AND_REPLACE: u32 = 7;
const CACHE_FLUSH: u32 = 12;
const COMMAND_BITS: u32 = 0xfff;

pub(super) fn grant_table_op(call: &mut Call<'_>, op: usize, at: usize, count: usize) -> Answer {
    let op = op as u32;
    if !call.state.profile.is_arm() && !offered_on_x86(op) {
        return Err(Errno::ENOSYS);
    }
    // Xen takes 32 bits of the count.
    let count = i32::try_from(count as u32).map_err(|_| Errno::EINVAL)? as usize;
    // The bits above are those with which Xen continues a flush of caches.
    if op & !COMMAND_BITS != 0 && op & COMMAND_BITS != CACHE_FLUSH {
        return Err(Errno::EINVAL);
    }
    match op {
        command::MapGrantRef::NUMBER => each(call, at, count, grant_map::map),
        command::UnmapGrantRef::NUMBER => each(call, at, count, grant_map::unmap),
        command::Copy::NUMBER => each(call, at, count, grant_copy::copy),
        command::QuerySize::NUMBER => single(call, at, count, query_size),
        // The compatibility layer translates an empty list without a call.
        command::SetupTable::NUMBER if call.state.profile.translates() && count == 0 => Ok(0),
        command::SetupTable::NUMBER => single(call, at, count, setup_table),
        command::SetVersion::NUMBER => set_version(call, at),
        command::GetVersion::NUMBER => call.update(at, get_version),
        command::SwapGrantRef::NUMBER => each(call, at, count, swap),
        command::GetStatusFrames::NUMBER => single(call, at, count, status_frames),
        // A domain may transfer no page, unless Xen was started with an option.
        TRANSFER => Err(Errno::EOPNOTSUPP),
        // Zeros in their arguments change nothing.
        UNMAP_AND_REPLACE => call.reach(at, count * 24, true).map(|()| 0),
        CACHE_FLUSH => call.reach(at, count * 16, false).map(|()| 0),
        _ => Err(Errno::ENOSYS),
    }
}

/// Returns the commands that HVM guests have (`hvm_grant_table_op`).
const fn offered_on_x86(op: u32) -> bool {
    matches!(
        op,
        command::MapGrantRef::NUMBER
            | command::UnmapGrantRef::NUMBER
            | command::SetupTable::NUMBER
            | command::Copy::NUMBER
            | command::QuerySize::NUMBER
            | command::SetVersion::NUMBER
            | command::GetVersion::NUMBER
            | command::SwapGrantRef::NUMBER
    )
}

/// Carries out a command for each element of an array, and writes its status there. Stops at an
/// element that is not mapped.
fn each<T: xen_pac::access::Data>(
    call: &mut Call<'_>,
    at: usize,
    count: usize,
    one: fn(&mut Call<'_>, &mut T),
) -> Answer {
    for index in 0..count {
        call.update(at.wrapping_add(index * size_of::<T>()), |call, element| {
            one(call, element);
            Ok(0)
        })?;
    }
    Ok(0)
}

/// Carries out a command that accepts a single element.
fn single<T: xen_pac::access::Data>(
    call: &mut Call<'_>,
    at: usize,
    count: usize,
    one: fn(&mut Call<'_>, &mut T) -> Answer,
) -> Answer {
    if count != 1 {
        return Err(Errno::EINVAL);
    }
    call.update(at, one)
}

/// Returns the domain whose table the command names, or the status that refuses it.
fn table_of(call: &Call<'_>, domain: Domid) -> Result<usize, GrantStatus> {
    let target = call.target(domain).map_err(|_| GrantStatus::BAD_DOMAIN)?;
    call.state.may_act_on(call.me.domain, target).map_err(|_| GrantStatus::PERMISSION_DENIED)?;
    Ok(target)
}

/// `gnttab_get_status_frames`, which only Arm offers. Tables of version 1 have no status pages, and
/// Arm has no other version.
fn status_frames(call: &mut Call<'_>, asked: &mut GnttabGetStatusFrames) -> Answer {
    asked.status = match table_of(call, asked.dom) {
        Ok(_) if asked.nr_frames == 0 => GrantStatus::OKAY,
        Ok(_) => GrantStatus::GENERAL_ERROR,
        Err(status) => status,
    };
    Ok(0)
}

fn query_size(call: &mut Call<'_>, asked: &mut GnttabQuerySize) -> Answer {
    asked.status = match table_of(call, asked.dom) {
        Ok(target) => {
            asked.nr_frames = call.state.domains[target].grants.frames.len() as u32;
            asked.max_nr_frames = MAX_FRAMES as u32;
            GrantStatus::OKAY
        }
        Err(status) => status,
    };
    Ok(0)
}

/// On x86 the list gets machine frames, at which the guest has no mapping yet.
fn setup_table(call: &mut Call<'_>, asked: &mut GnttabSetupTable) -> Answer {
    let target = match table_of(call, asked.dom) {
        Ok(target) => target,
        Err(status) => {
            asked.status = status;
            return Ok(0);
        }
    };
    let state = &mut *call.state;
    // Too many pages, or no memory for them.
    if state.domains[target]
        .grants
        .grow(asked.nr_frames as usize, &mut state.frames, &state.memory)
        .is_err()
    {
        asked.status = GrantStatus::GENERAL_ERROR;
        return Ok(0);
    }
    let frames: Vec<_> = call.state.domains[target]
        .grants
        .frames
        .iter()
        .take(asked.nr_frames as usize)
        .copied()
        .collect();
    asked.status = GrantStatus::OKAY;
    for (index, frame) in frames.iter().enumerate() {
        let at = asked.frame_list.as_ptr().wrapping_add(index).addr();
        let written = call.write(at, frame.0 as XenPfn);
        // The compatibility layer has copied the status before it copies the list.
        if written.is_err() && !call.state.profile.translates() {
            asked.status = GrantStatus::BAD_VIRT_ADDR;
        }
    }
    Ok(0)
}

/// Sets the version, and writes the version in force back even if that fails.
fn set_version(call: &mut Call<'_>, at: usize) -> Answer {
    let asked: GnttabSetVersion = call.read(at)?;
    let answer = change_version(call, asked.version);
    let in_force = call.domain().grants.version;
    call.write(at, GnttabSetVersion::new(in_force))?;
    answer
}

fn change_version(call: &mut Call<'_>, version: u32) -> Answer {
    if version != 1 && version != 2 {
        return Err(Errno::EINVAL);
    }
    if version == 2 && call.state.profile.is_arm() {
        return Err(Errno::ENOSYS);
    }
    let state = &mut *call.state;
    let grants = &mut state.domains[call.me.domain].grants;
    if grants.version == version {
        return Ok(0);
    }
    if grants.active.keys().any(|reference| *reference >= GNTTAB_NR_RESERVED_ENTRIES) {
        return Err(Errno::EBUSY);
    }
    let kept = reserved_entries(grants, &state.memory)?;
    grants.version = version;
    if version == 2 {
        grants.grow_status(&mut state.frames, &state.memory).map_err(|_| Errno::ENOMEM)?;
    } else {
        drop_status(call)?;
    }
    let state = &mut *call.state;
    let grants = &state.domains[call.me.domain].grants;
    for frame in &grants.frames {
        state.memory.write(*frame, 0, &[0; PAGE_SIZE]);
    }
    write_reserved_entries(grants, &state.memory, &kept);
    Ok(0)
}

/// Removes the status pages (`gnttab_unpopulate_status_frames`).
fn drop_status(call: &mut Call<'_>) -> Result<(), Errno> {
    let domain = call.me.domain;
    while let Some(frame) = call.domain().grants.status_frames.last().copied() {
        if let Some(at) = call.domain().physmap.recorded(frame) {
            call.state.remove_page(domain, at, frame)?;
        }
        // A grant of a reserved entry can still be mapped.
        if call.state.frames.is_used(frame) {
            call.state.crash(call.me, "a page of the grants' status is mapped");
            return Err(Errno::EBUSY);
        }
        call.domain_mut().grants.status_frames.pop();
        call.state.frames.free(frame);
    }
    Ok(())
}

/// Exchanges two entries of the caller's table, if neither is in use (`swap_grant_ref`).
fn swap(call: &mut Call<'_>, asked: &mut GnttabSwapGrantRef) {
    let (a, b) = (asked.ref_a, asked.ref_b);
    let grants = &call.domain().grants;
    asked.status = if a >= grants.entries() || b >= grants.entries() {
        GrantStatus::BAD_GNTREF
    } else if a != b && [a, b].iter().any(|of| grants.active.contains_key(of)) {
        GrantStatus::EAGAIN
    } else {
        swap_entries(grants, &call.state.memory, a, b);
        GrantStatus::OKAY
    };
}

fn get_version(call: &mut Call<'_>, asked: &mut GnttabGetVersion) -> Answer {
    let target = call.own_target(asked.dom)?;
    asked.version = call.state.domains[target].grants.version;
    Ok(0)
}
