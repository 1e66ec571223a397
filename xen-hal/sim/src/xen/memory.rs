//! The domain's memory: hypercall `memory_op` (Xen's `common/memory.c`, `arch/x86/mm/p2m.c`).

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn, XenUlong};
use xen_pac::command::Command;
use xen_pac::memory::{
    MapSpace, XENMAPIDX_GRANT_TABLE_STATUS, XenAddToPhysmap, XenAddToPhysmapBatch, XenMemoryDomain,
    XenMemoryMap, XenMemoryReservation, XenRemoveFromPhysmap, command,
};

use super::{Answer, Call};
use crate::config::Role;
use crate::raw_memory::MachineFrame;
use crate::state::{Entry, FIRST};

/// The largest order of an extent, for a guest and for a control domain (`max_order`).
const MAX_ORDERS: (u32, u32) = (9, 18);
/// The bits of the command; those above it are the extent to start from, as Xen sets them to
/// continue a call.
const COMMAND_BITS: u32 = 6;
/// The maximum number of extents: Xen counts the processed ones in the upper bits of the command.
const MAX_EXTENTS: XenUlong = (u32::MAX >> 6) as XenUlong;
/// Not a frame.
const NO_FRAME: XenPfn = XenPfn::MAX;
/// The number of pages by which a guest may exceed its initial number: the mebibyte that the
/// toolstack adds, less what it uses itself.
const SLACK: usize = 241;
/// The same on Arm.
const SLACK_ON_ARM: usize = 254;
/// The E820 type of memory.
const E820_RAM: u32 = 1;

pub(super) fn memory_op(call: &mut Call<'_>, op: usize, at: usize) -> Answer {
    let (command, start) = (op as u32 & ((1 << COMMAND_BITS) - 1), op >> COMMAND_BITS);
    if call.state.profile.translates() {
        // `compat_memory_op` reads these arguments before it looks at anything else.
        match command {
            command::AddToPhysmap::NUMBER => drop(call.read::<XenAddToPhysmap>(at)?),
            command::AddToPhysmapBatch::NUMBER => drop(call.read::<XenAddToPhysmapBatch>(at)?),
            command::RemoveFromPhysmap::NUMBER => drop(call.read::<XenRemoveFromPhysmap>(at)?),
            command::AcquireResource::NUMBER => call.reach(at, ACQUIRE_RESOURCE, false)?,
            _ => {}
        }
    }
    let starts_at_0 = [
        command::MaximumRamPage::NUMBER,
        command::CurrentReservation::NUMBER,
        command::MaximumReservation::NUMBER,
        command::MaximumGpfn::NUMBER,
        command::RemoveFromPhysmap::NUMBER,
    ];
    if start != 0 && starts_at_0.contains(&command) {
        return Err(Errno::EINVAL);
    }
    match command {
        command::PopulatePhysmap::NUMBER => Ok(reservation(call, at, start, populate, true)),
        command::DecreaseReservation::NUMBER => Ok(reservation(call, at, start, decrease, true)),
        command::IncreaseReservation::NUMBER => Ok(reservation(call, at, start, increase, false)),
        command::MaximumRamPage::NUMBER => Ok(call.state.frames.count() - 1),
        command::CurrentReservation::NUMBER => {
            about(call, at, |call, target| call.state.frames.pages_of(target))
        }
        command::MaximumReservation::NUMBER => about(call, at, maximum),
        command::MaximumGpfn::NUMBER => {
            about(call, at, |call, target| call.state.domains[target].physmap.highest as usize)
        }
        command::AddToPhysmap::NUMBER => {
            let start = u16::try_from(start).map_err(|_| Errno::EDOM)?;
            let asked = call.read(at)?;
            add_to_physmap(call, &asked, start)
        }
        command::AddToPhysmapBatch::NUMBER => {
            let start = u16::try_from(start).map_err(|_| Errno::EDOM)?;
            let asked = call.read(at)?;
            batch(call, &asked, start)
        }
        command::RemoveFromPhysmap::NUMBER => {
            let asked = call.read(at)?;
            remove(call, asked)
        }
        command::MemoryMap::NUMBER if !call.state.profile.is_arm() && start == 0 => {
            call.update(at, memory_map)
        }
        _ => of_the_toolstack(call, command, at),
    }
}

/// A command of the toolstack.
const CLAIM_PAGES: u32 = 24;
/// Bytes of the argument of `acquire_resource`.
const ACQUIRE_RESOURCE: usize = 32;

/// Commands of the toolstack and of PV guests, which change nothing here: the size of the argument,
/// and the answer to zeros in it for the control domain and for a guest on x86, where domain 0
/// exists, and for a guest on Arm, where it does not.
type ToolstackRow = (u32, usize, Answer, Answer, Answer);
const TOOLSTACK: [ToolstackRow; 13] = {
    const NONE: Answer = Err(Errno::ENOSYS);
    const NOT_PERMITTED: Answer = Err(Errno::EPERM);
    const NOT_SUPPORTED: Answer = Err(Errno::EOPNOTSUPP);
    const NO_DOMAIN: Answer = Err(Errno::ESRCH);
    const NO_ACCESS: Answer = Err(Errno::EACCES);
    const INVALID: Answer = Err(Errno::EINVAL);
    [
        (command::MachphysMfnList::NUMBER, 24, Ok(0), Ok(0), NONE),
        (command::Exchange::NUMBER, 72, Ok(0), Ok(0), Ok(0)),
        (command::SetMemoryMap::NUMBER, 24, Ok(0), NOT_PERMITTED, NONE),
        // Domain 0, which a guest names with zeros, is a PV guest where guests were recorded.
        (command::SetPodTarget::NUMBER, 40, Ok(0), INVALID, NONE),
        (command::GetPodTarget::NUMBER, 40, Ok(0), INVALID, NONE),
        // `get_sharing_freed_pages` and `get_sharing_shared_pages` take no argument.
        (18, 0, Ok(0), Ok(0), Ok(0)),
        (19, 0, Ok(0), Ok(0), Ok(0)),
        // `access_op`, `claim_pages`, `reserved_device_memory_map`.
        (21, 24, NOT_PERMITTED, INVALID, NONE),
        (CLAIM_PAGES, 32, Ok(0), NOT_PERMITTED, INVALID),
        (27, 24, Ok(0), Ok(0), Ok(0)),
        (command::MachphysCompatMfnList::NUMBER, 0, NOT_SUPPORTED, NOT_SUPPORTED, NONE),
        (command::GetVnumainfo::NUMBER, 48, NOT_SUPPORTED, NOT_PERMITTED, NO_DOMAIN),
        (command::AcquireResource::NUMBER, ACQUIRE_RESOURCE, NOT_PERMITTED, NO_ACCESS, NO_DOMAIN),
    ]
};

fn of_the_toolstack(call: &Call<'_>, command: u32, at: usize) -> Answer {
    let profile = call.state.profile;
    if command == command::MachineMemoryMap::NUMBER && !profile.is_arm() && profile.since(4, 19) {
        return match call.domain().role {
            // The number of ranges is the machine's.
            Role::Control => call.reach(at, size_of::<XenMemoryMap>(), true).map(|()| 0),
            _ => Err(Errno::EPERM),
        };
    }
    let row = TOOLSTACK.iter().find(|(number, ..)| *number == command).ok_or(Errno::ENOSYS)?;
    let (_, size, control, guest, on_arm) = *row;
    if call.state.profile.translates() {
        match command {
            CLAIM_PAGES => return Err(Errno::ENOSYS),
            command::MachphysMfnList::NUMBER | command::MachphysCompatMfnList::NUMBER => {
                return Err(Errno::EOPNOTSUPP);
            }
            _ => {}
        }
    }
    let answer = match (call.state.profile.is_arm(), call.domain().role) {
        // Domain 0, which zeros name, exists, and a guest may not act on it.
        (true, Role::Guest) => on_arm.map_err(|why| match why {
            Errno::ENOSYS => why,
            _ => Errno::EPERM,
        }),
        (true, _) => on_arm,
        (false, Role::Control) => control,
        (false, _) => guest,
    };
    // Xen refuses these before it reads the argument.
    if answer != Err(Errno::ENOSYS) && answer != Err(Errno::EACCES) {
        call.reach(at, size, false)?;
    }
    answer
}

fn about(call: &mut Call<'_>, at: usize, what: impl FnOnce(&Call<'_>, usize) -> usize) -> Answer {
    let asked: XenMemoryDomain = call.read(at)?;
    let target = call.own_target(asked.domid)?;
    // The result has 32 bits for a 32-bit guest.
    let limit = if call.state.profile.translates() { i32::MAX as usize } else { usize::MAX };
    Ok(what(call, target).min(limit))
}

fn maximum(call: &Call<'_>, target: usize) -> usize {
    let domain = &call.state.domains[target];
    match domain.role {
        Role::Control => call.state.frames.count(),
        Role::Guest if call.state.profile.is_arm() => domain.initial_pages + SLACK_ON_ARM,
        Role::Guest => domain.initial_pages + SLACK,
        Role::Dom0less => domain.initial_pages,
    }
}

/// Processes extents from `start` on until one fails, and returns how many are done. This never
/// fails.
fn reservation(
    call: &mut Call<'_>,
    at: usize,
    start: usize,
    one: fn(&mut Call<'_>, usize, Option<u64>, u32) -> bool,
    reads_list: bool,
) -> usize {
    let Ok(asked) = call.read::<XenMemoryReservation>(at) else { return start };
    if asked.nr_extents > MAX_EXTENTS || start as XenUlong >= asked.nr_extents {
        return start;
    }
    let Ok(target) = call.own_target(asked.domid) else { return start };
    let of_control = call.domain().role == Role::Control;
    if asked.extent_order > if of_control { MAX_ORDERS.1 } else { MAX_ORDERS.0 } {
        return start;
    }
    for extent in start..asked.nr_extents as usize {
        let first = if asked.extent_start.is_null() || !reads_list {
            None
        } else {
            match element(call, asked.extent_start, extent) {
                Ok(first) => Some(first),
                Err(_) => return extent,
            }
        };
        if !one(call, target, first, asked.extent_order) {
            return extent;
        }
    }
    asked.nr_extents as usize
}

/// Returns the element of a list that a handle points to.
fn element(call: &Call<'_>, list: Handle<XenPfn>, index: usize) -> Result<u64, Errno> {
    let offset = index.checked_mul(size_of::<XenPfn>()).ok_or(Errno::EFAULT)?;
    call.read::<XenPfn>(list.as_ptr().addr().checked_add(offset).ok_or(Errno::EFAULT)?)
}

fn populate(call: &mut Call<'_>, target: usize, first: Option<u64>, order: u32) -> bool {
    let Some(first) = first else { return false };
    // The limit is checked for a whole extent.
    if call.state.frames.pages_of(target) + (1 << order) > maximum(call, target) {
        return false;
    }
    let state = &mut *call.state;
    // The domain keeps the pages even if they cannot be mapped at the frames.
    let pages: Vec<_> =
        (0..1 << order).map_while(|_| state.frames.take_for(target, &state.memory)).collect();
    if pages.len() < 1 << order {
        return false;
    }
    let mut is_mapped = true;
    // x86 goes on with the next frame after one that it refuses, past the last to the first
    // (`p2m_set_entry`).
    for (index, page) in (0..).zip(pages) {
        let gfn = first.wrapping_add(index);
        is_mapped &= state.add_page(call.me, target, gfn, Entry::Ram(page)).is_ok();
        if !is_mapped && state.profile.is_arm() {
            break;
        }
    }
    is_mapped
}

fn decrease(call: &mut Call<'_>, target: usize, first: Option<u64>, order: u32) -> bool {
    let Some(first) = first else { return false };
    (0..1_u64 << order).all(|page| {
        let gfn = first.checked_add(page);
        gfn.is_some_and(|gfn| call.state.release_page(target, gfn).is_ok())
    })
}

/// The pages are at no frame, as for every guest whose frames Xen translates.
fn increase(call: &mut Call<'_>, target: usize, _: Option<u64>, order: u32) -> bool {
    let may = maximum(call, target);
    let state = &mut *call.state;
    state.frames.pages_of(target) + (1 << order) <= may
        && (0..1 << order).all(|_| state.frames.take_for(target, &state.memory).is_some())
}

/// `xatp_permission_check`, `xenmem_add_to_physmap`.
fn add_to_physmap(call: &mut Call<'_>, asked: &XenAddToPhysmap, start: u16) -> Answer {
    if asked.space == MapSpace::GMFN_FOREIGN {
        return Err(Errno::ENOSYS);
    }
    let target = permitted(call, asked.domid, asked.space)?;
    if asked.gpfn == NO_FRAME {
        return Err(Errno::EINVAL);
    }
    if asked.space != MapSpace::GMFN_RANGE {
        return add_one(call, target, asked.space, asked.idx, asked.gpfn);
    }
    if asked.size < start {
        return Err(Errno::EILSEQ);
    }
    let count = u64::from(asked.size);
    if asked.idx.checked_add(count).is_none() || asked.gpfn.checked_add(count).is_none() {
        return Err(Errno::EOVERFLOW);
    }
    let is_backwards = call.state.profile.moves_backwards()
        && asked.gpfn > asked.idx
        && asked.gpfn < asked.idx + count;
    for done in u64::from(start)..count {
        let page = if is_backwards { count - 1 - done } else { done };
        add_one(call, target, MapSpace::GMFN, asked.idx + page, asked.gpfn + page)?;
    }
    Ok(0)
}

/// Returns the domain in which something is mapped (`xatp_permission_check`). Only the hardware
/// domain can map devices, in itself.
fn permitted(call: &Call<'_>, domain: Domid, space: MapSpace) -> Result<usize, Errno> {
    let target = call.target(domain)?;
    let of_hardware = target == call.me.domain && call.domain().role == Role::Control;
    if space == MapSpace::DEV_MMIO && !of_hardware {
        return Err(Errno::EACCES);
    }
    call.state.may_act_on(call.me.domain, target)?;
    Ok(target)
}

/// `xenmem_add_to_physmap_batch`: each page has its own answer.
fn batch(call: &mut Call<'_>, asked: &XenAddToPhysmapBatch, start: u16) -> Answer {
    let extents = usize::from(start)..usize::from(asked.size);
    let extent = |call: &Call<'_>, page: usize| {
        let index = call.read::<XenUlong>(asked.idxs.as_ptr().wrapping_add(page).addr())?;
        Ok::<_, Errno>((index, call.read(asked.gpfns.as_ptr().wrapping_add(page).addr())?))
    };
    if call.state.profile.translates() {
        // `compat_memory_op` translates the lists before anything else: here all of them, there as
        // much as fits into its buffer.
        extents.clone().try_for_each(|page| extent(call, page).map(|_| ()))?;
    }
    let space = MapSpace(asked.space.into());
    if space == MapSpace::GMFN_RANGE {
        return Err(Errno::EOPNOTSUPP);
    }
    let target = permitted(call, asked.domid, space)?;
    if asked.size < start || asked.size == start && start > 0 {
        return Err(Errno::EILSEQ);
    }
    if space == MapSpace::DEV_MMIO && asked.size > 0 && asked.u.res0() != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    for page in extents {
        let (index, at): (XenUlong, XenPfn) = extent(call, page)?;
        if at == NO_FRAME {
            return Err(Errno::EINVAL);
        }
        let done = if space == MapSpace::GMFN_FOREIGN {
            Err(foreign(call, target, asked.u.foreign_domid()))
        } else {
            add_one(call, target, space, index, at)
        };
        let answer = done.map_or_else(super::refusal, |_| 0);
        call.write(asked.errs.as_ptr().wrapping_add(page).addr(), answer as i32)?;
    }
    Ok(0)
}

/// Returns the error of mapping another domain's page (`p2m_add_foreign`). A valid request fails
/// too, because the simulator has no such mappings.
fn foreign(call: &Call<'_>, target: usize, domain: Domid) -> Errno {
    let (arm, own) = (call.state.profile.is_arm(), call.domain().id);
    let of_control = call.state.domains[target].role == Role::Control;
    let exists = domain != Domid::SELF && call.target(domain).is_ok();
    match () {
        () if !arm && !of_control => Errno::EPERM,
        // Arm looks the number up with those of its own domains (`get_pg_owner`).
        () if arm && domain == Domid::SELF => Errno::EINVAL,
        () if arm && !of_control && [Domid::IO, Domid::XEN].contains(&domain) => Errno::EPERM,
        // On x86 the control domain may map pages that Xen shares with it. None is simulated.
        () if !arm && domain == Domid::XEN => Errno::EINVAL,
        () if !exists || arm && domain == own => Errno::ESRCH,
        () if !of_control || domain == own => Errno::EPERM,
        () => Errno::EINVAL,
    }
}

/// `xenmem_add_to_physmap_one`.
fn add_one(call: &mut Call<'_>, target: usize, space: MapSpace, index: u64, gfn: u64) -> Answer {
    let (arm, since_4_17) = (call.state.profile.is_arm(), call.state.profile.since(4, 17));
    let own = &call.state.domains[target].physmap;
    let at = own.frame(gfn);
    let entry = match space {
        MapSpace::SHARED_INFO if index == 0 => Entry::Xen(call.state.domains[target].shared),
        MapSpace::SHARED_INFO => return Err(Errno::EINVAL),
        MapSpace::GRANT_TABLE => match grant_frame(call, target, index)? {
            page if call.state.frames.is_released(page) => return Err(Errno::EBUSY),
            page => Entry::Xen(page),
        },
        MapSpace::GMFN
            if !arm
                && call.state.profile.moves_only_memory()
                && !matches!(own.get(index), Entry::Ram(_) | Entry::Xen(_)) =>
        {
            return Err(Errno::EACCES);
        }
        MapSpace::GMFN if !arm => match call.state.own_page_at(target, index) {
            // A page of the domain that is mapped as a grant has no other frame.
            Some(page) if own.recorded(page) != own.frame(index) => return Err(Errno::EXDEV),
            Some(_) => own.get(index),
            None => return Err(Errno::EINVAL),
        },
        _ if arm => return Err(Errno::ENOSYS),
        _ => return Err(Errno::EINVAL),
    };
    let state = &mut *call.state;
    let physmap = &state.domains[target].physmap;
    let (Entry::Ram(page) | Entry::Xen(page)) = entry else { return Err(Errno::EINVAL) };
    let from = physmap.recorded(page);
    if arm {
        // A mapped Xen page must be unmapped first. Grants of it do not count.
        if from.is_some() && since_4_17 {
            return Err(Errno::EBUSY);
        }
        // RAM at the new frame stays allocated to the domain, without a frame.
        return state.add_page(call.me, target, gfn, entry).map(|()| 0);
    }
    match at.map(|at| (at, physmap.entry(at))) {
        // Xen's pages leave the frame.
        Some((at, there)) if there.page().is_some_and(|page| state.frames.is_of_xen(page)) => {
            let there = there.page().ok_or(Errno::ENOENT)?;
            state.remove_page(target, at, there)?;
        }
        Some((_, there)) if there.page().is_some_and(|there| there != page) => {
            state.release_page(target, gfn)?;
        }
        _ => {}
    }
    if let Some(from) = from.filter(|from| Some(*from) != at) {
        state.remove_page(target, from, page)?;
    }
    state.add_page(call.me, target, gfn, entry).map(|()| 0)
}

/// Returns a page of the grant table. Grows the table if necessary.
fn grant_frame(call: &mut Call<'_>, target: usize, index: u64) -> Result<MachineFrame, Errno> {
    // Xen takes 32 bits of the index.
    let index = index as u32;
    let state = &mut *call.state;
    let grants = &mut state.domains[target].grants;
    if grants.version == 2 && index & XENMAPIDX_GRANT_TABLE_STATUS != 0 {
        let index = (index & !XENMAPIDX_GRANT_TABLE_STATUS) as usize;
        grants.grow_to_status(index + 1, &mut state.frames, &state.memory)?;
        return grants.status_frames.get(index).copied().ok_or(Errno::EINVAL);
    }
    grants.grow(index as usize + 1, &mut state.frames, &state.memory)?;
    grants.frames.get(index as usize).copied().ok_or(Errno::EINVAL)
}

fn remove(call: &mut Call<'_>, asked: XenRemoveFromPhysmap) -> Answer {
    let target = call.own_target(asked.domid)?;
    let state = &mut *call.state;
    // Xen takes a reference of the page, and there is none of another domain's page.
    let page = state.page_of(target, asked.gpfn).ok_or(Errno::ENOENT)?;
    let at = state.domains[target].physmap.frame(asked.gpfn).ok_or(Errno::ENOENT)?;
    state.remove_page(target, at, page).map(|()| 0)
}

fn memory_map(call: &mut Call<'_>, asked: &mut XenMemoryMap) -> Answer {
    let (first, pages) = (FIRST as u64, call.domain().initial_pages as u64);
    write_map(call, asked, first, pages)
}

/// Writes a map with one range of memory.
fn write_map(call: &Call<'_>, asked: &mut XenMemoryMap, first: u64, pages: u64) -> Answer {
    let page = PAGE_SIZE as u64;
    if asked.nr_entries > 0 {
        let mut entry = [0; 20];
        entry[..8].copy_from_slice(&(first * page).to_ne_bytes());
        entry[8..16].copy_from_slice(&(pages * page).to_ne_bytes());
        entry[16..].copy_from_slice(&E820_RAM.to_ne_bytes());
        call.write(asked.buffer.as_ptr().addr(), entry)?;
    }
    asked.nr_entries = asked.nr_entries.min(1);
    Ok(0)
}
