//! A hardware abstraction layer for running as a Xen guest: no allocator, no global state, and
//! every subsystem usable alone.
//!
//! Everything is generic over [`hypercall::Hypercall`]. A guest on the real hypervisor finds its
//! backend with `hypercall::detect`; a test passes the one of the simulator. The other traits that
//! the HAL needs (the frame of a pointer, a counter, control of interrupts) are in [`platform`].
//! [`Xen`] leads to all subsystems, and each subsystem's handle can also be made alone:
//!
//! ```no_run
//! # #[cfg(target_arch = "x86_64")] {
//! use core::ops::ControlFlow;
//! use core::sync::atomic::{AtomicU32, Ordering};
//! use core::time::Duration;
//! use xen_hal::clock::{Clock, PvClock};
//! use xen_hal::event::{AllPorts, Drain, Port, ScanCursor, TwoLevel};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::platform::{Interrupts, Tsc, VcpuId};
//! use xen_hal::Xen;
//! use xen_pac::base::Virq;
//! use xen_pac::shared_info::{SharedInfo, VcpuInfo};
//!
//! static TICKS: AtomicU32 = AtomicU32::new(0);
//! static CURSOR: ScanCursor = ScanCursor::new();
//!
//! /// Sleeps for a millisecond. `shared` is the page that `map_shared_info` has mapped.
//! fn tick<H: Hypercall + Copy>(
//!     xen: Xen<H>,
//!     interrupts: &impl Interrupts,
//!     shared: SharedInfo<'_>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let vcpu = shared.vcpu_info(0).ok_or("vCPU 0 always has its block here")?;
//!     let clock = PvClock::new(xen.version().features()?, vcpu.time(), Tsc)?;
//!     let timer = xen.events().bind_virq(Virq::TIMER, VcpuId(0))?;
//!     let seen = TICKS.load(Ordering::Relaxed);
//!     xen.vcpu(VcpuId(0)).set_singleshot_timer(clock.now() + Duration::from_millis(1))?;
//!     // Checks with interrupts off, and enables them and sleeps in one step.
//!     interrupts.wait_until(|| TICKS.load(Ordering::Relaxed) != seen);
//!     Ok(timer.close()?)
//! }
//!
//! /// Runs in the handler of the upcall's vector.
//! fn on_upcall(shared: SharedInfo<'_>, vcpu: VcpuInfo<'_>) {
//!     let _: Drain = TwoLevel::new(shared).dispatch(vcpu, &AllPorts, &CURSOR, |_: Port| {
//!         TICKS.fetch_add(1, Ordering::Relaxed);
//!         ControlFlow::Continue(())
//!     });
//! }
//! # }
//! ```
//!
//! If Xen's answer says all there is, an error is Xen's own ([`hypercall::Errno`]); otherwise it
//! names the culprit. This crate contains no number of Xen's ABI: all are from [`xen_pac`].
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
extern crate std;

#[cfg(feature = "blk")]
pub mod blk;
pub mod clock;
pub mod console;
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

pub use error::Error;
pub use xen::Xen;
/// Xen's guest ABI: constants, argument structs, commands and registers. Kernels name it by this
/// path and need no dependency on `xen-pac`.
pub use xen_pac as pac;

#[cfg(test)]
mod testing;
