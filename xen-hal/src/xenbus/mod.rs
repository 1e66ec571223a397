//! Xenbus: connects the two ends of a device through xenstore, and receives the tools' shutdown
//! requests (upstream: `xen/include/public/io/xenbus.h`).
//!
//! A driver performs the handshake step by step:
//!
//! ```
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::ring::Wait;
//! use xen_hal::xenbus::{Frontend, Step, XenbusError};
//! use xen_hal::xenstore::Store;
//! use xen_pac::xenstore::XenbusState;
//!
//! /// Connects a disk. `make_ring` returns the grant of its ring and the port of its channel.
//! fn connect<H: Hypercall + Copy, W: Wait>(
//!     store: &mut Store<'_, H, W>,
//!     mut make_ring: impl FnMut() -> (u32, u32),
//! ) -> Result<u64, XenbusError> {
//!     let mut disk = Frontend::open(store, "device/vbd/51712")?;
//!     loop {
//!         match disk.next_step(store)? {
//!             Step::Publish => {
//!                 let (ring, port) = make_ring();
//!                 let keys = [("ring-ref", &ring as _), ("event-channel", &port as _)];
//!                 disk.publish(store, &keys, XenbusState::INITIALISED)?;
//!             }
//!             Step::Connect => {
//!                 let sectors = disk.backend_number(store, "sectors")?;
//!                 disk.switch(store, XenbusState::CONNECTED)?;
//!                 return Ok(sectors);
//!             }
//!             // The backend has closed, or no longer exists.
//!             _ => return Err(XenbusError::BackendGone),
//!         }
//!     }
//! }
//! ```
//!
//! [`ShutdownControl`] receives the requests of `xl shutdown` and similar commands.

mod frontend;
mod shutdown;

pub use frontend::{BackendPath, Frontend, Step, XenbusError, next_step};
pub use shutdown::{ShutdownControl, ShutdownRequest};
