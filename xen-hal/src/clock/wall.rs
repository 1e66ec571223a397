//! The time of day.

use core::time::Duration;

use xen_pac::shared_info::SharedInfoWallclock;

use super::SystemTime;

/// The time since 1 January 1970 UTC, leap seconds not counted, at the system time `now`.
///
/// The base comes from [`SharedInfo::wallclock`](xen_pac::shared_info::SharedInfo::wallclock). On
/// aarch64 it is 0 until the control domain sets the time; on x86 it may be 0 in a 32-bit guest
/// until Xen knows the guest's width. `None` where the sum is beyond 2^64 seconds.
#[must_use]
pub fn wall_time(base: &SharedInfoWallclock, now: SystemTime) -> Option<Duration> {
    let seconds = u64::from(base.sec_hi) << 32 | u64::from(base.sec);
    Duration::from_secs(seconds)
        .checked_add(Duration::from_nanos(u64::from(base.nsec)))?
        .checked_add(Duration::from_nanos(now.as_nanos()))
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
        assert_eq!(wall_time(&base, SystemTime::from_nanos(u64::MAX)), None);
    }
}
