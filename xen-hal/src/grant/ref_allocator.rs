//! Which entries of the grant table are free.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use xen_pac::grant_table::{GNTTAB_NR_RESERVED_ENTRIES, GrantRef};

/// The free references of a grant table, in a bitmap that the caller provides: one bit for each
/// entry.
///
/// Any number of vCPUs may take references and give them back at once, interrupt handlers included:
/// each step is one atomic operation, and nobody waits for anybody. The
/// [reserved](GNTTAB_NR_RESERVED_ENTRIES) entries are never handed out.
///
/// ```
/// use core::sync::atomic::AtomicU32;
/// use xen_hal::grant::GrantRefAllocator;
///
/// let mut words = [const { AtomicU32::new(0) }; 1];
/// let references = GrantRefAllocator::new(&mut words);
/// assert_eq!(references.take(), None); // the table has no entries yet
/// references.extend(512); // a page of them, of which the bitmap holds 32
/// let first = references.take().unwrap();
/// assert_eq!(first, 8);
/// assert_eq!(references.free(first), Ok(()));
/// assert!(references.free(first).is_err());
/// ```
pub struct GrantRefAllocator<'s> {
    /// A bit that is set stands for an entry that is free.
    words: &'s [AtomicU32],
    /// The first entry that was never made available.
    limit: AtomicU32,
    /// The word at which the next search begins.
    start: AtomicUsize,
}

/// A reference was given back that is not taken: it is free, reserved, or beyond the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTakenError(pub GrantRef);

impl fmt::Display for NotTakenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant reference {} is not taken", self.0)
    }
}

impl core::error::Error for NotTakenError {}

impl<'s> GrantRefAllocator<'s> {
    /// A bitmap that has no free references yet, whatever the words held.
    #[must_use]
    pub fn new(words: &'s mut [AtomicU32]) -> Self {
        words.iter_mut().for_each(|word| *word.get_mut() = 0);
        Self {
            words,
            limit: AtomicU32::new(GNTTAB_NR_RESERVED_ENTRIES),
            start: AtomicUsize::new(0),
        }
    }

    /// How many entries the bitmap can tell of, reserved ones included.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.words.len()).unwrap_or(u32::MAX).saturating_mul(u32::BITS)
    }

    /// Makes the references below `entries` available, except those that were before; the bitmap's
    /// end is a bound too. Nothing is ever taken away.
    pub fn extend(&self, entries: u32) {
        let end = entries.min(self.capacity());
        // Of two that extend at once, each gets a range of its own.
        let begin = self.limit.fetch_max(end, Ordering::Relaxed);
        for (word, first) in self.words.iter().zip((0..=u32::MAX).step_by(u32::BITS as usize)) {
            let bits = below(end.saturating_sub(first)) & !below(begin.saturating_sub(first));
            if bits != 0 {
                word.fetch_or(bits, Ordering::Release);
            }
        }
    }

    /// Takes a reference; `None` when none is free.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<GrantRef> {
        let (words, length) = (self.words, self.words.len());
        let mut index = self.start.load(Ordering::Relaxed);
        for _ in 0..length {
            let word = words.get(index)?;
            if let Some(bit) = take_bit(word) {
                self.start.store(index, Ordering::Relaxed);
                return Some((index as u32).wrapping_mul(u32::BITS).wrapping_add(bit));
            }
            index = index.wrapping_add(1);
            if index == length {
                index = 0;
            }
        }
        None
    }

    /// Gives a reference back, whose entry holds nothing any more.
    ///
    /// # Errors
    ///
    /// For a reference that is not taken.
    #[inline]
    pub fn free(&self, reference: GrantRef) -> Result<(), NotTakenError> {
        let known =
            (GNTTAB_NR_RESERVED_ENTRIES..self.limit.load(Ordering::Relaxed)).contains(&reference);
        let word = self
            .words
            .get((reference / u32::BITS) as usize)
            .filter(|_| known)
            .ok_or(NotTakenError(reference))?;
        let bit = 1 << (reference % u32::BITS);
        // Release: whoever takes the reference next must see the entry as it was left.
        if word.fetch_or(bit, Ordering::Release) & bit == 0 {
            Ok(())
        } else {
            Err(NotTakenError(reference))
        }
    }

    /// How many references are free at the moment.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.words.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }
}

impl fmt::Debug for GrantRefAllocator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GrantRefAllocator({} of {} free)",
            self.available(),
            self.limit.load(Ordering::Relaxed)
        )
    }
}

/// A word whose lowest `count` bits are set.
const fn below(count: u32) -> u32 {
    match 1_u32.checked_shl(count) {
        Some(bit) => bit.wrapping_sub(1),
        None => u32::MAX,
    }
}

/// Clears one of the word's bits, and tells which.
#[inline]
fn take_bit(word: &AtomicU32) -> Option<u32> {
    let mut free = word.load(Ordering::Relaxed);
    while free != 0 {
        match word.compare_exchange_weak(
            free,
            free & free.wrapping_sub(1),
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            Ok(_) => return Some(free.trailing_zeros()),
            Err(now) => free = now,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicBool;
    use std::vec::Vec;
    use std::{thread, vec};

    #[derive(Clone, Debug)]
    enum Step {
        Extend(u32),
        Take,
        GiveBack(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..400_u32).prop_map(Step::Extend),
            1 => Just(Step::Extend(u32::MAX)),
            12 => Just(Step::Take),
            6 => (0..300_u32).prop_map(Step::GiveBack),
        ]
    }

    fn storage(words: usize) -> Vec<AtomicU32> {
        (0..words).map(|_| AtomicU32::new(u32::MAX)).collect()
    }

    proptest! {
        #[test]
        fn it_does_what_two_sets_do(words in 0..8_usize, steps in prop::collection::vec(step(), 0..300)) {
            let mut storage = storage(words);
            let references = GrantRefAllocator::new(&mut storage);
            let (mut free, mut taken, mut limit) = (BTreeSet::new(), BTreeSet::new(), GNTTAB_NR_RESERVED_ENTRIES);
            for step in steps {
                match step {
                    Step::Extend(entries) => {
                        references.extend(entries);
                        let end = entries.min(words as u32 * 32);
                        free.extend(limit..end);
                        limit = limit.max(end);
                    }
                    Step::Take => match references.take() {
                        Some(reference) => {
                            prop_assert!(reference >= 8 && free.remove(&reference), "{reference} was not free");
                            taken.insert(reference);
                        }
                        None => prop_assert!(free.is_empty()),
                    },
                    Step::GiveBack(reference) => {
                        let was_taken = taken.remove(&reference);
                        prop_assert_eq!(references.free(reference).is_ok(), was_taken);
                        if was_taken {
                            free.insert(reference);
                        }
                    }
                }
                prop_assert_eq!(references.available() as usize, free.len());
            }
        }
    }

    #[test]
    fn a_reference_has_one_holder_at_a_time() {
        let mut storage = storage(2);
        let references = GrantRefAllocator::new(&mut storage);
        let held: Vec<AtomicBool> = (0..64).map(|_| AtomicBool::new(false)).collect();
        let work = |seed: usize| {
            for round in 0..20_000 {
                if round == seed * 100 {
                    references.extend(20 + 20 * seed as u32);
                }
                let mine: Vec<_> =
                    (0..1 + (round + seed) % 9).filter_map(|_| references.take()).collect();
                for reference in &mine {
                    assert!(
                        !held[*reference as usize].swap(true, Ordering::Relaxed),
                        "{reference} has two holders"
                    );
                }
                for reference in mine {
                    held[reference as usize].store(false, Ordering::Relaxed);
                    references.free(reference).unwrap();
                }
            }
        };
        thread::scope(|scope| (0..3).for_each(|seed| drop(scope.spawn(move || work(seed)))));
        assert_eq!(references.available(), 60 - 8);
    }

    #[test]
    fn what_the_storage_held_does_not_matter() {
        let mut storage = vec![AtomicU32::new(0xdead_beef)];
        assert_eq!(GrantRefAllocator::new(&mut storage).take(), None);
    }
}
