//! Hashes of a run and of memory.

/// The 64-bit FNV-1a hash of words: the same in every release of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fnv64(u64);

impl Fnv64 {
    /// The hash of an empty sequence.
    pub(crate) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    #[must_use]
    pub(crate) const fn with(self, word: u64) -> Self {
        Self((self.0 ^ word).wrapping_mul(0x0100_0000_01b3))
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// A hash over the steps of a run, and one over the steps since it was last taken. It differs if
/// the steps or their order differ.
#[derive(Clone, Debug)]
pub(crate) struct TraceHash {
    whole: Fnv64,
    part: Fnv64,
}

impl Default for TraceHash {
    fn default() -> Self {
        Self { whole: Fnv64::EMPTY, part: Fnv64::EMPTY }
    }
}

impl TraceHash {
    pub(crate) fn step(&mut self, words: &[u64]) {
        for word in words {
            self.whole = self.whole.with(*word);
            self.part = self.part.with(*word);
        }
    }

    pub(crate) const fn whole(&self) -> u64 {
        self.whole.value()
    }

    pub(crate) const fn take(&mut self) -> u64 {
        core::mem::replace(&mut self.part, Fnv64::EMPTY).value()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fnv64, TraceHash};

    #[test]
    fn hashes_equal_the_published_test_vectors() {
        let hash =
            |text: &str| text.bytes().fold(Fnv64::EMPTY, |hash, byte| hash.with(byte.into()));
        assert_eq!(
            [hash(""), hash("a"), hash("foobar")].map(Fnv64::value),
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]
        );
    }

    #[test]
    fn another_order_has_another_hash() {
        let after = |steps: [u64; 2]| {
            let mut trace = TraceHash::default();
            trace.step(&[steps[0]]);
            trace.step(&[steps[1]]);
            trace
        };
        let (mut one, other) = (after([1, 2]), after([2, 1]));
        assert_ne!(one.whole(), other.whole());
        let part = one.take();
        assert_eq!((part, one.whole()), (after([1, 2]).whole(), after([1, 2]).whole()));
        assert_eq!(one.take(), TraceHash::default().whole());
    }
}
