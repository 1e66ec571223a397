//! Entries of a grant table, as the guest wrote them: in either version.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags as flags, raw,
};
use xen_pac::grant_table_v2::raw::{GrantEntryV2FullPage, GrantEntryV2SubPage};

use crate::boundary::{MachineFrame, MachineMemory, as_bytes, from_bytes};
use crate::state::{Grants, V2_ENTRY};
use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;

/// The flags by which Xen says that somebody uses what an entry lends.
const USED: u16 = flags::READING.val(1).value | flags::WRITING.val(1).value;

/// What an entry lends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    flags: u16,
    pub(super) to: Domid,
    pub(super) gfn: u64,
    /// Of the page, this many bytes from this one on.
    pub(super) part: (usize, usize),
}

impl Lent {
    /// Whether it lends a page at all.
    pub(super) fn permits_access(&self) -> bool {
        flags::kind::PERMIT_ACCESS.matches_all(self.flags)
    }

    fn is_transitive(&self) -> bool {
        flags::kind::TRANSITIVE.matches_all(self.flags)
    }

    pub(super) fn is_read_only(&self) -> bool {
        flags::READONLY.is_set(self.flags)
    }

    pub(super) const fn is_whole_page(&self) -> bool {
        self.part.1 == PAGE_SIZE
    }
}

/// Where an entry of so many bytes lies.
fn place(grants: &Grants, reference: u32, size: usize) -> Option<(MachineFrame, usize)> {
    let in_page = PAGE_SIZE / size;
    let frame = grants.frames.get(reference as usize / in_page)?;
    Some((*frame, reference as usize % in_page * size))
}

fn first_version<'a>(
    grants: &Grants,
    memory: &'a MachineMemory,
    reference: u32,
) -> Option<GrantEntryV1<'a>> {
    let in_page = GrantTableV1Page::ENTRIES_COUNT;
    let frame = grants.frames.get(reference as usize / in_page)?;
    memory.grant_page(*frame).entries(reference as usize % in_page)
}

/// What an entry lends; `None` beyond the table's end. It is copied, since the guest may change it
/// at any time.
pub(super) fn read(grants: &Grants, memory: &MachineMemory, reference: u32) -> Option<Lent> {
    if grants.version == 2 {
        return second_version(grants, memory, reference);
    }
    let entry = first_version(grants, memory, reference)?;
    let (flags, to, gfn) = (
        entry.flags().load(Ordering::SeqCst),
        Domid(entry.domid().get()),
        entry.frame().get().into(),
    );
    Some(Lent { flags, to, gfn, part: (0, PAGE_SIZE) })
}

fn second_version(grants: &Grants, memory: &MachineMemory, reference: u32) -> Option<Lent> {
    let (frame, offset) = place(grants, reference, V2_ENTRY)?;
    let mut bytes = [0; V2_ENTRY];
    memory.read(frame, offset, &mut bytes);
    let full: GrantEntryV2FullPage = from_bytes(&bytes);
    let (flags, to) = (full.hdr.flags, Domid(full.hdr.domid));
    if flags::SUB_PAGE.is_set(flags) {
        let part: GrantEntryV2SubPage = from_bytes(&bytes);
        let start = usize::from(part.page_off).min(PAGE_SIZE);
        let length = usize::from(part.length).min(PAGE_SIZE - start);
        return Some(Lent { flags, to, gfn: part.frame, part: (start, length) });
    }
    Some(Lent { flags, to, gfn: full.frame, part: (0, PAGE_SIZE) })
}

/// Tells the guest who uses what it lends.
pub(super) fn mark(
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
            memory.write(
                *frame,
                reference as usize % in_page * size_of::<u16>(),
                &now.to_ne_bytes(),
            );
        }
    } else if let Some(entry) = first_version(grants, memory, reference) {
        // Set first and clear afterwards: a grant that is used is never seen as one that is not.
        entry.flags().fetch_or(now, Ordering::SeqCst);
        entry.flags().fetch_and(!USED | now, Ordering::SeqCst);
    }
}

/// The reserved entries, in the form of version 1: they alone outlive a change of the version
/// (`gnttab_set_version`).
///
/// In version 1 they are kept as they are. In version 2 those that lend a page are, unless version
/// 1 has no way to say it; others become empty.
pub(super) fn reserved(
    grants: &Grants,
    memory: &MachineMemory,
) -> Result<Vec<raw::GrantEntryV1>, Errno> {
    let entries = (0..GNTTAB_NR_RESERVED_ENTRIES)
        .filter_map(|reference| Some((reference, read(grants, memory, reference)?)));
    let in_first_version = |(reference, lent): (u32, Lent)| {
        let mut entry = raw::GrantEntryV1::ZEROED;
        if grants.version == 2 && lent.is_transitive() {
            return Err(Errno::ERANGE);
        }
        if grants.version == 1 || lent.permits_access() {
            entry.frame = u32::try_from(lent.gfn).map_err(|_| Errno::ERANGE)?;
            (entry.flags, entry.domid) =
                (lent.flags | status(grants, memory, reference), lent.to.0);
        }
        Ok(entry)
    };
    entries.map(in_first_version).collect()
}

/// What the status of an entry of version 2 says; nothing in version 1, where it is among the
/// flags.
fn status(grants: &Grants, memory: &MachineMemory, reference: u32) -> u16 {
    let mut bytes = [0; size_of::<u16>()];
    if let Some(frame) = grants.status_frames.first().filter(|_| grants.version == 2) {
        memory.read(*frame, reference as usize * size_of::<u16>(), &mut bytes);
    }
    u16::from_ne_bytes(bytes)
}

/// Writes the reserved entries into a table that is empty, in its version.
pub(super) fn restore(grants: &Grants, memory: &MachineMemory, kept: &[raw::GrantEntryV1]) {
    for (index, entry) in kept.iter().enumerate() {
        let frame = grants.frames[0];
        if grants.version == 1 {
            memory.write(frame, index * size_of::<raw::GrantEntryV1>(), as_bytes(entry));
            continue;
        }
        let mut wide = GrantEntryV2FullPage::ZEROED;
        (wide.hdr.flags, wide.hdr.domid, wide.frame) =
            (entry.flags & !USED, entry.domid, entry.frame.into());
        memory.write(frame, index * V2_ENTRY, as_bytes(&wide));
        if let Some(status) = grants.status_frames.first() {
            memory.write(*status, index * size_of::<u16>(), &(entry.flags & USED).to_ne_bytes());
        }
    }
}
