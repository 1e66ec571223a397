//! Clocks: Xen's system time, the kernel's monotonic time, and the time of day.
//!
//! | type | what it is |
//! |---|---|
//! | [`SystemTime`] | a point in Xen's time on the current host, for timers and polls |
//! | [`Instant`] | a point in the kernel's own time, which continues across suspend and restore |
//! | [`Clock`] | reads the system time: [`PvClock`] on x86, [`CounterClock`] on aarch64 |
//! | [`Monotonic`] | converts system times to instants and back; one for the domain |
//! | [`wall_time`] | adds the wallclock base of the shared page |
//!
//! On x86, Xen keeps for each vCPU a [time block](xen_pac::shared_info::VcpuTimeInfo) with a recent
//! time and the rate of the TSC (upstream: `xen/include/public/xen.h`, `vcpu_time_info`). On
//! aarch64 the architected counter is the clock.
//!
//! ```
//! use core::time::Duration;
//! use xen_hal::clock::{Clock, Monotonic, PvClock, wall_time};
//! use xen_hal::platform::Counter;
//! use xen_hal::version::Features;
//! use xen_pac::shared_info::SharedInfo;
//!
//! // One for the whole domain.
//! static TIME_LINE: Monotonic = Monotonic::new();
//!
//! /// `counter` is the TSC: `xen_hal::platform::Tsc`.
//! fn show(features: Features, shared: SharedInfo<'_>, counter: impl Counter) {
//!     let vcpu = shared.vcpu_info(0).expect("vCPU 0 always has its block here");
//!     let clock = PvClock::new(features, vcpu.time(), counter).expect("the clock can be used");
//!     let since_1970 = wall_time(&shared.wallclock(), clock.now());
//!     let deadline = clock.instant(&TIME_LINE) + Duration::from_millis(1);
//!     // For `Vcpu::set_singleshot_timer`, on this host or on the one after a restore:
//!     let at = TIME_LINE.system_time(deadline);
//! #   assert!(since_1970.is_some() && at > clock.now());
//! }
//! # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| -> Result<(), xen_hal::Error> {
//! #     let latch = xen_hal::memory::WidthLatch::new(guest.xen())?;
//! #     // SAFETY: nothing else uses the page, and the guest outlives its use.
//! #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
//! #     show(xen_hal::version::Version::new(guest.xen()).features()?, shared, guest.counter());
//! #     Ok(())
//! # });
//! ```

mod counter;
mod monotonic;
mod pvclock;
mod scale;
mod time;

use core::time::Duration;

use xen_pac::shared_info::SharedInfoWallclock;

pub use counter::{CounterClock, TimeOffset};
pub use monotonic::Monotonic;
pub use pvclock::{PvClock, UnsafePvClockError};
pub use scale::{frequency, scale};
pub use time::{Instant, SystemTime};

/// Reads Xen's system time.
///
/// Code that is generic over this trait runs on x86 and on aarch64.
pub trait Clock {
    /// Reads the system time.
    fn now(&self) -> SystemTime;

    /// True if all vCPUs read the same time, so readings on different vCPUs never run backwards.
    fn is_common(&self) -> bool;

    /// Reads the clock as an instant on a time line. The result is never earlier than one that any
    /// vCPU has read before.
    #[inline]
    fn instant(&self, line: &Monotonic) -> Instant {
        let now = self.now();
        if self.is_common() { line.unclamped(now) } else { line.instant(now) }
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline(always)]
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    #[inline(always)]
    fn is_common(&self) -> bool {
        (**self).is_common()
    }

    #[inline(always)]
    fn instant(&self, line: &Monotonic) -> Instant {
        (**self).instant(line)
    }
}

/// Returns the time since 1 January 1970 UTC, without leap seconds, at the system time `now`.
///
/// The base comes from [`SharedInfo::wallclock`](xen_pac::shared_info::SharedInfo::wallclock). On
/// aarch64 it is 0 until the control domain sets the time. On x86 it can be 0 until Xen has latched
/// the guest's width. Returns `None` if the sum is negative or beyond 2^64 seconds.
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

    struct Fixed {
        common: bool,
    }

    impl Clock for Fixed {
        fn now(&self) -> SystemTime {
            SystemTime::from_nanos(500)
        }

        fn is_common(&self) -> bool {
            self.common
        }
    }

    #[test]
    fn a_common_clock_is_not_clamped_and_a_reference_reads_alike() {
        fn read(clock: impl Clock, line: &Monotonic) -> (i64, bool, i64) {
            let instant = clock.instant(line);
            (clock.now().as_nanos(), clock.is_common(), instant.as_nanos())
        }
        let line = Monotonic::new();
        line.note(SystemTime::from_nanos(900));
        for (common, instant) in [(true, 500), (false, 900)] {
            assert_eq!(read(&Fixed { common }, &line), (500, common, instant));
        }
    }

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
