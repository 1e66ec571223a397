//! Entries of a grant table in memory, as the guest wrote them, in either version.

use core::sync::atomic::Ordering;

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags as flags, raw,
};
use xen_pac::grant_table_v2::raw::{GrantEntryV2FullPage, GrantEntryV2SubPage};

use super::Grants;
use super::grants::V2_ENTRY;
use crate::memory::{MachineFrame, MachineMemory, as_bytes, from_bytes};

/// The flags that say that a peer uses the page.
const IN_USE: u16 = flags::READING.val(1).value | flags::WRITING.val(1).value;

/// What an entry grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrantedPage {
    flags: u16,
    pub(crate) to: Domid,
    pub(crate) gfn: u64,
    /// The first byte that is granted, and how many.
    pub(crate) part: (usize, usize),
}

impl GrantedPage {
    pub(crate) fn permits_access(&self) -> bool {
        flags::kind::PERMIT_ACCESS.matches_all(self.flags)
    }

    fn is_transitive(&self) -> bool {
        flags::kind::TRANSITIVE.matches_all(self.flags)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        flags::READONLY.is_set(self.flags)
    }

    pub(crate) const fn is_whole_page(&self) -> bool {
        self.part.1 == PAGE_SIZE
    }
}

/// Where an entry of `size` bytes is.
fn locate(grants: &Grants, reference: u32, size: usize) -> Option<(MachineFrame, usize)> {
    let in_page = PAGE_SIZE / size;
    let frame = grants.frames.get(reference as usize / in_page)?;
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
    })
}

fn read_v2_entry(grants: &Grants, memory: &MachineMemory, reference: u32) -> Option<GrantedPage> {
    let (frame, offset) = locate(grants, reference, V2_ENTRY)?;
    let mut bytes = [0; V2_ENTRY];
    memory.read(frame, offset, &mut bytes);
    let full: GrantEntryV2FullPage = from_bytes(&bytes);
    let (flags, to) = (full.hdr.flags, Domid(full.hdr.domid));
    if flags::SUB_PAGE.is_set(flags) {
        let part: GrantEntryV2SubPage = from_bytes(&bytes);
        let start = usize::from(part.page_off).min(PAGE_SIZE);
        let length = usize::from(part.length).min(PAGE_SIZE - start);
        return Some(GrantedPage { flags, to, gfn: part.frame, part: (start, length) });
    }
    Some(GrantedPage { flags, to, gfn: full.frame, part: (0, PAGE_SIZE) })
}

/// Writes into an entry whether its page is read and written by peers.
pub(super) fn mark_use(
    grants: &Grants,
    memory: &MachineMemory,
    reference: u32,
    reading: bool,
    writing: bool,
) {
    let now = flags::READING.val(reading.into()).value | flags::WRITING.val(writing.into()).value;
    if grants.version == 2 {
        let in_page = PAGE_SIZE / size_of::<u16>();
        if let Some(frame) = grants.status_frames.get(reference as usize / in_page) {
            let offset = reference as usize % in_page * size_of::<u16>();
            memory.write(*frame, offset, &now.to_ne_bytes());
        }
    } else if let Some(entry) = v1_entry(grants, memory, reference) {
        // Set before clear: an entry in use never reads as unused.
        entry.flags().fetch_or(now, Ordering::SeqCst);
        entry.flags().fetch_and(!IN_USE | now, Ordering::SeqCst);
    }
}

/// The reserved entries, in the form of version 1: they alone survive a change of the version
/// (`gnttab_set_version`).
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

/// The status of a version 2 entry; 0 in version 1, where it is among the flags.
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
