//! The conversion of a counter's ticks to nanoseconds.

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns the shift and the multiplier that convert ticks of a frequency to nanoseconds.
pub(crate) fn scale(frequency: u64) -> (i8, u32) {
    let mut shift = 0;
    let mut ticks = frequency;
    // The multiplier is a fraction below one that uses all its bits.
    while ticks > 2 * NANOS_PER_SECOND {
        ticks >>= 1;
        shift -= 1;
    }
    while ticks <= NANOS_PER_SECOND {
        ticks <<= 1;
        shift += 1;
    }
    (shift, ((u128::from(NANOS_PER_SECOND) << u32::BITS) / u128::from(ticks)) as u32)
}

#[cfg(test)]
mod tests {
    use super::scale;
    use xen_hal::clock;

    #[test]
    fn a_second_of_ticks_is_a_second_of_nanoseconds() {
        for frequency in [
            1_000_000,
            62_500_000,
            999_999_999,
            1_000_000_000,
            1_000_000_001,
            2_599_998_000,
            5_100_000_000,
        ] {
            let (shift, mul) = scale(frequency);
            let second = clock::scale(frequency as i64, mul, shift);
            assert!((999_999_990..=1_000_000_000).contains(&second), "{frequency}: {second}");
        }
    }
}
