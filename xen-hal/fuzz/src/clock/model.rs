//! What the clocks compute, in 128 bits and as the headers write it down.

use xen_pac::shared_info::{SharedInfoWallclock, VcpuTimeInfoSnapshot, pvclock_flags};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

pub(super) fn is_stable(time: &VcpuTimeInfoSnapshot) -> bool {
    time.flags().is_set(pvclock_flags::TSC_STABLE)
}

pub(super) fn time_at(time: &VcpuTimeInfoSnapshot, ticks: u64) -> i64 {
    let since = (i128::from(ticks) - i128::from(time.tsc_timestamp)) as i64;
    let elapsed = scale(since, time.tsc_to_system_mul, time.tsc_shift);
    (i128::from(time.system_time) + i128::from(elapsed)) as i64
}

pub(super) fn scale(ticks: i64, mul: u32, shift: i8) -> i64 {
    let factor = 1_i128 << shift.unsigned_abs().min(64);
    let shifted = match shift {
        64.. | ..=-64 => 0,
        0.. => (i128::from(ticks) * factor) as i64,
        _ => i128::from(ticks).div_euclid(factor) as i64,
    };
    (i128::from(shifted) * i128::from(mul)).div_euclid(1 << 32) as i64
}

pub(super) fn frequency(mul: u32, shift: i8) -> Option<u64> {
    let unshifted = (NANOS_PER_SECOND << 32).checked_div(mul.into())?;
    let power = 2_u128.checked_pow(shift.unsigned_abs().into());
    let rate = if shift < 0 {
        power.and_then(|power| unshifted.checked_mul(power))
    } else {
        power.map(|power| unshifted / power)
    };
    rate?.try_into().ok()
}

/// `None` beyond 2^62.
pub(super) fn nanos(ticks: u64, rate: u64) -> Option<i128> {
    let nanos = (u128::from(ticks) * NANOS_PER_SECOND).checked_div(rate.into())?;
    (nanos < 1 << 62).then_some(nanos as i128)
}

/// In nanoseconds; nothing before 1970 or beyond 2^64 seconds.
pub(super) fn wall_time(base: &SharedInfoWallclock, now: i64) -> Option<u128> {
    let seconds = u128::from(base.sec_hi) << 32 | u128::from(base.sec);
    let base = seconds * NANOS_PER_SECOND + u128::from(base.nsec);
    // The base alone must fit, as a duration does.
    let fits = |nanos: &u128| nanos / NANOS_PER_SECOND <= u64::MAX.into();
    base.checked_add_signed(now.into()).filter(fits).filter(|_| fits(&base))
}
