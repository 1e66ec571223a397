//! The grant table of this domain.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, raw};

use super::lend::{Allocated, withdraw};
use super::refs::{ENTRIES, GrantRefAllocator, Refs, Word};
use super::{Access, DeferredGrant, Grant, GrantError, GrantRef, GrantSlot, Grants, Page};
use crate::atomic::Ordering;
use crate::hypercall::Hypercall;
use crate::memory::Memory;
use crate::platform::AddressSpace;

/// The grant table of this domain, in version 1, which stays mapped for `'t`.
///
/// It is a `Copy` handle: copies refer to the same table, and a [`Grant`] does not borrow it.
/// Several vCPUs can call all methods at the same time.
#[derive(Clone, Copy)]
pub struct GrantTable<'t, H, A> {
    xen: H,
    space: A,
    /// The first page; the others follow it.
    pages: NonNull<raw::GrantTableV1Page>,
    /// A reference is free only if the page of its entry is mapped.
    refs: Refs,
    mapped: PhantomData<&'t ()>,
}

// SAFETY: only handles, which any thread may use, access the table's entries. The rest is atomic,
// or belongs to the backend or the address space.
unsafe impl<H: Send, A: Send> Send for GrantTable<'_, H, A> {}
// SAFETY: as above.
unsafe impl<H: Sync, A: Sync> Sync for GrantTable<'_, H, A> {}

/// The address at which a grant table is mapped, and its storage.
#[derive(Clone, Copy)]
pub struct GrantTablePlace {
    pages: NonNull<raw::GrantTableV1Page>,
    refs: Refs,
    frames: u32,
}

// SAFETY: only the table's handles, which any thread may use, access the pages.
unsafe impl Send for GrantTablePlace {}
// SAFETY: as above.
unsafe impl Sync for GrantTablePlace {}

impl GrantTablePlace {
    /// Creates the place of a table's first `frames` pages, which start at `pages`. `refs` is the
    /// table's storage.
    #[must_use]
    pub fn new<const PAGES: usize>(
        pages: NonNull<raw::GrantTableV1Page>,
        refs: &'static GrantRefAllocator<PAGES>,
        frames: u32,
    ) -> Self {
        // Xen and peers change the entries.
        pages.as_ptr().expose_provenance();
        Self { pages, refs: refs.refs(), frames }
    }

    /// Records that the table is no longer mapped.
    ///
    /// # Safety
    ///
    /// As for [`GrantRefAllocator::table_lost`].
    pub(crate) unsafe fn table_lost(&self) {
        self.refs.table_lost();
    }
}

impl fmt::Debug for GrantTablePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantTablePlace({:p}, {} pages)", self.pages, self.frames)
    }
}

/// A page was not granted. Holds the page.
#[derive(Debug)]
#[non_exhaustive]
pub struct LendError {
    /// The page.
    pub page: Page,
    /// True if the table is lost, false if it is full. A flag costs one instruction less than a
    /// [`GrantError`].
    lost: bool,
}

impl LendError {
    /// Returns the reason: [`GrantError::Full`], or [`GrantError::TableLost`].
    #[must_use]
    pub const fn error(&self) -> GrantError {
        if self.lost { GrantError::TableLost } else { GrantError::Full }
    }
}

impl fmt::Display for LendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl core::error::Error for LendError {}

impl<'t, H: Hypercall, A: AddressSpace> GrantTable<'t, H, A> {
    /// Maps the first `frames` pages of the table at `pages`. After a restore, maps at least as
    /// many pages as before. `refs` records which references are free. The table can
    /// [`grow`](Self::grow) to the pages that `refs` has room for; [`Grants::query_size`] returns
    /// Xen's limit.
    ///
    /// # Errors
    ///
    /// [`GrantError`]. The pages that were mapped before the error stay mapped, and the next call
    /// continues after them.
    ///
    /// # Safety
    ///
    /// For all of `'t`:
    /// - the guest's page tables map as many pages at `pages` as `refs` has room for, with the
    ///   caching of ordinary memory, and the pages hold no data in use: when the table is mapped
    ///   there, x86 frees the RAM at their frames, and on Arm the domain loses it;
    /// - the domain's grant table is mapped nowhere else, its version stays 1, other code uses only
    ///   its reserved entries, and `refs` belongs to no other table;
    /// - the domain is not restored.
    pub unsafe fn map<const PAGES: usize>(
        xen: H,
        space: A,
        pages: NonNull<raw::GrantTableV1Page>,
        refs: &'static GrantRefAllocator<PAGES>,
        frames: u32,
    ) -> Result<Self, GrantError> {
        // SAFETY: the caller's obligations are the same.
        unsafe { Self::map_at(xen, space, GrantTablePlace::new(pages, refs, frames)) }
    }

    /// Does the same as [`map`](Self::map), at a [`GrantTablePlace`].
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map).
    pub(crate) unsafe fn map_at(
        xen: H,
        space: A,
        place: GrantTablePlace,
    ) -> Result<Self, GrantError> {
        let version = Grants::new(&xen).version(Domid::SELF)?;
        if version > 1 {
            return Err(GrantError::Version(version));
        }
        let table = Self::at(xen, space, place);
        table.grow(place.frames.max(place.refs.extended()))?;
        Ok(table)
    }

    /// Grows the table to `frames` pages. Does nothing if the table already has them.
    ///
    /// # Errors
    ///
    /// [`GrantError`]. The table keeps the pages that were mapped before the error.
    pub fn grow(&self, frames: u32) -> Result<(), GrantError> {
        let memory = Memory::new(&self.xen);
        self.grow_by(frames, |index| {
            // `map` requires room for all pages below the capacity, so the pointer does not wrap to
            // null.
            let place = NonNull::new(self.pages.as_ptr().wrapping_add(index as usize));
            let place = place.unwrap_or(self.pages).cast();
            // SAFETY: `map` requires that this place is reserved and that the table is mapped
            // nowhere else.
            unsafe { memory.map_grant_frames(&self.space, place, index, 1) }.map_err(Into::into)
        })
    }
}

impl<'t, H, A> GrantTable<'t, H, A> {
    /// Returns the table at a place, with the pages that are mapped there.
    pub(crate) const fn at(xen: H, space: A, place: GrantTablePlace) -> Self {
        let GrantTablePlace { pages, refs, .. } = place;
        Self { xen, space, pages, refs, mapped: PhantomData }
    }

    /// Creates the table whose first `frames` pages another part of the program has mapped at
    /// `pages`.
    ///
    /// # Errors
    ///
    /// [`GrantError::Capacity`].
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map), and the first `frames` pages of the table, in version 1, are
    /// mapped contiguously at `pages`.
    pub unsafe fn mapped<const PAGES: usize>(
        xen: H,
        space: A,
        pages: NonNull<raw::GrantTableV1Page>,
        refs: &'static GrantRefAllocator<PAGES>,
        frames: u32,
    ) -> Result<Self, GrantError> {
        let table = Self::at(xen, space, GrantTablePlace::new(pages, refs, frames));
        table.grow_by(frames, |_| Ok(()))?;
        Ok(table)
    }

    fn grow_by(
        &self,
        frames: u32,
        map: impl Fn(u32) -> Result<(), GrantError>,
    ) -> Result<(), GrantError> {
        let capacity = self.refs.capacity();
        if frames > capacity {
            return Err(GrantError::Capacity { asked: frames, capacity });
        }
        // One vCPU at a time: mapping a page again unmaps it for a moment.
        let growing = self.refs.start_growing().ok_or(GrantError::Growing)?;
        for index in self.frames()..frames {
            map(index)?;
            self.refs.extend(&growing, index);
        }
        Ok(())
    }

    /// Returns the number of mapped pages of the table.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.refs.mapped()
    }

    /// Returns the number of free references.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.refs.available()
    }

    /// Allocates a free entry. If there is none, [reclaims](Self::reclaim) references first.
    ///
    /// Never uses an entry that other software, such as an earlier kernel, has published.
    ///
    /// # Errors
    ///
    /// [`GrantError::Full`]. [`GrantError::TableLost`] if the table is not mapped, because the
    /// domain was restored; the reference stays free.
    #[inline]
    pub fn slot(&self) -> Result<GrantSlot<'t>, GrantError> {
        match self.try_alloc() {
            Ok(entry) => Ok(GrantSlot::new(entry)),
            Err(taken) => self.alloc(taken).map(GrantSlot::new),
        }
    }

    /// Grants `page` to `peer` in a free entry.
    ///
    /// # Errors
    ///
    /// As for [`slot`](Self::slot). The error holds the page.
    #[inline]
    pub fn lend(&self, page: Page, peer: Domid, access: Access) -> Result<Grant<'t>, LendError> {
        match self.try_alloc() {
            Ok(entry) => Ok(entry.publish(page, peer, access)),
            Err(taken) => self.lend_slowly(taken, page, peer, access),
        }
    }

    #[cold]
    #[inline(never)]
    fn lend_slowly(
        &self,
        taken: Option<(&'static Word, GrantRef)>,
        page: Page,
        peer: Domid,
        access: Access,
    ) -> Result<Grant<'t>, LendError> {
        match self.alloc(taken) {
            Ok(entry) => Ok(entry.publish(page, peer, access)),
            Err(error) => Err(LendError { page, lost: error == GrantError::TableLost }),
        }
    }

    /// Allocates an entry from the word of the last allocation. If the entry is not free, returns
    /// its reference.
    #[inline(always)]
    fn try_alloc(&self) -> Result<Allocated<'t>, Option<(&'static Word, GrantRef)>> {
        let (word, reference) = self.refs.try_alloc().ok_or(None)?;
        let entry = self.entry(reference);
        if entry.flags().load(Ordering::Relaxed) == 0 {
            Ok(Allocated { entry, word, reference })
        } else {
            Err(Some((word, reference)))
        }
    }

    /// Allocates a free entry from any word. Checks the entry of the reference `taken` first.
    #[cold]
    fn alloc(
        &self,
        mut taken: Option<(&'static Word, GrantRef)>,
    ) -> Result<Allocated<'t>, GrantError> {
        loop {
            let (word, reference) = match taken.take().or_else(|| self.refs.alloc()) {
                Some(taken) => taken,
                None if self.reclaim() > 0 => continue,
                None => return Err(GrantError::Full),
            };
            let found = Allocated { entry: self.entry(reference), word, reference };
            match found.entry.flags().load(Ordering::Relaxed) {
                0 => return Ok(found),
                // Unmapped memory: no entry of version 1 has such flags.
                u16::MAX => {
                    found.free();
                    return Err(GrantError::TableLost);
                }
                // Other software has published it.
                _ => (),
            }
        }
    }

    /// Frees the references of dropped grants whose peer no longer uses the page. Returns their
    /// number.
    ///
    /// [`slot`](Self::slot) and [`lend`](Self::lend) do this if no reference is free.
    pub fn reclaim(&self) -> u32 {
        self.refs.reclaim(|reference| withdraw(self.entry(reference)))
    }

    /// Recovers the page of a [deferred](Grant::defer) grant and frees its reference, if the peer
    /// no longer uses the page or the domain was restored.
    ///
    /// # Errors
    ///
    /// Returns the grant if its page is in use, or if it is not from this table.
    pub fn recover(&self, deferred: DeferredGrant) -> Result<Page, DeferredGrant> {
        deferred.recover(|word, reference| {
            self.refs.owns(word, reference)
                && reference.0 / ENTRIES < self.frames()
                && withdraw(self.entry(reference))
        })
    }

    /// Returns the grant that was [deferred](Grant::defer), for example because the suspend before
    /// which it was deferred was cancelled. If the domain was restored instead, the peer no longer
    /// has the page: [`recover`](Self::recover) it.
    ///
    /// # Errors
    ///
    /// Returns the deferred grant if it is not from this table.
    pub fn resume(&self, deferred: DeferredGrant) -> Result<Grant<'t>, DeferredGrant> {
        deferred.resume(|word, reference| {
            let owned = self.refs.owns(word, reference) && reference.0 / ENTRIES < self.frames();
            owned.then(|| self.entry(reference))
        })
    }

    /// Returns the entry of a reference that was allocated from this table, so its page is mapped.
    #[inline(always)]
    fn entry(&self, reference: GrantRef) -> GrantEntryV1<'t> {
        // SAFETY: the pages are contiguous, so the entries are too, and the entry's page is one of
        // them.
        let place = unsafe { self.pages.cast::<raw::GrantEntryV1>().add(reference.0 as usize) };
        // SAFETY: the page is mapped for all of `'t`, and only such handles access it.
        unsafe { GrantEntryV1::from_ptr(place) }
    }
}

impl<H, A> fmt::Debug for GrantTable<'_, H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantTable")
            .field("frames", &self.frames())
            .field("capacity", &self.refs.capacity())
            .field("available", &self.available())
            .finish()
    }
}
