//! Which machine frame is at which frame of a domain, and who owns the machine's frames.

use std::io;

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;

use crate::memory::{GuestMemory, MachineFrame, MachineMemory};

/// No program has memory from this address on.
pub(crate) const END_OF_PROGRAM: usize = 1 << 47;
/// The first frame of a domain at which there is memory. The HAL maps nothing at frame 0.
pub(crate) const FIRST: usize = 16;
/// How many frames a domain has beyond those of its memory.
const ROOM: usize = 128;

/// Frames from here on stand for the program's own memory, its variables and stacks, which is no
/// domain's. Xen copies from and to it, and does nothing else with it.
const PROGRAM: u64 = 1 << 36;

/// The frame that stands for an address of the program's own memory.
pub(crate) const fn frame_of_program(address: usize) -> u64 {
    PROGRAM + (address / PAGE_SIZE) as u64
}

/// The address that such a frame stands for.
pub(crate) fn address_in_program(gfn: u64) -> Option<usize> {
    let page = usize::try_from(gfn.checked_sub(PROGRAM)?).ok()?;
    page.checked_mul(PAGE_SIZE).filter(|address| *address != 0 && *address < END_OF_PROGRAM)
}

/// Who owns a machine frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Xen,
    Domain(usize),
}

/// The machine's frames.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    owners: Vec<Owner>,
    /// How many mappings of peers and areas of Xen use each frame. A frame that its owner gave back
    /// is only free once nothing uses it.
    users: Vec<u32>,
    /// No frame below this one is free.
    lowest: usize,
}

impl Frames {
    pub(crate) fn new(count: usize) -> Self {
        Self { owners: vec![Owner::Free; count], users: vec![0; count], lowest: 0 }
    }

    pub(crate) fn count(&self) -> usize {
        self.owners.len()
    }

    fn is_free(&self, frame: usize) -> bool {
        self.owners[frame] == Owner::Free && self.users[frame] == 0
    }

    pub(crate) fn free_count(&self) -> usize {
        (self.lowest..self.owners.len()).filter(|frame| self.is_free(*frame)).count()
    }

    /// Takes the lowest free frame, and fills it with zeros.
    fn take(&mut self, owner: Owner, memory: &MachineMemory) -> Option<MachineFrame> {
        let frame = (self.lowest..self.owners.len()).find(|frame| self.is_free(*frame))?;
        self.owners[frame] = owner;
        self.lowest = frame + 1;
        let frame = MachineFrame(frame);
        memory.write(frame, 0, &[0; PAGE_SIZE]);
        Some(frame)
    }

    pub(crate) fn take_for_xen(&mut self, memory: &MachineMemory) -> io::Result<MachineFrame> {
        self.take(Owner::Xen, memory).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn take_for(&mut self, domain: usize, memory: &MachineMemory) -> Option<MachineFrame> {
        self.take(Owner::Domain(domain), memory)
    }

    /// Counts a use of a frame besides its owner's.
    pub(crate) fn hold(&mut self, frame: MachineFrame) {
        self.users[frame.0] += 1;
    }

    /// Ends such a use.
    pub(crate) fn release(&mut self, frame: MachineFrame) {
        self.users[frame.0] = self.users[frame.0].saturating_sub(1);
        self.lowest = self.lowest.min(frame.0);
    }

    /// Counts a use of `now`, and ends that of `before`.
    pub(crate) fn replace(&mut self, before: Option<MachineFrame>, now: Option<MachineFrame>) {
        if let Some(now) = now {
            self.hold(now);
        }
        if let Some(before) = before {
            self.release(before);
        }
    }

    pub(crate) fn free(&mut self, frame: MachineFrame) {
        self.owners[frame.0] = Owner::Free;
        self.lowest = self.lowest.min(frame.0);
    }
}

/// What is at a frame of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Empty,
    /// Nothing, where Xen had a page before a restore: reads return ones, and writes are lost.
    Hole,
    /// Memory of the domain.
    Ram(MachineFrame),
    /// A page of Xen's.
    Xen(MachineFrame),
    /// A peer's page.
    Grant {
        frame: MachineFrame,
        writable: bool,
    },
}

/// The frames of a domain.
pub(crate) struct Physmap {
    pub(crate) memory: GuestMemory,
    pub(crate) entries: Vec<Entry>,
    /// How many pages the domain has, at a frame or not.
    pub(crate) pages: usize,
    /// The greatest frame at which there was ever something.
    pub(crate) highest: usize,
}

impl Physmap {
    /// Frames with memory at the first `pages` of them.
    pub(crate) fn populated(
        pages: usize,
        frames: &mut Frames,
        memory: &MachineMemory,
        domain: usize,
    ) -> io::Result<Self> {
        let count = FIRST + pages + ROOM;
        let mut physmap = Self {
            memory: GuestMemory::reserve(count)?,
            entries: vec![Entry::Empty; count],
            pages: 0,
            highest: 0,
        };
        for frame in FIRST..FIRST + pages {
            let taken =
                physmap.allocate(frames, memory, domain).ok_or(io::ErrorKind::OutOfMemory)?;
            physmap.put(frame, Entry::Ram(taken), memory)?;
        }
        Ok(physmap)
    }

    /// Takes a page for the domain, which is not at a frame yet.
    pub(crate) fn allocate(
        &mut self,
        frames: &mut Frames,
        memory: &MachineMemory,
        domain: usize,
    ) -> Option<MachineFrame> {
        let frame = frames.take_for(domain, memory)?;
        self.pages += 1;
        Some(frame)
    }

    pub(crate) fn get(&self, gfn: u64) -> Entry {
        usize::try_from(gfn)
            .ok()
            .and_then(|gfn| self.entries.get(gfn))
            .copied()
            .unwrap_or(Entry::Empty)
    }

    /// The machine frame at a frame at which the domain has memory.
    pub(crate) fn ram(&self, gfn: u64) -> Option<MachineFrame> {
        if let Entry::Ram(frame) = self.get(gfn) { Some(frame) } else { None }
    }

    /// A frame number, if it is one that the domain can have.
    pub(crate) fn frame(&self, gfn: u64) -> Option<usize> {
        usize::try_from(gfn).ok().filter(|gfn| *gfn < self.entries.len())
    }

    pub(crate) fn is_mapped(&self, frame: usize) -> bool {
        self.entries.get(frame).is_some_and(|entry| !matches!(entry, Entry::Empty | Entry::Hole))
    }

    pub(crate) fn is_writable(&self, frame: usize) -> bool {
        self.is_mapped(frame)
            && !matches!(self.entries[frame], Entry::Grant { writable: false, .. })
    }

    /// The frame at which a machine frame is, if there is one.
    pub(crate) fn find(&self, wanted: MachineFrame) -> Option<usize> {
        self.entries.iter().position(|entry| match entry {
            Entry::Ram(frame) | Entry::Xen(frame) | Entry::Grant { frame, .. } => *frame == wanted,
            Entry::Empty | Entry::Hole => false,
        })
    }

    /// Puts an entry at a frame, in place of what was there.
    pub(crate) fn put(
        &mut self,
        frame: usize,
        entry: Entry,
        memory: &MachineMemory,
    ) -> io::Result<()> {
        match entry {
            Entry::Empty => self.memory.unmap(frame)?,
            Entry::Hole => self.memory.map_ones(frame)?,
            Entry::Ram(of) | Entry::Xen(of) => self.memory.map(frame, 1, true, memory, of)?,
            Entry::Grant { frame: of, writable } => {
                self.memory.map(frame, 1, writable, memory, of)?;
            }
        }
        self.entries[frame] = entry;
        if self.is_mapped(frame) {
            self.highest = self.highest.max(frame);
        }
        Ok(())
    }

    /// Empties a frame and gives its page back to Xen, if it is memory of the domain.
    pub(crate) fn free(
        &mut self,
        frame: usize,
        frames: &mut Frames,
        memory: &MachineMemory,
    ) -> Result<(), Errno> {
        let Entry::Ram(page) = self.entries[frame] else { return Err(Errno::EINVAL) };
        self.put(frame, Entry::Empty, memory).map_err(|_| Errno::ENOMEM)?;
        frames.free(page);
        self.pages -= 1;
        Ok(())
    }
}
