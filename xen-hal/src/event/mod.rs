//! Event channels: how another domain, another vCPU, a timer or a device notifies this one
//! (hypercall `event_channel_op`; upstream: `xen/include/public/event_channel.h`).
//!
//! | | |
//! |---|---|
//! | [`Events`] | makes, binds, signals and closes channels: the hypercalls |
//! | [`Channel`] | owns a channel's end and closes it when dropped; [`Port`] is its number |
//! | [`Dispatcher`] | handles the domain's events on its vCPUs; [listens](Dispatcher::listen) to channels |
//! | [`Listener`] | a channel that is listened to: masks, unmasks and migrates it |
//! | [`TwoLevel`], [`PortSet`], [`ScanCursor`] | what a dispatcher is made of, for kernels that keep these themselves |
//!
//! A kernel makes one [`Dispatcher`] in a `static`, attaches it to the shared page, and calls
//! [`Dispatcher::dispatch`] on each upcall. There is an example in its documentation.
//!
//! Events are kept in the two-level form, in which every domain starts: bitmaps in the shared page.
//! The hypercalls are the same in the FIFO form.
//!
//! # Rules of the interface
//!
//! - Ports start unmasked, and [`bind_interdomain`](Events::bind_interdomain) makes the new port
//!   pending at once. [`Dispatcher::attach`] masks all ports, so events wait for
//!   [`Dispatcher::listen`].
//! - Closing leaves the mask as it is, for the next channel that gets the number.
//! - Upcalls without an event occur: when a vCPU's block or its upcall vector has just been
//!   registered, and when an event was found before its upcall.
//! - What a peer wrote before it sent the event is visible to the handler. The handler must check
//!   what the event means: peers can send without reason.

mod channel;
mod commands;
mod dispatch;
mod dispatcher;
mod port;
mod two_level;

#[cfg(test)]
mod tests;

pub use channel::{Channel, Kind};
pub use commands::{Binding, Events, Status};
pub use dispatch::{Drain, ScanCursor};
pub use dispatcher::{Dispatcher, EventError, ListenError, Listener};
pub use port::{AllPorts, Port, PortFilter, PortSet};
pub use two_level::TwoLevel;
