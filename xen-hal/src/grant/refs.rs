//! Allocates the references of a grant table.

use core::fmt;
use core::ptr;

use xen_pac::grant_table::{GNTTAB_NR_RESERVED_ENTRIES, GrantTableV1Page};

use super::GrantRef;
use crate::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// The number of entries in a page of the table.
pub(super) const ENTRIES: u32 = GrantTableV1Page::ENTRIES_COUNT as u32;

/// The number of words for a page of the table.
const WORDS: usize = (ENTRIES / u32::BITS) as usize;

/// The storage of one [`GrantTable`](super::GrantTable) of up to `PAGES` pages: it records which
/// references are free. It is usually a `static`.
///
/// vCPUs and interrupt handlers may allocate and free references concurrently: it is lock-free. The
/// [reserved](GNTTAB_NR_RESERVED_ENTRIES) entries are never allocated.
///
/// ```
/// use xen_hal::grant::GrantRefAllocator;
///
/// static REFS: GrantRefAllocator<4> = GrantRefAllocator::new();
/// assert_eq!(REFS.available(), 0); // no page of the table is mapped yet
/// ```
pub struct GrantRefAllocator<const PAGES: usize> {
    head: Head,
    words: [[Word; WORDS]; PAGES],
}

/// The state of the table, without its entries.
pub(super) struct Head {
    /// The number of mapped pages.
    mapped: AtomicU32,
    /// The number of pages whose references were made available. After a restore, these are mapped
    /// again.
    extended: AtomicU32,
    /// Set while a vCPU is mapping pages.
    growing: AtomicBool,
    /// The word at which the next search starts.
    start: AtomicUsize,
}

/// The references of 32 entries, one bit for each.
pub(super) struct Word {
    /// Set if the entry is free.
    free: AtomicU32,
    /// Set if the entry's grant was deferred or dropped while the peer used the page.
    deferred: AtomicU32,
}

impl<const PAGES: usize> GrantRefAllocator<PAGES> {
    /// Creates the storage of a table that is not mapped yet.
    #[must_use]
    pub const fn new() -> Self {
        let head = Head {
            mapped: AtomicU32::new(0),
            extended: AtomicU32::new(0),
            growing: AtomicBool::new(false),
            start: AtomicUsize::new(0),
        };
        Self { head, words: [const { [const { Word::new() }; WORDS] }; PAGES] }
    }

    /// Returns the number of free references.
    #[must_use]
    pub fn available(&'static self) -> u32 {
        self.refs().available()
    }

    /// Records that the table is no longer mapped because the domain was restored. The next
    /// [`GrantTable::map`](super::GrantTable::map) maps all of its pages again.
    ///
    /// # Safety
    ///
    /// The domain must have been restored since the table was mapped. Until the table is mapped
    /// again, no value made from it may be used or dropped.
    pub unsafe fn table_lost(&'static self) {
        self.refs().table_lost();
    }

    pub(super) fn refs(&'static self) -> Refs {
        Refs { head: &self.head, words: self.words.as_flattened() }
    }
}

impl<const PAGES: usize> Default for GrantRefAllocator<PAGES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PAGES: usize> fmt::Debug for GrantRefAllocator<PAGES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantRefAllocator({PAGES} pages)")
    }
}

/// An allocator of any size.
#[derive(Clone, Copy)]
pub(super) struct Refs {
    head: &'static Head,
    words: &'static [Word],
}

/// Holds the right to map pages of the table.
pub(super) struct Growing(&'static Head);

impl Refs {
    /// Returns the number of pages that the table can have.
    pub(super) fn capacity(self) -> u32 {
        u32::try_from(self.words.len() / WORDS).unwrap_or(u32::MAX)
    }

    /// Returns the number of mapped pages of the table.
    #[inline]
    pub(super) fn mapped(self) -> u32 {
        self.head.mapped.load(Ordering::Acquire)
    }

    /// Records that no page of the table is mapped.
    pub(super) fn table_lost(self) {
        self.head.mapped.store(0, Ordering::Release);
    }

    /// Returns the number of pages of the table that have been mapped, also before a restore.
    pub(super) fn extended(self) -> u32 {
        self.head.extended.load(Ordering::Relaxed)
    }

    /// Returns `None` while another vCPU is mapping pages.
    pub(super) fn start_growing(self) -> Option<Growing> {
        let busy = self.head.growing.swap(true, Ordering::Acquire);
        (!busy).then(|| Growing(self.head))
    }

    /// Makes the references of the newly mapped page `index` available.
    ///
    /// If they already were, the domain was restored. The new table grants no page, so deferred
    /// references are free.
    pub(super) fn extend(self, _: &Growing, index: u32) {
        let new = index >= self.extended();
        let reserved = if index == 0 { below(GNTTAB_NR_RESERVED_ENTRIES) } else { 0 };
        self.head.mapped.store(index.saturating_add(1), Ordering::Release);
        let words = self.words.chunks_exact(WORDS).nth(index as usize).unwrap_or_default();
        for (at, word) in words.iter().enumerate() {
            let bits = if !new {
                // No other vCPU defers a grant before the table is mapped again.
                word.deferred.swap(0, Ordering::Relaxed)
            } else if at == 0 {
                !reserved
            } else {
                u32::MAX
            };
            word.free.fetch_or(bits, Ordering::Release);
        }
        self.head.extended.fetch_max(index.saturating_add(1), Ordering::Relaxed);
    }

    /// Allocates a reference from the word of the last search, if it has a free one. Returns it
    /// with that word, which can free it.
    #[inline(always)]
    pub(super) fn try_alloc(self) -> Option<(&'static Word, GrantRef)> {
        let index = self.head.start.load(Ordering::Relaxed);
        // Compares first: at opt-level `s`, `get` alone computes two pointers to the word.
        if index >= self.words.len() {
            return None;
        }
        let word = self.words.get(index)?;
        let bit = word.take()?;
        Some((word, reference(index, bit)))
    }

    /// Allocates a reference from any word. Returns it with its word, which can free it.
    #[cold]
    pub(super) fn alloc(self) -> Option<(&'static Word, GrantRef)> {
        let start = self.head.start.load(Ordering::Relaxed);
        let (before, after) = self.words.split_at_checked(start)?;
        let words = after.iter().zip(start..).chain(before.iter().zip(0..));
        for (word, index) in words {
            if let Some(bit) = word.take() {
                self.head.start.store(index, Ordering::Relaxed);
                return Some((word, reference(index, bit)));
            }
        }
        None
    }

    /// Calls `withdraw` for each deferred reference, and frees those for which it succeeds. Returns
    /// their number.
    pub(super) fn reclaim(self, mut withdraw: impl FnMut(GrantRef) -> bool) -> u32 {
        let mut reclaimed = 0_u32;
        for (word, index) in self.words.iter().zip(0..) {
            let mut left = word.deferred.load(Ordering::Relaxed);
            while left != 0 {
                let bit = left & left.wrapping_neg();
                left &= !bit;
                // Among several vCPUs, the one that clears the bit handles the reference.
                if word.deferred.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
                    continue;
                }
                let withdrawn = withdraw(reference(index, bit.trailing_zeros()));
                let set = if withdrawn { &word.free } else { &word.deferred };
                set.fetch_or(bit, Ordering::Release);
                reclaimed = reclaimed.saturating_add(withdrawn.into());
            }
        }
        reclaimed
    }

    /// True if the word holds the reference.
    pub(super) fn owns(self, word: &Word, reference: GrantRef) -> bool {
        let index = (reference.0 / u32::BITS) as usize;
        self.words.get(index).is_some_and(|own| ptr::eq(own, word))
    }

    pub(super) fn available(self) -> u32 {
        self.words.iter().map(|word| word.free.load(Ordering::Relaxed).count_ones()).sum()
    }
}

impl Word {
    const fn new() -> Self {
        Self { free: AtomicU32::new(0), deferred: AtomicU32::new(0) }
    }

    /// Frees a reference whose entry no longer grants a page.
    #[inline(always)]
    pub(super) fn free(&self, reference: GrantRef) {
        // Release: the next owner must see the entry's final content.
        self.free.fetch_or(bit(reference), Ordering::Release);
    }

    /// Defers a reference to [`Refs::reclaim`]: the peer may still use the page of its entry.
    pub(super) fn defer(&self, reference: GrantRef) {
        self.deferred.fetch_or(bit(reference), Ordering::Release);
    }

    /// Clears one of the set bits and returns its index.
    #[inline(always)]
    fn take(&self) -> Option<u32> {
        let mut free = self.free.load(Ordering::Relaxed);
        while free != 0 {
            let rest = free & free.wrapping_sub(1);
            match self.free.compare_exchange_weak(free, rest, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(free.trailing_zeros()),
                Err(now) => free = now,
            }
        }
        None
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        self.0.growing.store(false, Ordering::Release);
    }
}

#[inline(always)]
const fn reference(index: usize, bit: u32) -> GrantRef {
    GrantRef((index as u32).wrapping_mul(u32::BITS).wrapping_add(bit))
}

/// Returns the bit of a reference in its word.
#[inline(always)]
const fn bit(reference: GrantRef) -> u32 {
    1 << (reference.0 % u32::BITS)
}

/// Returns a word whose lowest `count` bits are set.
const fn below(count: u32) -> u32 {
    match 1_u32.checked_shl(count) {
        Some(bit) => bit.wrapping_sub(1),
        None => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::vec::Vec;

    const PAGES: usize = 2;
    const ALL: u32 = PAGES as u32 * ENTRIES;

    fn allocator() -> &'static GrantRefAllocator<PAGES> {
        Box::leak(Box::new(GrantRefAllocator::new()))
    }

    fn extend(refs: Refs, index: u32) {
        let growing = refs.start_growing().expect("no other thread maps pages");
        refs.extend(&growing, index);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Extend,
        Take(usize),
        Free(usize),
        Defer(usize),
        Reclaim,
        Restore,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Extend),
            6 => (0..300_usize).prop_map(Step::Take),
            3 => any::<usize>().prop_map(Step::Free),
            3 => any::<usize>().prop_map(Step::Defer),
            2 => Just(Step::Reclaim),
            1 => Just(Step::Restore),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_does_what_three_sets_do(steps in prop::collection::vec(step(), 0..60)) {
            let allocator = allocator();
            let refs = allocator.refs();
            let (mut free, mut deferred) = (BTreeSet::new(), BTreeSet::new());
            let mut taken: Vec<(&Word, GrantRef)> = Vec::new();
            for step in steps {
                match step {
                    Step::Extend if refs.mapped() < PAGES as u32 => {
                        let page = refs.mapped();
                        extend(refs, page);
                        let reserved = if page == 0 { GNTTAB_NR_RESERVED_ENTRIES } else { 0 };
                        let first = page * ENTRIES + reserved;
                        free.extend(first..(page + 1) * ENTRIES);
                    }
                    Step::Extend => (),
                    Step::Take(count) => for _ in 0..count {
                        match refs.alloc() {
                            Some((word, mine)) => {
                                prop_assert!(free.remove(&mine.0), "{mine} was not free");
                                prop_assert!(refs.owns(word, mine));
                                taken.push((word, mine));
                            }
                            None => prop_assert!(free.is_empty()),
                        }
                    },
                    Step::Free(which) => if let Some(index) = which.checked_rem(taken.len()) {
                        let (word, mine) = taken.swap_remove(index);
                        word.free(mine);
                        free.insert(mine.0);
                    },
                    Step::Defer(which) => if let Some(index) = which.checked_rem(taken.len()) {
                        let (word, mine) = taken.swap_remove(index);
                        word.defer(mine);
                        deferred.insert(mine.0);
                    },
                    Step::Reclaim => {
                        // The peers no longer use the even ones.
                        let mut asked = BTreeSet::new();
                        let count = refs.reclaim(|reference| {
                            asked.insert(reference.0);
                            reference.0 % 2 == 0
                        });
                        prop_assert_eq!(&asked, &deferred);
                        let (even, odd): (BTreeSet<u32>, _) =
                            deferred.iter().partition(|reference| *reference % 2 == 0);
                        prop_assert_eq!(count as usize, even.len());
                        free.extend(even);
                        deferred = odd;
                    }
                    Step::Restore => {
                        // SAFETY: there is no table.
                        unsafe { allocator.table_lost() };
                        (0..refs.extended()).for_each(|page| extend(refs, page));
                        free.append(&mut deferred);
                    }
                }
                prop_assert_eq!(allocator.available() as usize, free.len());
            }
        }
    }

    #[test]
    fn a_reference_has_one_holder_at_a_time() {
        let refs = allocator().refs();
        let held: Vec<AtomicBool> = (0..ALL).map(|_| AtomicBool::new(false)).collect();
        extend(refs, 0);
        let work = |seed: usize| {
            for round in 0..20_000 {
                if (seed, round) == (1, 100) {
                    extend(refs, 1);
                }
                let mine: Vec<_> =
                    (0..1 + (round + seed) % 9).filter_map(|_| refs.alloc()).collect();
                for (_, reference) in &mine {
                    let was_held = held[reference.0 as usize].swap(true, Ordering::Relaxed);
                    assert!(!was_held, "{reference} has two holders");
                }
                for (word, reference) in mine {
                    held[reference.0 as usize].store(false, Ordering::Relaxed);
                    if round % 7 == 0 {
                        word.defer(reference);
                        refs.reclaim(|_| true);
                    } else {
                        word.free(reference);
                    }
                }
            }
        };
        thread::scope(|scope| (0..3).for_each(|seed| drop(scope.spawn(move || work(seed)))));
        refs.reclaim(|_| true);
        assert_eq!(refs.available(), ALL - 8);
    }

    #[test]
    fn a_reference_is_reclaimed_once_for_its_own_table() {
        let refs = allocator().refs();
        extend(refs, 0);
        for _ in 0..2 {
            let (word, reference) = refs.alloc().unwrap();
            assert!(!allocator().refs().owns(word, reference));
            word.defer(reference);
        }
        // While the first one is checked, another vCPU reclaims the second one.
        let mut others = 0;
        let own = refs.reclaim(|_| {
            others += refs.reclaim(|_| true);
            true
        });
        assert_eq!((own, others), (1, 1));
    }

    #[test]
    fn one_vcpu_at_a_time_maps_pages() {
        let refs = allocator().refs();
        let first = refs.start_growing();
        assert!(first.is_some());
        assert!((0..2).all(|_| refs.start_growing().is_none()));
        drop(first);
        assert!(refs.start_growing().is_some());
    }
}
