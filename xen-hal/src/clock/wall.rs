//! The time of day.

use core::time::Duration;

use xen_pac::shared_info::SharedInfoWallclock;

use super::SystemTime;

/// Returns the time since 1 January 1970 UTC, without leap seconds, at the system time `now`.
///
/// The base comes from [`SharedInfo::wallclock`](xen_pac::shared_info::SharedInfo::wallclock). On
/// aarch64 it is 0 until the control domain sets the time. On x86 it can be 0 until Xen has latched
/// the guest's width. `None` if the sum is negative or beyond 2^64 seconds.
#[must_use]
pub fn wall_time(base: &SharedInfoWallclock, now: SystemTime) -> Option<Duration> {
    let seconds = u64::from(base.sec_hi) << 32 | u64::from(base.sec);
    let base = Duration::from_secs(seconds).checked_add(Duration::from_nanos(base.nsec.into()))?;
    let since_start = Duration::from_nanos(now.as_nanos().unsigned_abs());
    if now.as_nanos() < 0 { base.checked_sub(since_start) } else { base.checked_add(since_start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_64_bits() {
        let base = SharedInfoWallclock { sec: 0xffff_ffff, nsec: 999_999_999, sec_hi: 1 };
        let time = wall_time(&base, SystemTime::from_nanos(1_000_000_002)).unwrap();
        assert_eq!(time, Duration::new(0x2_0000_0001, 1));
    }

    #[test]
    fn nothing_a_hypervisor_writes_overflows() {
        let base = SharedInfoWallclock { sec: u32::MAX, nsec: u32::MAX, sec_hi: u32::MAX };
        assert_eq!(wall_time(&base, SystemTime::from_nanos(i64::MAX)), None);
        let base = SharedInfoWallclock { sec: 0, nsec: 5, sec_hi: 0 };
        assert_eq!(wall_time(&base, SystemTime::from_nanos(-6)), None);
        let first = wall_time(&base, SystemTime::from_nanos(-5));
        assert_eq!(first, Some(Duration::ZERO));
    }
}
