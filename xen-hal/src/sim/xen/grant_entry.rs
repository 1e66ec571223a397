//! Entries of a grant table, as the guest wrote them: in either version.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::grant_table::{GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags as flags};
use xen_pac::grant_table_v2::raw::{GrantEntryV2FullPage, GrantEntryV2SubPage};

use super::grant::{Grants, V2_ENTRY};
use crate::hypercall::Errno;
use crate::platform::PAGE_SIZE;
use crate::sim::boundary::{MachineFrame, MachineMemory, as_bytes, from_bytes};

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
        self.flags & (flags::KIND.mask << flags::KIND.shift) == flags::kind::PERMIT_ACCESS.value
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

fn first_version<'a>(grants: &Grants, memory: &'a MachineMemory, reference: u32) -> Option<GrantEntryV1<'a>> {
    let in_page = GrantTableV1Page::ENTRIES_COUNT;
    let frame = grants.frames.get(reference as usize / in_page)?;
    memory.grant_page(*frame).entries(reference as usize % in_page)
}

/// What an entry lends; `None` beyond the table's end. It is copied, since the guest may change it at any time.
pub(super) fn read(grants: &Grants, memory: &MachineMemory, reference: u32) -> Option<Lent> {
    if grants.version == 2 {
        return second_version(grants, memory, reference);
    }
    let entry = first_version(grants, memory, reference)?;
    let (flags, to, gfn) = (entry.flags().load(Ordering::SeqCst), Domid(entry.domid().get()), entry.frame().get().into());
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
pub(super) fn mark(grants: &Grants, memory: &MachineMemory, reference: u32, reading: bool, writing: bool) {
    let bit = |field: tock_registers::fields::Field<u16, flags::Register>, on: bool| if on { field.mask << field.shift } else { 0 };
    let all = bit(flags::READING, true) | bit(flags::WRITING, true);
    let now = bit(flags::READING, reading) | bit(flags::WRITING, writing);
    if grants.version == 2 {
        let in_page = PAGE_SIZE / size_of::<u16>();
        if let Some(frame) = grants.status_frames.get(reference as usize / in_page) {
            memory.write(*frame, reference as usize % in_page * size_of::<u16>(), &now.to_ne_bytes());
        }
    } else if let Some(entry) = first_version(grants, memory, reference) {
        // Set first and clear afterwards: a grant that is used is never seen as one that is not.
        entry.flags().fetch_or(now, Ordering::SeqCst);
        entry.flags().fetch_and(!all | now, Ordering::SeqCst);
    }
}

/// The reserved entries, in the form of another version: they alone outlive a change.
pub(super) fn reserved(grants: &Grants, memory: &MachineMemory, version: u32) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    for reference in 0..GNTTAB_NR_RESERVED_ENTRIES {
        let Some(lent) = read(grants, memory, reference) else { continue };
        if version == 2 {
            let mut entry = GrantEntryV2FullPage::ZEROED;
            (entry.hdr.flags, entry.hdr.domid, entry.frame) = (lent.flags, lent.to.0, lent.gfn);
            bytes.extend(as_bytes(&entry));
        } else {
            let frame = u32::try_from(lent.gfn).ok().filter(|_| lent.is_whole_page()).ok_or(Errno::ERANGE)?;
            let mut entry = xen_pac::grant_table::raw::GrantEntryV1::ZEROED;
            (entry.flags, entry.domid, entry.frame) = (lent.flags, lent.to.0, frame);
            bytes.extend(as_bytes(&entry));
        }
    }
    Ok(bytes)
}
