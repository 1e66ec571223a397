//! What the clocks compute, in 128 bits and as the headers write it down.

use xen_pac::shared_info::{SharedInfoWallclock, VcpuTimeInfoSnapshot, pvclock_flags};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

pub(super) fn is_stable(time: &VcpuTimeInfoSnapshot) -> bool {
    time.flags().is_set(pvclock_flags::TSC_STABLE)
}

pub(super) fn time_at(time: &VcpuTimeInfoSnapshot, ticks: u64) -> u64 {
    let since = (u128::from(ticks) + (1 << 64) - u128::from(time.tsc_timestamp)) as u64;
    let elapsed = scale(since, time.tsc_to_system_mul, time.tsc_shift);
    (u128::from(time.system_time) + u128::from(elapsed)) as u64
}

pub(super) fn scale(ticks: u64, mul: u32, shift: i8) -> u64 {
    let (distance, ticks) = (u32::from(shift.unsigned_abs()), u128::from(ticks));
    let shifted = if shift < 0 { ticks.checked_shr(distance) } else { ticks.checked_shl(distance) };
    // A shift by 64 or more leaves nothing of 64 bits.
    ((u128::from(shifted.unwrap_or(0) as u64) * u128::from(mul)) >> 32) as u64
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

pub(super) fn nanos(ticks: u64, rate: u64) -> u64 {
    (u128::from(ticks) * NANOS_PER_SECOND).checked_div(rate.into()).unwrap_or(0) as u64
}

/// In nanoseconds; nothing beyond 2^64 seconds.
pub(super) fn wall_time(base: &SharedInfoWallclock, now: u64) -> Option<u128> {
    let seconds = u128::from(base.sec_hi) << 32 | u128::from(base.sec);
    let nanos = seconds * NANOS_PER_SECOND + u128::from(base.nsec) + u128::from(now);
    (nanos / NANOS_PER_SECOND <= u64::MAX.into()).then_some(nanos)
}
