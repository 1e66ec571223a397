//! A hardware abstraction layer for running as a Xen guest.
//!
//! No allocator, no global state, and every subsystem usable alone.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod console;
pub mod event;
pub mod grant;
pub mod hypercall;
pub mod memory;
pub mod platform;
pub mod sched;
pub mod vcpu;
pub mod version;

mod xen;

pub use xen::Xen;

#[cfg(test)]
mod testing;
