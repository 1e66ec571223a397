//! The domain's feature flags as a set.

use core::fmt;

use xen_pac::features::{Feature, XENFEAT_NR_SUBMAPS};

/// How many words of flags there are.
pub(super) const WORDS: usize = XENFEAT_NR_SUBMAPS as usize;

/// The feature flags that Xen reports to this domain.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Features([u32; WORDS]);

impl Features {
    /// The set whose flag n is bit n % 32 of word n / 32.
    #[must_use]
    pub const fn from_words(words: [u32; WORDS]) -> Self {
        Self(words)
    }

    /// Whether the domain has a feature. One that this crate does not know can be asked for by its
    /// number.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        let (word, bit) = (feature.0 / u32::BITS, feature.0 % u32::BITS);
        self.0.get(word as usize).is_some_and(|word| word >> bit & 1 != 0)
    }

    /// The features that the domain has, known or not, by number.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        (0..u32::BITS * XENFEAT_NR_SUBMAPS).map(Feature).filter(move |feature| self.has(*feature))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_flag_is_found_by_its_number() {
        let set = Features::from_words([1 << 8 | 1 << 31]);
        assert!(set.has(Feature::HVM_CALLBACK_VECTOR) && set.has(Feature(31)));
        assert!(!set.has(Feature::HVM_SAFE_PVCLOCK));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Feature::HVM_CALLBACK_VECTOR, Feature(31)]);
    }

    #[test]
    fn a_flag_beyond_the_words_is_not_there() {
        assert!(!Features::from_words([u32::MAX]).has(Feature(32)));
        assert!(!Features::from_words([u32::MAX]).has(Feature(u32::MAX)));
    }
}
