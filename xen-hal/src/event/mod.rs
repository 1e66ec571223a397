//! Event channels: how another domain, another vCPU, a timer or a device notifies the guest
//! (hypercall `event_channel_op`; upstream: `xen/include/public/event_channel.h`).
//!
//! | | |
//! |---|---|
//! | [`Events`] | makes, binds, signals and closes channels: the hypercalls |
//! | [`Channel`] | owns a channel's end and closes it when dropped; [`Port`] is its number |
//! | [`Dispatcher`] | handles the domain's events on its vCPUs; [listens](Dispatcher::listen) to channels |
//! | [`Listener`] | a channel that is listened to: masks, unmasks and migrates it |
//! | `Wakers`, `AsyncListener` | events as futures: `listener.wait().await` (feature `async`) |
//! | [`TwoLevel`], [`PortSet`], [`ScanCursor`] | the parts of a dispatcher, for kernels that store them separately |
//!
//! A kernel makes one [`Dispatcher`] in a `static`, attaches it to the shared page, and calls
//! [`Dispatcher::dispatch`] on each upcall. There is an example in its documentation.
//!
//! Every domain starts with events in the two-level form: bitmaps in the shared page. The
//! hypercalls are the same in the FIFO form.
//!
//! # Rules of the interface
//!
//! - Ports start unmasked, and [`bind_interdomain`](Events::bind_interdomain) makes the new port
//!   pending at once. [`Dispatcher::attach`] masks all ports, so events wait for
//!   [`Dispatcher::listen`].
//! - A port that was never used is unmasked. Closing a channel keeps the mask bit, so the next
//!   channel with that port can start masked.
//! - An upcall can come without an event: after a `vcpu_info` or an upcall vector is registered, or
//!   if an earlier dispatch has handled the event.
//! - The handler sees everything that the peer wrote before it sent the event. The handler must
//!   check what the event means: a peer can send events at any time.

mod channel;
mod commands;
mod dispatcher;
mod port;
mod scan;
mod two_level;
#[cfg(feature = "async")]
mod wakers;

#[cfg(test)]
mod tests;

pub use channel::{Channel, Kind};
pub use commands::{Binding, Events, Status};
pub use dispatcher::{AnyDispatcher, Dispatcher, EventError, ListenError, Listener};
pub use port::{AllPorts, Port, PortFilter, PortSet};
pub use scan::{Drain, ScanCursor};
pub use two_level::TwoLevel;
#[cfg(feature = "async")]
pub use wakers::{AsyncListener, Wakers};
