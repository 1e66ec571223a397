//! Random numbers from a seed. No library's generator is used, because a seed must give the same
//! run in every release of this crate.

/// The generator SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The product's upper half is as evenly spread as the number itself.
        ((u128::from(self.next()) * bound as u128) >> u64::BITS) as usize
    }

    /// Returns true once in `often` times on average; never for 0. If the answer is certain, draws
    /// no number, so that a rate of 0 changes no other choice.
    pub(crate) fn once_in(&mut self, often: u32) -> bool {
        match often {
            0 => false,
            1 => true,
            often => self.below(often as usize) == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_equal_those_of_the_reference_implementation() {
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn bounds_hold_and_chances_are_fair() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.below(7) < 7));
        let hits = (0..80_000).filter(|_| random.once_in(8)).count();
        assert!((9_000..11_000).contains(&hits), "{hits}");
        assert!(!random.once_in(0) && random.once_in(1));
    }
}
