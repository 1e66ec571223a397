//! The number of a channel's end.

use core::fmt;

use xen_pac::event_channel::EvtchnPort;

/// The number of an event channel's local end, a port. Whoever holds one may signal, mask or ask
/// about the channel; a [`Channel`](super::Channel) owns it.
///
/// Port 0 is never given out. The numbers of the two-level form end at
/// [`TwoLevel::PORTS`](super::TwoLevel::PORTS), those of the FIFO form further up.
///
/// Upstream: `xen/include/public/event_channel.h`, `evtchn_port_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Port(pub EvtchnPort);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
