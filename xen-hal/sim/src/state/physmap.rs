//! Maps the frames of each domain to machine frames, and records the owners of machine frames.

use std::collections::BTreeMap;
use std::io;

use xen_hal::hypercall::Errno;
use xen_hal::platform::PAGE_SIZE;

use crate::raw_memory::{GuestMemory, MachineFrame, MachineMemory};

/// The end of a program's address space.
pub(crate) const END_OF_PROGRAM: usize = 1 << 47;
/// The first frame of a domain that has memory. It is not 0, because the HAL maps nothing at frame
/// 0.
pub(crate) const FIRST: usize = 16;
/// The number of a domain's frames after those of its memory.
const ROOM: usize = 128;

/// The maximum number of frames of a domain on Arm, where its addresses have 40 bits.
const ARM_FRAMES: usize = 1 << 28;
/// The first level of a domain's page table on x86: which bits of a frame number, and how many
/// entries.
const X86_INDEX_SHIFT: u32 = 27;
const X86_INDICES: u32 = 512;

/// The first of the frames that stand for the program's own memory: its variables and stacks, which
/// belong to no domain. Xen only copies from and to them.
const PROGRAM: u64 = 1 << 36;

/// Returns the frame that stands for an address of the program's own memory.
pub(crate) const fn frame_of_program(address: usize) -> u64 {
    PROGRAM + (address / PAGE_SIZE) as u64
}

/// Returns the address that such a frame stands for.
pub(crate) fn address_in_program(gfn: u64) -> Option<usize> {
    let page = usize::try_from(gfn.checked_sub(PROGRAM)?).ok()?;
    page.checked_mul(PAGE_SIZE).filter(|address| *address != 0 && *address < END_OF_PROGRAM)
}

/// Who owns a machine frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Xen,
    /// Xen has it for a domain that released it: the domain cannot map it again.
    Released,
    Domain(usize),
    /// The domain released the frame, but something still uses it. Xen counts it as the domain's.
    Leaving(usize),
}

/// The machine's frames.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    owners: Vec<Owner>,
    /// The number of peers' mappings and of Xen's areas that use each frame. A frame that its owner
    /// has released is free once nothing uses it.
    users: Vec<u32>,
    /// The number of pages of each domain, mapped at a frame or not.
    pages: Vec<usize>,
    /// The frame after the one that was taken last, where the search for the next one starts. So a
    /// frame that became free is reused late, as mostly in Xen: an entry can still name it.
    next: usize,
}

impl Frames {
    pub(crate) fn new(count: usize) -> Self {
        Self { owners: vec![Owner::Free; count], users: vec![0; count], pages: Vec::new(), next: 0 }
    }

    pub(crate) fn count(&self) -> usize {
        self.owners.len()
    }

    fn is_free(&self, frame: usize) -> bool {
        self.owners[frame] == Owner::Free && self.users[frame] == 0
    }

    pub(crate) fn free_count(&self) -> usize {
        (0..self.owners.len()).filter(|frame| self.is_free(*frame)).count()
    }

    /// Takes the next free frame, and fills it with zeros.
    fn take(&mut self, owner: Owner, memory: &MachineMemory) -> Option<MachineFrame> {
        let mut candidates = (self.next..self.owners.len()).chain(0..self.next);
        let frame = candidates.find(|frame| self.is_free(*frame))?;
        self.owners[frame] = owner;
        self.next = frame + 1;
        let frame = MachineFrame(frame);
        memory.write(frame, 0, &[0; PAGE_SIZE]);
        Some(frame)
    }

    pub(crate) fn take_for_xen(&mut self, memory: &MachineMemory) -> io::Result<MachineFrame> {
        self.take(Owner::Xen, memory).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Takes a page for a domain, which is not at a frame yet.
    pub(crate) fn take_for(
        &mut self,
        domain: usize,
        memory: &MachineMemory,
    ) -> Option<MachineFrame> {
        let frame = self.take(Owner::Domain(domain), memory)?;
        self.pages.resize(self.pages.len().max(domain + 1), 0);
        self.pages[domain] += 1;
        Some(frame)
    }

    /// Returns the number of pages of a domain, mapped at a frame or not.
    pub(crate) fn pages_of(&self, domain: usize) -> usize {
        self.pages.get(domain).copied().unwrap_or_default()
    }

    /// Returns whether a page belongs to a domain, also if the domain has released it while
    /// something uses it: Xen still names the domain as its owner.
    pub(crate) fn is_of(&self, frame: MachineFrame, domain: usize) -> bool {
        matches!(self.owners[frame.0], Owner::Domain(of) | Owner::Leaving(of) if of == domain)
    }

    /// Returns whether a page is a Xen page.
    pub(crate) fn is_of_xen(&self, frame: MachineFrame) -> bool {
        matches!(self.owners[frame.0], Owner::Xen | Owner::Released)
    }

    /// Takes back a page that its domain releases.
    pub(crate) fn give_back(&mut self, frame: MachineFrame) {
        match self.owners[frame.0] {
            Owner::Xen | Owner::Released => self.owners[frame.0] = Owner::Released,
            _ => self.free(frame),
        }
    }

    /// Returns whether a Xen page was released and nothing uses it any more: Xen then takes no
    /// reference of it (`get_page`).
    pub(crate) fn is_released(&self, frame: MachineFrame) -> bool {
        self.owners[frame.0] == Owner::Released && self.users[frame.0] == 0
    }

    /// Returns whether something besides its owner uses a frame.
    pub(crate) fn is_used(&self, frame: MachineFrame) -> bool {
        self.users[frame.0] > 0
    }

    /// Counts a use of a frame besides its owner's.
    pub(crate) fn hold(&mut self, frame: MachineFrame) {
        self.users[frame.0] += 1;
    }

    /// Ends such a use.
    pub(crate) fn release(&mut self, frame: MachineFrame) {
        self.users[frame.0] = self.users[frame.0].saturating_sub(1);
        if matches!(self.owners[frame.0], Owner::Leaving(_)) {
            self.free(frame);
        }
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
        self.owners[frame.0] = match self.owners[frame.0] {
            Owner::Domain(domain) | Owner::Leaving(domain) if self.users[frame.0] > 0 => {
                Owner::Leaving(domain)
            }
            Owner::Domain(domain) | Owner::Leaving(domain) => {
                self.pages[domain] -= 1;
                Owner::Free
            }
            Owner::Xen | Owner::Released | Owner::Free => Owner::Free,
        };
    }
}

/// What is at a frame of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Empty,
    /// Nothing, but Xen had a page there before a restore: reads return ones, and writes are lost.
    Hole,
    /// Memory of the domain.
    Ram(MachineFrame),
    /// A Xen page.
    Xen(MachineFrame),
    /// A granted page, of a peer or of the domain itself.
    Grant {
        frame: MachineFrame,
        writable: bool,
    },
}

impl Entry {
    /// Returns the page that is there.
    pub(crate) const fn page(self) -> Option<MachineFrame> {
        match self {
            Self::Ram(page) | Self::Xen(page) | Self::Grant { frame: page, .. } => Some(page),
            Self::Empty | Self::Hole => None,
        }
    }

    /// Returns whether a page is there, and not as a grant.
    pub(crate) fn is_own(self, page: MachineFrame) -> bool {
        self == Self::Ram(page) || self == Self::Xen(page)
    }
}

/// The frames of a domain.
pub(crate) struct Physmap {
    pub(crate) memory: GuestMemory,
    /// The entries of the frames that have an address in the domain's range.
    near: Vec<Entry>,
    /// The entries of the other frames. Programs cannot access them.
    far: BTreeMap<usize, Entry>,
    /// The frame that Xen keeps for each page of the domain, Xen pages included: the
    /// machine-to-physical table on x86, `page_get_xenheap_gfn` on Arm. Grants are not in it.
    recorded: BTreeMap<MachineFrame, usize>,
    is_arm: bool,
    /// The greatest frame that was ever used.
    pub(crate) highest: u64,
}

impl Physmap {
    /// Creates the frames of a domain, with memory at the first `pages` of them.
    pub(crate) fn populated(
        pages: usize,
        frames: &mut Frames,
        memory: &MachineMemory,
        domain: usize,
        is_arm: bool,
    ) -> io::Result<Self> {
        let count = FIRST + pages + ROOM;
        let mut physmap = Self {
            memory: GuestMemory::reserve(count)?,
            near: vec![Entry::Empty; count],
            far: BTreeMap::new(),
            recorded: BTreeMap::new(),
            is_arm,
            highest: 0,
        };
        for frame in FIRST..FIRST + pages {
            let taken = frames.take_for(domain, memory).ok_or(io::ErrorKind::OutOfMemory)?;
            physmap.put(frame, Entry::Ram(taken), memory)?;
        }
        Ok(physmap)
    }

    /// Returns the entry of a frame.
    pub(crate) fn get(&self, gfn: u64) -> Entry {
        let used = self.frame(gfn).filter(|_| gfn <= self.highest);
        used.map_or(Entry::Empty, |frame| self.entry(frame))
    }

    pub(crate) fn entry(&self, frame: usize) -> Entry {
        let far = || self.far.get(&frame).copied().unwrap_or(Entry::Empty);
        self.near.get(frame).copied().unwrap_or_else(far)
    }

    /// Returns all frames and their entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, Entry)> + '_ {
        let far = self.far.iter().map(|(frame, entry)| (*frame, *entry));
        self.near.iter().copied().enumerate().chain(far)
    }

    /// Returns the number of frames that have an address.
    pub(crate) fn near(&self) -> usize {
        self.near.len()
    }

    /// Returns the machine frame at a frame at which the domain has memory.
    pub(crate) fn ram(&self, gfn: u64) -> Option<MachineFrame> {
        if let Entry::Ram(frame) = self.get(gfn) { Some(frame) } else { None }
    }

    /// Returns a frame number, if it is one that the domain can have: of 40 bits of addresses on
    /// Arm, of a page table of four levels on x86. There Xen takes 32 bits of the index in the
    /// first level (`p2m_find_entry`), so that frame 2^63 is frame 0.
    pub(crate) fn frame(&self, gfn: u64) -> Option<usize> {
        if self.is_arm {
            return usize::try_from(gfn).ok().filter(|frame| *frame < ARM_FRAMES);
        }
        let index = (gfn >> X86_INDEX_SHIFT) as u32;
        let rest = gfn & ((1 << X86_INDEX_SHIFT) - 1);
        (index < X86_INDICES).then(|| (u64::from(index) << X86_INDEX_SHIFT | rest) as usize)
    }

    pub(crate) fn is_mapped(&self, frame: usize) -> bool {
        !matches!(self.entry(frame), Entry::Empty | Entry::Hole)
    }

    pub(crate) fn is_writable(&self, frame: usize) -> bool {
        self.is_mapped(frame) && !matches!(self.entry(frame), Entry::Grant { writable: false, .. })
    }

    /// Returns the frame that Xen keeps for a page.
    pub(crate) fn recorded(&self, page: MachineFrame) -> Option<usize> {
        self.recorded.get(&page).copied()
    }

    /// Makes Xen keep no frame for a page. Arm does so only when the page leaves its frame.
    pub(crate) fn forget(&mut self, page: MachineFrame) {
        if !self.is_arm {
            self.recorded.remove(&page);
        }
    }

    /// Updates `recorded`: `entry` replaces `before` at a frame.
    fn record(&mut self, frame: usize, before: Entry, entry: Entry) {
        if let Entry::Ram(of) | Entry::Xen(of) = before {
            // On Arm, a page that stays does not lose its frame, even if it becomes a grant.
            if !self.is_arm || entry.page() != Some(of) {
                self.recorded.remove(&of);
            }
        }
        if let Entry::Ram(of) | Entry::Xen(of) = entry {
            self.recorded.insert(of, frame);
        }
    }

    /// Puts an entry at a frame, in place of what was there.
    pub(crate) fn put(
        &mut self,
        frame: usize,
        entry: Entry,
        memory: &MachineMemory,
    ) -> io::Result<()> {
        let before = self.entry(frame);
        let Some(place) = self.near.get_mut(frame) else {
            self.far.insert(frame, entry);
            self.record(frame, before, entry);
            self.highest = self.highest.max(frame as u64);
            return Ok(());
        };
        match entry {
            Entry::Empty => self.memory.unmap(frame)?,
            Entry::Hole => self.memory.map_ones(frame)?,
            Entry::Ram(of) | Entry::Xen(of) => self.memory.map(frame, 1, true, memory, of)?,
            Entry::Grant { frame: of, writable } => {
                self.memory.map(frame, 1, writable, memory, of)?;
            }
        }
        *place = entry;
        self.record(frame, before, entry);
        if self.is_mapped(frame) {
            self.highest = self.highest.max(frame as u64);
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
        let Entry::Ram(page) = self.entry(frame) else { return Err(Errno::EINVAL) };
        self.put(frame, Entry::Empty, memory).map_err(|_| Errno::ENOMEM)?;
        frames.free(page);
        Ok(())
    }
}
