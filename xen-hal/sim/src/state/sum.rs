//! A sum that differs where what went into it did, or the order (FNV-1a).

/// The sum of what went into it so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Of nothing.
    pub(crate) const NOTHING: Self = Self(0xcbf2_9ce4_8422_2325);

    #[must_use]
    pub(crate) const fn with(self, word: u64) -> Self {
        Self((self.0 ^ word).wrapping_mul(0x0100_0000_01b3))
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn the_sums_are_those_of_fnv_1a() {
        // From the published test vectors for 64 bits: the empty text, "a" and "foobar".
        let sum =
            |text: &str| text.bytes().fold(Sum::NOTHING, |sum, byte| sum.with(byte.into())).value();
        assert_eq!(
            [sum(""), sum("a"), sum("foobar")],
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]
        );
    }
}
