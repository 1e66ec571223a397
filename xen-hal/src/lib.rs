//! A hardware abstraction layer for running as a Xen guest: no allocator, no global state, and
//! every subsystem usable alone.
//!
//! Everything is generic over [`hypercall::Hypercall`], one method for each number of arguments. A
//! guest on the real hypervisor finds its backend with `hypercall::detect`; a test hands in one
//! that it wrote itself. What else the HAL needs (which frame a pointer lies in, a counter,
//! interrupts off for a moment) are the small traits of [`platform`]. [`Xen`] leads to all
//! subsystems, and each subsystem's handle can also be made alone:
//!
//! ```no_run
//! # #[cfg(target_arch = "x86_64")] {
//! use core::ops::ControlFlow;
//! use core::time::Duration;
//! use xen_hal::clock::{Clock, PvClock};
//! use xen_hal::event::{ScanCursor, PortSet, TwoLevel};
//! use xen_hal::platform::{Tsc, VcpuId};
//! use xen_hal::{Xen, hypercall};
//! use xen_pac::base::Virq;
//! use xen_pac::shared_info::SharedInfo;
//!
//! // `shared` is the page that `Memory::map_shared_info` put into place, `own` the ports of this vCPU.
//! fn tick_once(shared: SharedInfo<'_>, own: &PortSet, cursor: &ScanCursor) -> Result<(), Box<dyn std::error::Error>> {
//!     let xen = Xen::new(hypercall::detect()?);
//!     let vcpu = shared.vcpu_info(0).ok_or("vCPU 0 always has its block here")?;
//!     let clock = PvClock::new(xen.version().features()?, vcpu.time(), Tsc)?;
//!
//!     let timer = xen.events().bind_virq(Virq::TIMER, VcpuId(0))?;
//!     own.insert(timer.port());
//!     xen.vcpu(VcpuId(0)).set_singleshot_timer(clock.now() + Duration::from_millis(1))?;
//!     xen.sched().block()?;
//!
//!     // What the upcall's interrupt handler does:
//!     let _ = TwoLevel::new(shared).dispatch(vcpu, own, cursor, |port| {
//!         println!("an event at {port:?}");
//!         ControlFlow::Continue(())
//!     });
//!     Ok(())
//! }
//! # }
//! ```
//!
//! Errors are Xen's own ([`hypercall::Errno`]) where its answer is all there is, and otherwise name
//! the culprit. No number of Xen's is written in this crate: all come from [`xen_pac`].
#![no_std]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod console;
pub mod event;
pub mod grant;
pub mod hvm;
pub mod hypercall;
pub mod memory;
pub mod platform;
pub mod ring;
pub mod sched;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod start_info;
pub mod vcpu;
pub mod version;
pub mod xenbus;
pub mod xenstore;

mod xen;

pub use xen::Xen;

#[cfg(test)]
mod testing;
