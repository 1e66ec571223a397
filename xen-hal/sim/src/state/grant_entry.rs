//! Entries of a grant table in memory, as the guest wrote them, in either version, and their use
//! by peers.

use core::sync::atomic::Ordering;

use xen_hal::hypercall::Errno;
use xen_hal::platform::{Frame, PAGE_SIZE};
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags as flags, raw,
};
use xen_pac::grant_table_v2::raw::{
    GrantEntryV2FullPage, GrantEntryV2SubPage, GrantEntryV2Transitive,
};

use super::grants::{Active, Grants, V2_ENTRY};
use super::{Entry, State};
use crate::raw_memory::{MachineFrame, MachineMemory, as_bytes, from_bytes};

/// The flags of a page that a peer uses.
const READING: u16 = flags::READING.val(1).value;
const WRITING: u16 = flags::WRITING.val(1).value;
const IN_USE: u16 = READING | WRITING;

/// The page that an entry grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrantedPage {
    flags: u16,
    pub(crate) to: Domid,
    pub(crate) gfn: u64,
    /// The offset of the first granted byte, and the number of bytes.
    pub(crate) part: (usize, usize),
    /// The domain and the reference that a transitive entry names.
    pub(crate) through: (Domid, u32),
}

impl GrantedPage {
    pub(crate) fn permits_access(&self) -> bool {
        flags::kind::PERMIT_ACCESS.matches_all(self.flags)
    }

    pub(crate) fn is_transitive(&self) -> bool {
        flags::kind::TRANSITIVE.matches_all(self.flags)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        flags::READONLY.is_set(self.flags)
    }

    pub(crate) const fn is_whole_page(&self) -> bool {
        self.part.1 == PAGE_SIZE
    }
}

/// Returns the location of an entry of `size` bytes in the pages of a table.
fn locate(pages: &[MachineFrame], reference: u32, size: usize) -> Option<(MachineFrame, usize)> {
    let in_page = PAGE_SIZE / size;
    let frame = pages.get(reference as usize / in_page)?;
    Some((*frame, reference as usize % in_page * size))
}

fn v1_entry<'a>(
    grants: &Grants,
    memory: &'a MachineMemory,
    reference: u32,
) -> Option<GrantEntryV1<'a>> {
    let in_page = GrantTableV1Page::ENTRIES_COUNT;
    let frame = grants.frames.get(reference as usize / in_page)?;
    memory.grant_page(*frame).entries(reference as usize % in_page)
}

/// Copies an entry, which the guest can change at any time; `None` beyond the table's end.
pub(crate) fn read_entry(
    grants: &Grants,
    memory: &MachineMemory,
    reference: u32,
) -> Option<GrantedPage> {
    if grants.version == 2 {
        return read_v2_entry(grants, memory, reference);
    }
    let entry = v1_entry(grants, memory, reference)?;
    Some(GrantedPage {
        flags: entry.flags().load(Ordering::SeqCst),
        to: Domid(entry.domid().get()),
        gfn: entry.frame().get().into(),
        part: (0, PAGE_SIZE),
        through: (Domid::INVALID, 0),
    })
}

fn read_v2_entry(grants: &Grants, memory: &MachineMemory, reference: u32) -> Option<GrantedPage> {
    let (frame, offset) = locate(&grants.frames, reference, V2_ENTRY)?;
    let mut bytes = [0; V2_ENTRY];
    memory.read(frame, offset, &mut bytes);
    let full: GrantEntryV2FullPage = from_bytes(&bytes);
    let (flags, to) = (full.hdr.flags, Domid(full.hdr.domid));
    let transitive: GrantEntryV2Transitive = from_bytes(&bytes);
    let through = (Domid(transitive.trans_domid), transitive.gref);
    if flags::SUB_PAGE.is_set(flags) {
        let part: GrantEntryV2SubPage = from_bytes(&bytes);
        let start = usize::from(part.page_off).min(PAGE_SIZE);
        let length = usize::from(part.length).min(PAGE_SIZE - start);
        return Some(GrantedPage { flags, to, gfn: part.frame, part: (start, length), through });
    }
    Some(GrantedPage { flags, to, gfn: full.frame, part: (0, PAGE_SIZE), through })
}

/// Sets and clears the flags of an entry that mark its page as read or written by peers.
fn mark_use(grants: &Grants, memory: &MachineMemory, reference: u32, set: u16, clear: u16) {
    if grants.version == 2 {
        let in_page = PAGE_SIZE / size_of::<u16>();
        if let Some(frame) = grants.status_frames.get(reference as usize / in_page) {
            let offset = reference as usize % in_page * size_of::<u16>();
            let mut status = [0; size_of::<u16>()];
            memory.read(*frame, offset, &mut status);
            let now = (u16::from_ne_bytes(status) | set) & !clear;
            memory.write(*frame, offset, &now.to_ne_bytes());
        }
    } else if let Some(entry) = v1_entry(grants, memory, reference) {
        entry.flags().fetch_or(set, Ordering::SeqCst);
        entry.flags().fetch_and(!clear, Ordering::SeqCst);
    }
}

impl State {
    /// Counts a mapping of a domain's grant, and marks the entry as in use.
    pub(crate) fn pin_grant(
        &mut self,
        owner: usize,
        reference: u32,
        by: Domid,
        frame: MachineFrame,
        writable: bool,
    ) {
        let grants = &mut self.domains[owner].grants;
        let unused = Active { by, frame, readers: 0, writers: 0 };
        let active = grants.active.entry(reference).or_insert(unused);
        if writable {
            active.writers += 1;
        } else {
            active.readers += 1;
        }
        // Xen writes the entry at the first use, and at the first that writes (`_set_status`).
        let first = active.readers + active.writers == 1;
        let first_write = writable && active.writers == 1;
        if first || first_write {
            let now = if writable { IN_USE } else { READING };
            mark_use(grants, &self.memory, reference, now, 0);
        }
    }

    /// Marks an entry as in use as Xen does before a mapping that fails and before a copy
    /// (`_set_status`), and clears the marks again.
    pub(crate) fn use_briefly(&self, owner: usize, reference: u32, writes: bool) {
        let grants = &self.domains[owner].grants;
        let active = grants.active.get(&reference);
        if active.is_none_or(|active| writes && active.writers == 0) {
            let now = if writes { IN_USE } else { READING };
            mark_use(grants, &self.memory, reference, now, 0);
        }
        self.clear_use(owner, reference, writes);
    }

    /// Clears the marks of an entry's ended uses (`reduce_status_for_pin`), after a use that read
    /// or one that wrote.
    fn clear_use(&self, owner: usize, reference: u32, wrote: bool) {
        let grants = &self.domains[owner].grants;
        let active = grants.active.get(&reference);
        let writing = active.is_some_and(|active| active.writers > 0);
        let mut gone = if active.is_none() { READING } else { 0 };
        if wrote && !writing {
            gone |= WRITING;
        }
        mark_use(grants, &self.memory, reference, 0, gone);
    }

    /// What a domain changed in a grant while a peer has it mapped. A version 2 entry that permits
    /// nothing is no mistake: its owner then waits until it is unused.
    fn changed_in_use(&self, owner: usize, reference: u32) -> Option<String> {
        let grants = &self.domains[owner].grants;
        let active = grants.active.get(&reference)?;
        let entry = read_entry(grants, &self.memory, reference)?;
        let what = if !entry.permits_access() {
            (grants.version == 1).then_some("ended")?
        } else if entry.to != active.by || self.page_of(owner, entry.gfn) != Some(active.frame) {
            "reused"
        } else {
            return None;
        };
        Some(format!("grant {reference}: {what} while domain {} had it mapped", active.by))
    }

    /// Returns the grants of a domain that peers have mapped, and what the domain changed in them.
    /// Leaves out those that the toolstack made, unless the domain changed them.
    pub(crate) fn mapped_grants(&self, owner: usize) -> Vec<String> {
        let describe = |(reference, active): (&u32, &Active)| {
            let (by, page) = (active.by, Some(active.frame));
            let of_toolstack = self.is_of_toolstack(owner, *reference, by, page);
            let mapped =
                (!of_toolstack).then(|| format!("grant {reference}: domain {by} has it mapped"));
            self.changed_in_use(owner, *reference).or(mapped)
        };
        self.domains[owner].grants.active.iter().filter_map(describe).collect()
    }

    /// Ends a mapping: its frame is empty. When it was the last of the grant, the entry is unused.
    pub(crate) fn end_map(&mut self, domain: usize, handle: usize) {
        let Some(map) = self.domains[domain].grants.maps[handle].take() else { return };
        self.domains[domain].grants.return_handle(handle);
        let physmap = &mut self.domains[domain].physmap;
        let at = physmap.frame(Frame::containing(map.address).0);
        if let Some(at) = at.filter(|at| matches!(physmap.entry(*at), Entry::Grant { .. })) {
            // If the host refuses, the page stays visible, as after a translation that was not
            // flushed.
            let _ = physmap.put(at, Entry::Empty, &self.memory);
        }
        self.frames.release(map.frame);
        // A domain that was restored meanwhile has another number, and another table.
        let owner = self.domains.iter().position(|owner| owner.id == map.owner);
        let Some(owner) = owner else { return };
        if let Some(change) = self.changed_in_use(owner, map.reference) {
            self.domains[owner].leaks.push(change);
        }
        let grants = &mut self.domains[owner].grants;
        let Some(active) = grants.active.get_mut(&map.reference) else { return };
        if map.writable {
            active.writers -= 1;
        } else {
            active.readers -= 1;
        }
        if active.readers + active.writers == 0 {
            grants.active.remove(&map.reference);
        }
        self.clear_use(owner, map.reference, map.writable);
    }
}

/// Returns the reserved entries in the form of version 1. Only these survive a change of the
/// version (`gnttab_set_version`).
///
/// Version 1 entries are kept as they are. Version 2 entries that grant a page are kept if version
/// 1 can express them; others become empty.
pub(crate) fn reserved_entries(
    grants: &Grants,
    memory: &MachineMemory,
) -> Result<Vec<raw::GrantEntryV1>, Errno> {
    let entries = (0..GNTTAB_NR_RESERVED_ENTRIES)
        .filter_map(|reference| Some((reference, read_entry(grants, memory, reference)?)));
    let to_v1 = |(reference, granted): (u32, GrantedPage)| {
        let mut entry = raw::GrantEntryV1::ZEROED;
        if grants.version == 2 && granted.is_transitive() {
            return Err(Errno::ERANGE);
        }
        if grants.version == 1 || granted.permits_access() {
            entry.frame = u32::try_from(granted.gfn).map_err(|_| Errno::ERANGE)?;
            (entry.flags, entry.domid) =
                (granted.flags | status(grants, memory, reference), granted.to.0);
        }
        Ok(entry)
    };
    entries.map(to_v1).collect()
}

/// Returns the status of a version 2 entry; 0 in version 1, where it is among the flags.
fn status(grants: &Grants, memory: &MachineMemory, reference: u32) -> u16 {
    let mut bytes = [0; size_of::<u16>()];
    if let Some(frame) = grants.status_frames.first().filter(|_| grants.version == 2) {
        memory.read(*frame, reference as usize * size_of::<u16>(), &mut bytes);
    }
    u16::from_ne_bytes(bytes)
}

/// Writes the reserved entries into an empty table, in its version.
pub(crate) fn write_reserved_entries(
    grants: &Grants,
    memory: &MachineMemory,
    entries: &[raw::GrantEntryV1],
) {
    for (index, entry) in entries.iter().enumerate() {
        let frame = grants.frames[0];
        if grants.version == 1 {
            memory.write(frame, index * size_of::<raw::GrantEntryV1>(), as_bytes(entry));
            continue;
        }
        let mut wide = GrantEntryV2FullPage::ZEROED;
        (wide.hdr.flags, wide.hdr.domid, wide.frame) =
            (entry.flags & !IN_USE, entry.domid, entry.frame.into());
        memory.write(frame, index * V2_ENTRY, as_bytes(&wide));
        if let Some(status) = grants.status_frames.first() {
            let in_use = (entry.flags & IN_USE).to_ne_bytes();
            memory.write(*status, index * size_of::<u16>(), &in_use);
        }
    }
}

/// Exchanges two entries of a table, with their status.
pub(crate) fn swap_entries(grants: &Grants, memory: &MachineMemory, a: u32, b: u32) {
    let exchange = |[one, other]: [Option<(MachineFrame, usize)>; 2], size: usize| {
        let (Some(one), Some(other)) = (one, other) else { return };
        let mut bytes = [[0; V2_ENTRY]; 2];
        memory.read(one.0, one.1, &mut bytes[0][..size]);
        memory.read(other.0, other.1, &mut bytes[1][..size]);
        memory.write(one.0, one.1, &bytes[1][..size]);
        memory.write(other.0, other.1, &bytes[0][..size]);
    };
    let size = if grants.version == 2 { V2_ENTRY } else { size_of::<raw::GrantEntryV1>() };
    exchange([a, b].map(|reference| locate(&grants.frames, reference, size)), size);
    let size = size_of::<u16>();
    exchange([a, b].map(|reference| locate(&grants.status_frames, reference, size)), size);
}
