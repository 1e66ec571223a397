//! A hardware abstraction layer for Xen guests. It needs no allocator, has no global state, and
//! each subsystem can be used alone.
//!
//! Everything is generic over [`hypercall::Hypercall`]. A guest on real Xen gets its backend from
//! `hypercall::detect`; a test gets it from the simulator. [`platform`] has the other traits that a
//! kernel implements: they translate a pointer to its guest frame, read a counter, and mask
//! interrupts. [`Xen`] returns the handles of all subsystems; each handle can also be created
//! alone.
//!
//! ```
//! use core::sync::atomic::{AtomicU32, Ordering};
//! use core::time::Duration;
//! use xen_hal::clock::{Clock, PvClock};
//! use xen_hal::event::{Dispatcher, Drain, EventError};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::{Counter, Interrupts, VcpuId};
//! use xen_hal::Xen;
//! use xen_pac::base::Virq;
//! use xen_pac::shared_info::SharedInfo;
//!
//! static TICKS: AtomicU32 = AtomicU32::new(0);
//! static EVENTS: Dispatcher = Dispatcher::new();
//!
//! /// Sleeps for a millisecond. `shared` is the page that `map_shared_info` mapped, and
//! /// `counter` is the TSC.
//! fn tick<H: Hypercall + Copy>(
//!     xen: Xen<H>,
//!     interrupts: &impl Interrupts,
//!     counter: impl Counter,
//!     shared: SharedInfo<'static>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let vcpu = shared.vcpu_info(0).ok_or("no vcpu_info of vCPU 0")?;
//!     let clock = PvClock::new(xen.version().features()?, vcpu.time(), counter)?;
//!     interrupts.without(|| EVENTS.attach(shared));
//!     let timer = xen.events().bind_virq(Virq::TIMER, VcpuId(0))?;
//!     let _timer = EVENTS.listen(timer, VcpuId(0)).map_err(EventError::from)?;
//!     let seen = TICKS.load(Ordering::Relaxed);
//!     xen.vcpu(VcpuId(0)).set_singleshot_timer(clock.now() + Duration::from_millis(1))?;
//!     // Checks with interrupts off, then enables them and sleeps in one step.
//!     interrupts.wait_until(|| TICKS.load(Ordering::Relaxed) != seen);
//!     Ok(())
//! }
//!
//! /// Runs in the handler of the upcall's vector.
//! fn on_upcall() {
//!     let _: Drain = EVENTS.dispatch(VcpuId(0), |_| {
//!         TICKS.fetch_add(1, Ordering::Relaxed);
//!     });
//! }
//! # use xen_sim::Guest;
//! # /// A counter whose readings take up to 2 ms.
//! # struct Stolen(Guest);
//! # impl Counter for Stolen {
//! #     fn read(&self) -> u64 {
//! #         if self.0.random() % 4 == 0 {
//! #             self.0.advance(Duration::from_nanos(self.0.random() % 2_000_000));
//! #         }
//! #         self.0.counter().read()
//! #     }
//! # }
//! # type Outcome = Result<(), Box<dyn std::error::Error>>;
//! # xen_sim::storm(xen_sim::Profile::DOMU, 100, |guest| -> Outcome {
//! #     let xen = Xen::new(guest.xen());
//! #     let latch = xen.hvm().set_callback_via(xen_pac::hvm::CallbackVia::vector(0xf3)?)?;
//! #     // SAFETY: nothing else uses the page, and the guest outlives its use.
//! #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
//! #     guest.on_interrupt(0xf3, on_upcall);
//! #     guest.enable_interrupts();
//! #     tick(xen, &guest.interrupts(), Stolen(guest), shared)
//! # });
//! ```
//!
//! # A minimal port
//!
//! This example is complete, from the backend to a handled timer event. The port stays masked, so
//! no interrupt handler is needed. The example runs on the simulator, where some readings
//! of the counter take up to 2 ms, as if Xen had run another vCPU meanwhile.
//!
//! ```
//! use core::{ptr::NonNull, time::Duration};
//! use xen_hal::clock::PvClock;
//! use xen_hal::event::TwoLevel;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::pac::{base::Virq, shared_info::raw};
//! use xen_hal::prelude::*;
//!
//! /// Handles five timer events, one per millisecond.
//! ///
//! /// # Safety
//! ///
//! /// `page` must be a page of RAM that nothing else uses, and stay mapped.
//! unsafe fn kernel<H: Hypercall + Copy>(
//!     xen: Xen<H>,
//!     space: &impl AddressSpace,
//!     interrupts: &impl Interrupts,
//!     counter: impl Counter,
//!     page: NonNull<raw::SharedInfo>,
//! ) -> Result<(), Error> {
//!     let latch = WidthLatch::new(xen.hypercall())?;
//!     // SAFETY: the caller's obligations are the same.
//!     let shared = unsafe { latch.map_shared_info(space, page) }?;
//!     let (bitmaps, time) = (TwoLevel::new(shared), shared.vcpu_info(0).unwrap().time());
//!     bitmaps.mask_all();
//!     let clock = PvClock::new(xen.version().features()?, time, counter)?;
//!     let timer = xen.events().bind_virq(Virq::TIMER, VcpuId(0))?; // closed when dropped
//!     let mut due = clock.now();
//!     for _ in 0..5 {
//!         due = due + Duration::from_millis(1);
//!         xen.vcpu(VcpuId(0)).set_singleshot_timer(due)?;
//!         xen.sched().wait_until(interrupts, &[timer.port()], || bitmaps.clear(timer.port()))?;
//!         assert!(clock.now() >= due); // the event is handled here
//!     }
//!     Ok(())
//! }
//! # use xen_sim::Guest;
//! # /// A counter whose readings take up to 2 ms.
//! # struct Stolen(Guest);
//! # impl Counter for Stolen {
//! #     fn read(&self) -> u64 {
//! #         if self.0.random() % 4 == 0 {
//! #             self.0.advance(Duration::from_nanos(self.0.random() % 2_000_000));
//! #         }
//! #         self.0.counter().read()
//! #     }
//! # }
//! # xen_sim::storm(xen_sim::Profile::DOMU, 200, |guest| {
//! #     let (xen, page) = (Xen::new(guest.xen()), guest.page(0).cast());
//! #     // SAFETY: nothing else uses the page, which exists as long as the machine runs.
//! #     unsafe { kernel(xen, &guest.space(), &guest.interrupts(), Stolen(guest), page) }
//! # });
//! ```
//!
//! # Errors
//!
//! A method that can only fail with Xen's own error returns [`hypercall::Errno`]. Otherwise each
//! subsystem has one error type, and [`Error`] holds any of them. All numbers of Xen's ABI come
//! from [`pac`].
//!
//! # Features
//!
//! All are off by default.
//!
//! | feature | adds |
//! |---|---|
//! | `blk` | block devices |
//! | `net` | network interfaces |
//! | `critical-section` | an implementation of the crate `critical-section`, for kernels: a [`platform::ReentrantLock`] that is taken with interrupts off |
//! | `async` | `event::Wakers` and `xenstore::AsyncStore`: events and xenstore as futures, for any executor |
//! | `block-device-driver` | `blk::AsyncBlockDevice`, with the trait of that crate; without the trait, it needs only `async` and `blk` |
//! | `embassy-net-driver` | `net::AsyncNetDevice`, a driver for `embassy-net` |
//! | `embassy-time-driver` | the clock and timers of `embassy-time`, and thus the delays of `embedded-hal-async`: `embassy::{PvTimer, VirtualTimer}` |
//! | `embassy-executor` | `embassy::Executor`, which sleeps without losing a wakeup |
//! | `embedded-hal` | `sched::Delay`, with the trait `DelayNs` |
//! | `embedded-io` | `Read` and `Write` for [`console::Console`] |
//! | `embedded-io-async` | the asynchronous `Read` and `Write`, for `console::AsyncConsole` |
//! | `log` | `console::ConsoleLog`, a logger over the console |
//! | `defmt` | `Format` for errors, handles and small values; the kernel chooses the global logger, such as `defmt-serial` over the console |
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(xen_oldest, allow(deprecated, reason = "Xen's answers show whether it has an item"))]

#[cfg(test)]
extern crate std;

#[cfg(feature = "blk")]
pub mod blk;
pub mod clock;
pub mod console;
#[cfg(any(feature = "embassy-executor", feature = "embassy-time-driver"))]
pub mod embassy;
pub mod event;
pub mod grant;
pub mod hvm;
pub mod hypercall;
pub mod memory;
#[cfg(feature = "net")]
pub mod net;
pub mod platform;
pub mod ring;
pub mod sched;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod start_info;
pub mod suspend;
pub mod vcpu;
pub mod version;
pub mod xenbus;
pub mod xenstore;

pub mod prelude;

#[cfg(feature = "defmt")]
mod defmt;
mod error;
mod xen;

// The checker of the orderings puts its atomics in place of `core`'s.
#[cfg(not(orderings))]
use core::sync::atomic;
#[cfg(orderings)]
use xen_pac::access::atomic;

pub use error::Error;
pub use xen::Xen;
/// Xen's guest ABI: constants, argument structs, commands and registers. With this path, a kernel
/// needs no dependency on `xen-pac`.
pub use xen_pac as pac;

#[cfg(test)]
mod testing;
