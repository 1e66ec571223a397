//! A domain's grant table, and what it has mapped of others'.

use std::collections::BTreeMap;
use std::io;
use std::vec::Vec;

use xen_pac::base::Domid;
use xen_pac::grant_table::GrantTableV1Page;

use super::physmap::Frames;
use crate::boundary::{MachineFrame, MachineMemory};
use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;

/// How many pages a table may have.
pub(crate) const MAX_FRAMES: usize = 64;
/// Bytes of an entry of version 2.
pub(crate) const V2_ENTRY: usize = 16;

/// The grants of a domain: those that it lends, and those of others that it has mapped.
#[derive(Debug)]
pub(crate) struct Grants {
    /// Which table this is: a domain that goes elsewhere gets another one.
    pub(crate) table: u32,
    pub(crate) version: u32,
    pub(crate) frames: Vec<MachineFrame>,
    pub(crate) status_frames: Vec<MachineFrame>,
    /// What others have mapped, by reference.
    pub(crate) active: BTreeMap<u32, Active>,
    /// What this domain has mapped, by handle.
    pub(crate) maps: Vec<Option<Map>>,
    /// How many handles there may be.
    pub(crate) max_maps: usize,
}

/// How often a grant is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    /// By whom: nobody else can have the grant meanwhile, whatever its entry says.
    pub(crate) by: Domid,
    pub(crate) frame: MachineFrame,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
}

/// A mapping of somebody's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) owner: Domid,
    /// Which of the owner's tables lends it.
    pub(crate) table: u32,
    pub(crate) reference: u32,
    pub(crate) frame: MachineFrame,
    pub(crate) address: u64,
    pub(crate) writable: bool,
}

impl Grants {
    pub(crate) fn new(first: MachineFrame, max_maps: usize) -> Self {
        Self {
            table: 0,
            version: 1,
            frames: std::vec![first],
            status_frames: Vec::new(),
            active: BTreeMap::new(),
            maps: Vec::new(),
            max_maps,
        }
    }

    /// How many entries the table has.
    pub(crate) fn entries(&self) -> u32 {
        let in_page =
            if self.version == 2 { PAGE_SIZE / V2_ENTRY } else { GrantTableV1Page::ENTRIES_COUNT };
        (self.frames.len() * in_page) as u32
    }

    /// Lets the table have so many pages at least (`gnttab_grow_table`).
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

    /// Lets the table have so many pages of status, as far as it may grow for them
    /// (`gnttab_get_status_frame_mfn`).
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

    /// In version 2 each entry has a status of two bytes, in pages of their own.
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
