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
//! # // The device is the test's: no backend serves it.
//! # let nodes = |dom0: &xen_sim::backend::Dom0, guest: xen_pac::base::Domid| {
//! #     dom0.with_store(|store| {
//! #         let device = format!("/local/domain/{}/device/vbd/51712", guest.0);
//! #         store.set(&format!("{device}/backend"), "/local/domain/0/backend/test");
//! #         store.set(&format!("{device}/backend-id"), "0");
//! #         store.set("/local/domain/0/backend/test/state", "2");
//! #     });
//! # };
//! # xen_sim::storm_with_dom0(5, nodes, |guest| -> Result<(), XenbusError> {
//! #     let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
//! #     // SAFETY: the ring has one owner, as long as the machine runs.
//! #     let mut store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
//! #     let _ = connect(&mut store, || (8, 3));
//! #     Ok(())
//! # });
//! ```
//!
//! [`ShutdownControl`] receives the requests of `xl shutdown` and similar commands.

mod frontend;
mod shutdown;

pub use frontend::{Frontend, Step, XenbusError, next_step};
pub use shutdown::{ShutdownControl, ShutdownRequest};
