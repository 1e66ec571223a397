//! Rings: queues in memory that two domains share (upstream: `xen/include/public/io/ring.h`).
//!
//! - [`FrontRing`] and [`BackRing`] are the ends of a device's ring of requests and responses.
//! - [`ByteProducer`] and [`ByteConsumer`] stream bytes, as console and xenstore do.
//! - `DevicePage` is a page that a driver grants to its backend repeatedly (with the features `blk`
//!   and `net`).
//! - [`Wait`] decides how, and how long, a driver waits for its peer.
//!
//! A peer may write any value to any index at any time: an index is loaded once and clamped before
//! it is used, by [`RingIndex`](xen_pac::access::RingIndex) or to the number of requests, and every
//! loop inside these methods is bounded.

mod bytes;
#[cfg(any(feature = "blk", feature = "net"))]
mod device;
#[cfg(feature = "async")]
mod listener;
#[cfg(any(feature = "blk", feature = "net"))]
mod page;
mod shared;
#[cfg(test)]
mod tests;
mod wait;

pub use bytes::{ByteConsumer, ByteProducer, ByteRing, EmptiedRing, FilledRing};
#[cfg(any(feature = "blk", feature = "net"))]
pub(crate) use device::{DeviceRing, PageUse, Suspension};
#[cfg(feature = "async")]
pub(crate) use listener::PortListener;
#[cfg(any(feature = "blk", feature = "net"))]
pub use page::DevicePage;
#[cfg(any(feature = "blk", feature = "net"))]
pub(crate) use shared::FrontPosition;
pub use shared::{BackRing, FrontRing, Protocol, RingFullError, RingPage};
pub use wait::{PollWait, Wait, YieldWait};
