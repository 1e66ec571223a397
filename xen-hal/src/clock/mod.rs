//! Clocks: Xen's system time, the kernel's monotonic time, and the time of day.
//!
//! | type | what it is |
//! |---|---|
//! | [`SystemTime`] | a point in Xen's time on the present host; timers and polls take it |
//! | [`Instant`] | a point in the kernel's own time, which continues across suspend and restore |
//! | [`Clock`] | reads the system time: [`PvClock`] on x86, [`CounterClock`] on aarch64 |
//! | [`Monotonic`] | converts system times to instants and back; one for the domain |
//! | [`wall_time`] | adds the wallclock base of the shared page |
//!
//! On x86, Xen keeps for each vCPU a [time block](xen_pac::shared_info::VcpuTimeInfo) with a recent
//! time and the rate of the TSC (upstream: `xen/include/public/xen.h`, `vcpu_time_info`). On
//! aarch64 the architected counter is the clock.
//!
//! ```no_run
//! # #[cfg(target_arch = "x86_64")] {
//! use core::time::Duration;
//! use xen_hal::clock::{Clock, Monotonic, PvClock, wall_time};
//! use xen_hal::platform::Tsc;
//! use xen_pac::shared_info::SharedInfo;
//!
//! // One for the whole domain.
//! static TIME_LINE: Monotonic = Monotonic::new();
//!
//! fn show(features: xen_hal::version::Features, shared: SharedInfo<'_>) {
//!     let vcpu = shared.vcpu_info(0).expect("vCPU 0 always has its block here");
//!     let clock = PvClock::new(features, vcpu.time(), Tsc).expect("this Xen is fit for HVM guests");
//!     let since_1970 = wall_time(&shared.wallclock(), clock.now());
//!     let deadline = clock.instant(&TIME_LINE) + Duration::from_millis(1);
//!     // For `Vcpu::set_singleshot_timer`, on this host or on the one after a restore:
//!     let at = TIME_LINE.system_time(deadline);
//!     # let _ = (since_1970, at);
//! }
//! # }
//! ```

mod counter;
mod monotonic;
mod pvclock;
mod scale;
mod time;
mod wall;

pub use counter::{CounterClock, TimeOffset};
pub use monotonic::Monotonic;
pub use pvclock::{PvClock, UnsafePvClockError};
pub use scale::{frequency, scale};
pub use time::{Instant, SystemTime};
pub use wall::wall_time;

/// A clock that shows Xen's system time.
///
/// Code that is generic over it runs on x86 and on aarch64.
pub trait Clock {
    /// Reads the system time.
    fn now(&self) -> SystemTime;

    /// True if all vCPUs read the same time, so that readings on different vCPUs never run
    /// backwards.
    fn is_common(&self) -> bool;

    /// Reads the clock as an instant on a time line, never earlier than an instant that any vCPU
    /// has read.
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
