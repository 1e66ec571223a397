//! From counter ticks to nanoseconds, in integers that hold for any input.

/// `delta` ticks in nanoseconds: shifted left by `shift` bits (right when it is negative), times
/// `mul` over 2^32.
///
/// This is the arithmetic that Xen's own side uses: the shifted count wraps at 64 bits, the product
/// is taken to 96 bits, and what lies beyond the low 64 bits of the quotient is lost. A shift of 64
/// or more in either direction leaves nothing.
#[inline]
#[must_use]
pub const fn scale(delta: u64, mul: u32, shift: i8) -> u64 {
    let (left, right) = (shift as u8, shift.wrapping_neg() as u8);
    let ticks = if left < 64 {
        delta << left
    } else if right < 64 {
        delta >> right
    } else {
        0
    };
    times(ticks, mul)
}

/// `ticks` times `mul` over 2^32, without the bits beyond the low 64.
#[inline]
const fn times(ticks: u64, mul: u32) -> u64 {
    if usize::BITS < u64::BITS {
        // Two products of 32 by 32 bits: a 32-bit target has no instruction for more.
        let high = (ticks >> 32) * mul as u64;
        let low = (ticks & 0xffff_ffff) * mul as u64;
        high.wrapping_add(low >> 32)
    } else {
        ((ticks as u128 * mul as u128) >> 32) as u64
    }
}

/// The counter's rate in ticks a second that the pair stands for; `None` while `mul` is 0 (Xen has
/// not written the block yet), and for a rate of 2^64 or more.
#[must_use]
pub const fn frequency(mul: u32, shift: i8) -> Option<u64> {
    if mul == 0 {
        return None;
    }
    let unshifted = ((NANOS_PER_SECOND as u128) << 32) / mul as u128;
    let bits = shift.unsigned_abs() as u32;
    let rate = if shift >= 0 {
        unshifted >> bits
    } else if bits > unshifted.leading_zeros() {
        return None;
    } else {
        unshifted << bits
    };
    if rate > u64::MAX as u128 { None } else { Some(rate as u64) }
}

/// Nanoseconds in a second.
pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// `ticks` of a counter that runs at `frequency` ticks a second, in nanoseconds; wraps after 584
/// years, and is 0 for a frequency of 0.
#[inline]
#[must_use]
pub const fn ticks_to_nanos(ticks: u64, frequency: u64) -> u64 {
    match (ticks as u128 * NANOS_PER_SECOND as u128).checked_div(frequency as u128) {
        Some(nanos) => nanos as u64,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same in 128 bits, as the header writes it down.
    fn model(delta: u64, mul: u32, shift: i8) -> u64 {
        let shifted = match shift {
            64.. | ..=-64 => 0,
            0..64 => delta << shift,
            _ => delta >> -shift,
        };
        ((u128::from(shifted) * u128::from(mul)) >> 32) as u64
    }

    proptest! {
        #[test]
        fn scaling_is_the_128_bit_arithmetic(delta: u64, mul: u32) {
            for shift in i8::MIN..=i8::MAX {
                prop_assert_eq!(scale(delta, mul, shift), model(delta, mul, shift));
            }
        }

        #[test]
        fn a_second_of_ticks_is_a_second(mul in 1_u32 << 30.., shift in -2_i8..=2) {
            let ticks = frequency(mul, shift).unwrap();
            let nanos = scale(ticks, mul, shift);
            // Each division rounds down once; a tick is at most 16 ns at these scales.
            prop_assert!((NANOS_PER_SECOND - 17..=NANOS_PER_SECOND).contains(&nanos), "{nanos}");
        }

        #[test]
        fn any_pair_has_a_rate_or_none(mul: u32, shift: i8) {
            prop_assert_eq!(frequency(mul, shift).is_none(), mul == 0 || beyond(mul, shift));
        }
    }

    /// Whether the rate needs more than 64 bits, told by its size in floating point with room to
    /// spare.
    fn beyond(mul: u32, shift: i8) -> bool {
        (u128::from(NANOS_PER_SECOND) << 32)
            .checked_div(u128::from(mul))
            .is_some_and(|rate| shift < 0 && rate.ilog2() + u32::from(shift.unsigned_abs()) >= 64)
    }

    #[test]
    fn known_rates() {
        // 2.5 GHz: 0.4 ns a tick.
        let mul = 0x6666_6666;
        assert_eq!(frequency(mul, 0), Some(2_500_000_000));
        assert_eq!(frequency(0, 0), None);
        assert_eq!(frequency(1, -128), None);
        assert_eq!(scale(5, mul, 0), 1);
        assert_eq!(scale(u64::MAX, u32::MAX, 127), 0);
    }

    #[test]
    fn the_architected_counter() {
        assert_eq!(ticks_to_nanos(62_500_000, 62_500_000), NANOS_PER_SECOND);
        assert_eq!(ticks_to_nanos(u64::MAX, 0), 0);
    }
}
