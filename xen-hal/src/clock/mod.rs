//! What time it is: Xen's system time, and the time of day.
//!
//! On x86, Xen keeps for each vCPU a [time block](xen_pac::shared_info::VcpuTimeInfo) with a recent
//! time and the rate of the TSC, and [`PvClock`] carries it forward (upstream:
//! `xen/include/public/xen.h`, `vcpu_time_info`). On aarch64 the architected counter is the clock,
//! and [`CounterClock`] turns it into nanoseconds. [`wall_time`] adds the base that the shared page
//! keeps on both.
//!
//! ```no_run
//! # #[cfg(target_arch = "x86_64")] {
//! use xen_hal::clock::{Monotonic, PvClock, wall_time};
//! use xen_hal::platform::Tsc;
//! use xen_pac::shared_info::SharedInfo;
//!
//! // One for the whole machine.
//! static LATEST: Monotonic = Monotonic::new();
//!
//! fn show(features: xen_hal::version::Features, shared: SharedInfo<'_>) {
//!     let vcpu = shared.vcpu_info(0).expect("vCPU 0 always has its block here");
//!     let clock = PvClock::new(features, vcpu.time(), Tsc).expect("this Xen is fit for HVM guests");
//!     let now = clock.monotonic(&LATEST);
//!     let since_1970 = wall_time(&shared.wallclock(), now);
//!     # let _ = since_1970;
//! }
//! # }
//! ```

mod arm;
mod monotonic;
mod pvclock;
mod scale;
#[cfg(test)]
mod tests;
mod time;
mod wall;

pub use arm::CounterClock;
pub use monotonic::Monotonic;
pub use pvclock::{PvClock, UnsafeForHvm};
pub use scale::{frequency, scale, ticks_to_nanos};
pub use time::SystemTime;
pub use wall::wall_time;
