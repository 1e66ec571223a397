//! A domain's grant table, and the grants of others that it has mapped.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;
use xen_pac::base::Domid;
use xen_pac::grant_table::GrantTableV1Page;

use super::Frames;
use crate::raw_memory::{MachineFrame, MachineMemory};

/// The maximum number of pages of a table.
pub(crate) const MAX_FRAMES: usize = 64;
/// The number of handles in one of Xen's pages.
const HANDLES_IN_PAGE: usize = 256;
/// Bytes of a version 2 entry.
pub(super) const V2_ENTRY: usize = 16;

#[derive(Debug)]
pub(crate) struct Grants {
    pub(crate) version: u32,
    pub(crate) frames: Vec<MachineFrame>,
    pub(crate) status_frames: Vec<MachineFrame>,
    /// The grants that peers have mapped, by reference.
    pub(crate) active: BTreeMap<u32, Active>,
    /// The mappings of this domain, by handle.
    pub(crate) maps: Vec<Option<Map>>,
    /// The handles that are free, by the vCPU that got them from Xen, in the order in which they
    /// are used next.
    free_handles: BTreeMap<usize, VecDeque<usize>>,
    /// The vCPU that got each handle.
    handle_owners: Vec<usize>,
    /// The maximum number of mappings.
    pub(crate) max_maps: usize,
}

/// The uses of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    /// The domain that maps the grant. Meanwhile, no other domain can map it.
    pub(crate) by: Domid,
    pub(crate) frame: MachineFrame,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
}

/// A mapping of a peer's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) owner: Domid,
    pub(crate) reference: u32,
    pub(crate) frame: MachineFrame,
    pub(crate) address: u64,
    pub(crate) writable: bool,
}

impl Grants {
    pub(crate) fn new(first: MachineFrame, max_maps: usize) -> Self {
        Self {
            version: 1,
            frames: vec![first],
            status_frames: Vec::new(),
            active: BTreeMap::new(),
            maps: Vec::new(),
            free_handles: BTreeMap::new(),
            handle_owners: Vec::new(),
            max_maps,
        }
    }

    /// Takes the vCPU's handle that has been free for longest. Handles are added a page at a time,
    /// before the last free one is taken. If there can be no more, it takes one of another vCPU
    /// (`get_maptrack_handle`).
    pub(crate) fn take_handle(&mut self, vcpu: usize) -> Option<usize> {
        let free = self.free_handles.entry(vcpu).or_default();
        if free.len() <= 1 {
            let (first, end) = (self.maps.len(), self.maps.len() + HANDLES_IN_PAGE);
            self.maps.resize(end.min(self.max_maps).max(first), None);
            self.handle_owners.resize(self.maps.len(), vcpu);
            free.extend(first..self.maps.len());
        }
        let own = free.pop_front();
        own.or_else(|| self.free_handles.values_mut().find_map(VecDeque::pop_front))
    }

    /// Returns a handle that is not used (`put_maptrack_handle`).
    pub(crate) fn return_handle(&mut self, handle: usize) {
        let vcpu = self.handle_owners.get(handle).copied().unwrap_or_default();
        self.free_handles.entry(vcpu).or_default().push_back(handle);
    }

    /// How many entries the table has.
    pub(crate) fn entries(&self) -> u32 {
        let in_page =
            if self.version == 2 { PAGE_SIZE / V2_ENTRY } else { GrantTableV1Page::ENTRIES_COUNT };
        (self.frames.len() * in_page) as u32
    }

    /// Grows the table to at least `frames` pages (`gnttab_grow_table`).
    pub(crate) fn grow(
        &mut self,
        frames: usize,
        free: &mut Frames,
        memory: &MachineMemory,
    ) -> Result<(), Errno> {
        if frames > MAX_FRAMES {
            return Err(Errno::EINVAL);
        }
        while self.frames.len() < frames {
            self.frames.push(free.take_for_xen(memory).map_err(|_| Errno::ENOMEM)?);
        }
        self.grow_status(free, memory).map_err(|_| Errno::ENOMEM)
    }

    /// Grows the table until it has `pages` status pages (`gnttab_get_status_frame_mfn`).
    pub(crate) fn grow_to_status(
        &mut self,
        pages: usize,
        free: &mut Frames,
        memory: &MachineMemory,
    ) -> Result<(), Errno> {
        if pages <= self.status_frames.len() {
            return Ok(());
        }
        let entries = pages.checked_mul(PAGE_SIZE / size_of::<u16>()).ok_or(Errno::EINVAL)?;
        self.grow(entries / (PAGE_SIZE / V2_ENTRY), free, memory)
    }

    /// Adds status pages for all entries: in version 2, each entry has a status of two bytes.
    pub(crate) fn grow_status(
        &mut self,
        free: &mut Frames,
        memory: &MachineMemory,
    ) -> io::Result<()> {
        while self.version == 2
            && self.status_frames.len() * (PAGE_SIZE / 2) < self.entries() as usize
        {
            self.status_frames.push(free.take_for_xen(memory)?);
        }
        Ok(())
    }
}
