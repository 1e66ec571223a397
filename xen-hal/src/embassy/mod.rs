//! Embassy on Xen: the time driver and the executors.
//!
//! | | feature |
//! |---|---|
//! | [`TimeSource`], [`set_time_source`]; [`PvTimer`] on x86, `VirtualTimer` on aarch64 | `embassy-time-driver` |
//! | [`Executor`]: one for each vCPU | `embassy-executor` |
//! | [`Wakers`](crate::event::Wakers): events as futures | `async` |
//! | [`AsyncConsole`](crate::console::AsyncConsole) | `embedded-io-async` |
//!
//! On top of the driver, `embassy-time` provides timers, tickers, timeouts, and the delays of
//! `embedded-hal` and `embedded-hal-async`. The driver needs an implementation of the crate
//! `critical-section`: the feature of that name, or the kernel's own. A feature of `embassy-time`
//! selects the length of a tick; with `tick-hz-1_000_000_000`, a tick is a nanosecond, Xen's unit.
//!
//! A kernel on one vCPU of x86, once its interrupts have a handler:
//!
//! ```no_run
//! # #[cfg(all(feature = "embassy-executor", feature = "embassy-time-driver", feature = "async",
//! #     any(target_arch = "x86", target_arch = "x86_64")))]
//! # mod kernel {
//! use embassy_executor::Spawner;
//! use xen_hal::embassy::{Executor, PvTimer, set_time_source};
//! use xen_hal::event::{Dispatcher, Drain, Wakers};
//! use xen_hal::hypercall::{Installed, installed};
//! use xen_hal::platform::{LocalInterrupts, OnlyVcpu, Tsc, VcpuId};
//! use xen_hal::{Error, Xen};
//! use xen_pac::shared_info::SharedInfo;
//!
//! type Timer = PvTimer<Installed, OnlyVcpu, Tsc, 1>;
//!
//! static EVENTS: Dispatcher = Dispatcher::new();
//! static WAKERS: Wakers<64> = Wakers::new();
//! // SAFETY: the domain has one vCPU.
//! static TIMER: Timer = PvTimer::new(installed(), &EVENTS, unsafe { OnlyVcpu::new() }, Tsc);
//!
//! /// Runs on each upcall.
//! fn upcall() {
//!     let _: Drain = EVENTS.dispatch(VcpuId(0), |port| {
//!         if !TIMER.on_event(port) {
//!             WAKERS.wake(port);
//!         }
//!     });
//! }
//!
//! /// `shared` is the mapped shared page, and a backend is installed. Interrupts are off.
//! fn main(
//!     shared: SharedInfo<'static>,
//!     executor: &'static mut Executor<Installed, LocalInterrupts, OnlyVcpu>,
//!     tasks: fn(Spawner),
//! ) -> Result<(), Error> {
//!     EVENTS.attach(shared);
//!     set_time_source(|| Some(&TIMER));
//!     TIMER.start(VcpuId(0))?;
//!     executor.run(tasks)
//! }
//! # }
//! ```

#[cfg(feature = "embassy-executor")]
mod executor;
#[cfg(feature = "embassy-time-driver")]
mod pv_timer;
#[cfg(feature = "embassy-time-driver")]
mod time;
#[cfg(all(feature = "embassy-time-driver", target_arch = "aarch64"))]
mod virtual_timer;

#[cfg(feature = "embassy-executor")]
pub use executor::Executor;
#[cfg(feature = "embassy-time-driver")]
pub use pv_timer::PvTimer;
#[cfg(feature = "embassy-time-driver")]
pub use time::{Alarms, TimeSource, set_time_source};
#[cfg(all(feature = "embassy-time-driver", target_arch = "aarch64"))]
pub use virtual_timer::VirtualTimer;
