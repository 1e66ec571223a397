//! The grant table of this domain.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, GrantRef, GrantTableV1Page, raw};

use super::lend::{Access, Grant, GrantSlot};
use super::page::Page;
use super::ref_allocator::GrantRefAllocator;
use super::{Error, Grants};
use crate::hypercall::{Errno, Hypercall};
use crate::memory::{Memory, PageError};
use crate::platform::AddressSpace;

/// How many entries a page of the table has.
const ENTRIES: u32 = GrantTableV1Page::ENTRIES_COUNT as u32;

/// The grant table of this domain, in version 1, mapped and growing as needed, with the references
/// that are free.
///
/// All its methods can be called on several vCPUs at once.
pub struct GrantTable<'t> {
    /// Where the pages are to be mapped: `capacity` of them in a row, of which the first `frames`
    /// are.
    pages: NonNull<raw::GrantTableV1Page>,
    capacity: u32,
    frames: AtomicU32,
    growing: AtomicBool,
    references: GrantRefAllocator<'t>,
}

// SAFETY: the table's entries are touched by their handles, which any thread may use, and all else
// is atomic.
unsafe impl Send for GrantTable<'_> {}
// SAFETY: as above.
unsafe impl Sync for GrantTable<'_> {}

/// The table cannot be set up, or not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The table's entries have the form of this version, and not of version 1: something that ran
    /// before changed it. See [`Grants::set_version`].
    Version(u32),
    /// More pages were asked for than there is room for.
    Capacity {
        /// How many pages were asked for.
        asked: u32,
        /// For how many there is room.
        capacity: u32,
    },
    /// The storage for references has fewer words than the pages' entries need.
    Storage {
        /// How many words it has.
        words: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Another vCPU makes the table grow right now; try again.
    Growing,
    /// A page could not be mapped. Those before it are, and are in use.
    Page(PageError),
    /// Xen does not tell the version.
    Grant(Error),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the grant table has version {version}"),
            Self::Capacity { asked, capacity } => {
                write!(f, "a grant table of {asked} pages in a place for {capacity}")
            }
            Self::Storage { words, needed } => {
                write!(f, "the storage for references has {words} words and needs {needed}")
            }
            Self::Growing => f.write_str("the grant table is growing already"),
            Self::Page(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TableError {}

impl From<PageError> for TableError {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl From<Errno> for TableError {
    fn from(errno: Errno) -> Self {
        Self::Grant(errno.into())
    }
}

/// No entry of the table is free. Here is the page that was to be lent.
#[derive(Debug)]
pub struct TableFullError(pub Page);

impl fmt::Display for TableFullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no grant reference is free")
    }
}

impl core::error::Error for TableFullError {}

impl<'t> GrantTable<'t> {
    /// How many words of storage the references of a table of so many pages need.
    #[must_use]
    pub const fn words(pages: u32) -> usize {
        pages as usize * (ENTRIES / u32::BITS) as usize
    }

    /// Maps the first `frames` pages of the table, and keeps room for it to grow to `capacity`
    /// pages.
    ///
    /// `storage` holds which references are free: [`words(capacity)`](Self::words) for all of them.
    /// Xen's bound for the table is told by [`Grants::query_size`].
    ///
    /// # Errors
    ///
    /// [`TableError`] names what is wrong. Pages that were mapped before an error stay mapped.
    ///
    /// # Safety
    ///
    /// As long as the table or anything made from it lives:
    /// - from `pages` on there is room for `capacity` pages, mapped by the guest's page tables to
    ///   their frames with the caching of ordinary memory, and nothing is kept there: RAM at the
    ///   frames is freed on x86 when the table's pages appear, and lost to the domain on Arm;
    /// - the domain's grant table is mapped nowhere else, its version stays 1, and no other code
    ///   uses entries from the reserved ones on.
    pub unsafe fn map<H: Hypercall + Copy>(
        xen: H,
        space: &(impl AddressSpace + ?Sized),
        pages: NonNull<raw::GrantTableV1Page>,
        capacity: u32,
        storage: &'t mut [AtomicU32],
        frames: u32,
    ) -> Result<Self, TableError> {
        let version = Grants::new(xen).version(Domid::SELF)?;
        if version > 1 {
            return Err(TableError::Version(version));
        }
        // SAFETY: no page is said to be mapped; the rest is the caller's promise.
        let table = unsafe { Self::mapped(pages, capacity, storage, 0) };
        table.grow(xen, space, frames)?;
        Ok(table)
    }

    /// The table where another part of the program mapped its first `frames` pages.
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map), and `frames` pages of the table in version 1 are mapped in a row
    /// from `pages` on.
    #[must_use]
    pub unsafe fn mapped(
        pages: NonNull<raw::GrantTableV1Page>,
        capacity: u32,
        storage: &'t mut [AtomicU32],
        frames: u32,
    ) -> Self {
        let references = GrantRefAllocator::new(storage);
        references.extend(frames.saturating_mul(ENTRIES));
        Self {
            pages,
            capacity,
            frames: AtomicU32::new(frames),
            growing: AtomicBool::new(false),
            references,
        }
    }

    /// How many pages of the table are mapped.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames.load(Ordering::Acquire)
    }

    /// How many references are free at the moment.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.references.available()
    }

    /// Makes the table grow to `frames` pages, through the hypervisor and the address space that it
    /// was mapped with; a table that has them already stays as it is.
    ///
    /// # Errors
    ///
    /// [`TableError`] names what is wrong. The table keeps the pages that were mapped before the
    /// error.
    pub fn grow(
        &self,
        xen: impl Hypercall,
        space: &(impl AddressSpace + ?Sized),
        frames: u32,
    ) -> Result<(), TableError> {
        if frames > self.capacity {
            return Err(TableError::Capacity { asked: frames, capacity: self.capacity });
        }
        let (words, needed) = (self.references.capacity() / u32::BITS, Self::words(frames));
        if (words as usize) < needed {
            return Err(TableError::Storage { words: words as usize, needed });
        }
        // One at a time: a page that is mapped twice would be away for a moment in between.
        if self.growing.swap(true, Ordering::Acquire) {
            return Err(TableError::Growing);
        }
        let result = self.map_pages(&Memory::new(xen), space, frames);
        self.growing.store(false, Ordering::Release);
        result
    }

    fn map_pages(
        &self,
        memory: &Memory<impl Hypercall>,
        space: &(impl AddressSpace + ?Sized),
        frames: u32,
    ) -> Result<(), TableError> {
        for index in self.frames()..frames {
            let place = self.page(index).cast();
            // SAFETY: whoever made the table promised this place, and that nobody else maps the
            // table.
            unsafe { memory.map_grant_frames(space, place, index, 1) }?;
            let mapped = index.saturating_add(1);
            self.frames.store(mapped, Ordering::Release);
            self.references.extend(mapped.saturating_mul(ENTRIES));
        }
        Ok(())
    }

    /// Takes a free entry; `None` when there is none.
    ///
    /// An entry that something else has published, such as a kernel that ran before this one, is
    /// left alone for ever.
    #[inline]
    #[must_use]
    pub fn slot(&self) -> Option<GrantSlot<'_>> {
        loop {
            let reference = self.references.take()?;
            let entry = self.entry(reference)?;
            if entry.flags().load(Ordering::Relaxed) == 0 {
                return Some(GrantSlot::new(entry, &self.references, reference));
            }
        }
    }

    /// Lends `page` to `peer` by a free entry.
    ///
    /// # Errors
    ///
    /// When no entry is free; the error holds the page.
    #[inline]
    pub fn lend(
        &self,
        page: Page,
        peer: Domid,
        access: Access,
    ) -> Result<Grant<'_>, TableFullError> {
        match self.slot() {
            Some(slot) => Ok(slot.lend(page, peer, access)),
            None => Err(TableFullError(page)),
        }
    }

    #[inline]
    fn entry(&self, reference: GrantRef) -> Option<GrantEntryV1<'_>> {
        if reference / ENTRIES >= self.frames() {
            return None;
        }
        // SAFETY: the table's pages lie in a row, so its entries do as well, and the entry is in
        // one of those that are mapped.
        let place = unsafe { self.pages.cast::<raw::GrantEntryV1>().add(reference as usize) };
        // SAFETY: the page is mapped, as long as the table lives, and touched by such handles only.
        Some(unsafe { GrantEntryV1::from_ptr(place) })
    }

    /// Where a page of the table is, or is to be.
    fn page(&self, index: u32) -> NonNull<raw::GrantTableV1Page> {
        let place = self.pages.as_ptr().wrapping_add(index as usize);
        // There is room for all pages below the capacity, so the pointer cannot wrap to null.
        NonNull::new(place).unwrap_or(self.pages)
    }
}

impl fmt::Debug for GrantTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantTable")
            .field("frames", &self.frames())
            .field("capacity", &self.capacity)
            .field("references", &self.references)
            .finish()
    }
}
