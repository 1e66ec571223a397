//! Converts ticks to nanoseconds, in integers, for any input.

use super::time::NANOS_PER_SECOND;

/// Converts a signed number of ticks to nanoseconds: shifts left by `shift` bits (right if it is
/// negative), multiplies by `mul` and divides by 2^32, rounding down.
///
/// Xen computes the same for a count that is not negative. The shifted count wraps at 64 bits, and
/// bits beyond the low 64 of the quotient are lost. A shift of 64 or more in either direction gives
/// 0.
#[inline]
#[must_use]
pub const fn scale(delta: i64, mul: u32, shift: i8) -> i64 {
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

/// Returns the low 64 bits of `ticks` times `mul` over 2^32.
#[inline]
const fn times(ticks: i64, mul: u32) -> i64 {
    if usize::BITS < u64::BITS {
        times_in_halves(ticks, mul)
    } else {
        ((ticks as i128 * mul as i128) >> 32) as i64
    }
}

/// Does the same as [`times`] with two multiplications of 32 by 32 bits, the widest that 32-bit
/// targets have.
#[inline]
const fn times_in_halves(ticks: i64, mul: u32) -> i64 {
    let high = (ticks >> 32) * mul as i64;
    let low = (ticks as u64 & 0xffff_ffff) * mul as u64;
    high.wrapping_add((low >> 32) as i64)
}

/// Returns the counter's rate in ticks per second. `None` if `mul` is 0 (Xen has not written the
/// block yet), and for a rate of 2^64 or more.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the formula of Xen's header, in 128 bits.
    fn model(delta: i64, mul: u32, shift: i8) -> i64 {
        let shifted = match shift {
            64.. | ..=-64 => 0,
            0..64 => delta << shift,
            _ => delta >> -shift,
        };
        (i128::from(shifted) * i128::from(mul)).div_euclid(1 << 32) as i64
    }

    proptest! {
        #[test]
        fn scaling_is_the_128_bit_arithmetic(delta: i64, mul: u32) {
            prop_assert_eq!(times_in_halves(delta, mul), model(delta, mul, 0));
            for shift in i8::MIN..=i8::MAX {
                prop_assert_eq!(scale(delta, mul, shift), model(delta, mul, shift));
            }
        }

        #[test]
        fn a_second_of_ticks_is_a_second(mul in 1_u32 << 30.., shift in -2_i8..=2) {
            let ticks = frequency(mul, shift).unwrap();
            let nanos = scale(ticks as i64, mul, shift) as u64;
            // Each division rounds down once; a tick is at most 16 ns at these scales.
            prop_assert!((NANOS_PER_SECOND - 17..=NANOS_PER_SECOND).contains(&nanos), "{nanos}");
        }

        #[test]
        fn any_pair_has_a_rate_or_none(mul: u32, shift: i8) {
            prop_assert_eq!(frequency(mul, shift).is_none(), mul == 0 || beyond(mul, shift));
        }
    }

    /// Returns whether the rate needs more than 64 bits.
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
        assert_eq!(scale(-5, mul, 0), -2);
        assert_eq!(scale(i64::MAX, u32::MAX, 127), 0);
    }
}
