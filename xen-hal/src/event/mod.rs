//! Event channels: how another domain, another vCPU, a timer or a device wakes this one (hypercall
//! `event_channel_op`; upstream: `xen/include/public/event_channel.h`).
//!
//! | | |
//! |---|---|
//! | [`Events`] | makes, binds, signals and closes channels: the hypercalls |
//! | [`Channel`] | owns a channel's end, and closes it when dropped; [`Port`] is its number, and owns nothing |
//! | [`TwoLevel`] | the bitmaps in shared_info: which ports are pending, which are masked; and the [dispatcher](TwoLevel::dispatch) |
//! | [`PortSet`], [`ScanCursor`] | what a vCPU keeps: which ports are its own, and where its next scan starts |
//!
//! Hypercalls do not care in which form events are kept. The bitmaps do: [`TwoLevel`] is the form
//! in which every domain starts, and the FIFO form would be another type beside it.
//!
//! ```no_run
//! use core::ops::ControlFlow;
//! use xen_hal::event::{AllPorts, ScanCursor, Events, Port, Drain, TwoLevel};
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::platform::VcpuId;
//! use xen_pac::base::Virq;
//! use xen_pac::shared_info::SharedInfo;
//!
//! /// One for each vCPU.
//! static CURSOR: ScanCursor = ScanCursor::new();
//!
//! /// Before interrupts are on.
//! fn start(xen: impl Hypercall + Copy, shared: SharedInfo<'_>) -> Result<Port, Errno> {
//!     let (events, bitmaps) = (Events::new(xen), TwoLevel::new(shared));
//!     bitmaps.mask_all();
//!     // The timer ticks for ever: nobody is to close its channel.
//!     let tick = events.bind_virq(Virq::TIMER, VcpuId(0))?.into_port();
//!     bitmaps.unmask(events, tick, &AllPorts)?;
//!     Ok(tick)
//! }
//!
//! /// On each upcall.
//! fn upcall(shared: SharedInfo<'_>, tick: Port) {
//!     let (bitmaps, vcpu) = (TwoLevel::new(shared), shared.vcpu_info(0).expect("vCPU 0 always has its block here"));
//!     let mut handler = |port| {
//!         if port == tick { /* count the time */ }
//!         ControlFlow::Continue(())
//!     };
//!     while bitmaps.dispatch(vcpu, &AllPorts, &CURSOR, &mut handler) == Drain::Unfinished {}
//! }
//! ```
//!
//! # Several vCPUs
//! The pending bitmap is one for the whole domain, while each vCPU has its own selector and upcall.
//! So each vCPU keeps the [`PortSet`] of the ports that it was chosen to handle, and passes it
//! instead of [`AllPorts`]. A new port goes into its vCPU's set first and is unmasked then;
//! [`TwoLevel::migrate`] moves one.
//!
//! # What a guest must not forget
//! - Ports start unmasked, and [`bind_interdomain`](Events::bind_interdomain) makes the new port
//!   pending at once: be ready for its handler, or mask first.
//! - Closing leaves the mask as it is, for the next channel that gets the number.
//! - Upcalls without an event come: when a vCPU's block or its upcall vector has just been
//!   registered, and when an event was found before its upcall was.
//! - What a peer wrote before it sent the event is visible to the handler; what the event means is
//!   to be checked there: peers may send without reason.

mod channel;
mod commands;
mod dispatch;
mod port;
mod port_set;
mod status;
mod two_level;

#[cfg(test)]
mod tests;

pub use channel::{Channel, Kind};
pub use commands::Events;
pub use dispatch::{Drain, ScanCursor};
pub use port::Port;
pub use port_set::{AllPorts, PortFilter, PortSet};
pub use status::{Binding, Status};
pub use two_level::TwoLevel;
