//! Owning a channel's local end.

use core::fmt;
use core::mem::ManuallyDrop;

use super::{Events, Port, Status};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::VcpuId;

/// How a channel came about, which decides what can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Set aside for another domain to bind to. Signalling does nothing until it has.
    Unbound,
    /// Joined to another domain's port.
    Interdomain,
    /// Signalled by Xen alone.
    Virq,
    /// Signalled by a device alone.
    Pirq,
    /// Signalled among this domain's vCPUs; stays with its vCPU.
    Ipi,
}

/// An event channel's local end, closed when this is dropped.
///
/// A channel is more than its number: a port that was closed may be given out again, and whoever
/// still uses the number then uses someone else's channel. So keep the `Channel` where the
/// channel's user lives, and hand out [`port`](Self::port)s. [`into_port`](Self::into_port) gives
/// the ownership up.
///
/// After a restore, Xen has closed all channels, and their numbers can be in use again. Closing or
/// dropping a channel from before does nothing, and [`status`](Self::status) and
/// [`bind_vcpu`](Self::bind_vcpu) return `EINVAL`. [`send`](Self::send) has no such check: check
/// [`is_current`](Self::is_current), or let no channel outlive a suspend.
pub struct Channel<H: Hypercall + Copy> {
    events: Events<H>,
    port: Port,
    kind: Kind,
    /// How often the domain had been restored when the channel was made.
    restores: u32,
}

impl<H: Hypercall + Copy> Channel<H> {
    pub(super) fn new(events: Events<H>, port: Port, kind: Kind) -> Self {
        Self { events, port, kind, restores: events.restores() }
    }

    /// True if the channel was made since the last restore: otherwise Xen has closed it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.restores == self.events.restores()
    }

    fn current(&self) -> Result<Events<H>, Errno> {
        if self.is_current() { Ok(self.events) } else { Err(Errno::EINVAL) }
    }

    /// Its number.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.port
    }

    /// How it came about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Signals the other end: for an IPI, this end.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a VIRQ or a PIRQ, which the guest cannot signal, and for one that was closed
    /// behind the owner's back.
    #[inline]
    pub fn send(&self) -> Result<(), Errno> {
        self.events.send(self.port)
    }

    /// What Xen says of it.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the port is beyond those that the domain may have; `EACCES`, up to Xen 4.18,
    /// for a port whose other end is Xen's.
    pub fn status(&self) -> Result<Status, Errno> {
        self.current()?.status(self.port)
    }

    /// Chooses the vCPU that it notifies. Where vCPUs keep [sets of their own
    /// ports](super::PortSet), use [`TwoLevel::migrate`](super::TwoLevel::migrate).
    ///
    /// # Errors
    ///
    /// As for [`Events::bind_vcpu`].
    pub fn bind_vcpu(&self, vcpu: VcpuId) -> Result<(), Errno> {
        self.current()?.bind_vcpu(self.port, vcpu)
    }

    /// Gives up the ownership: the channel stays open.
    #[must_use = "the number is all that is left of the channel"]
    pub fn into_port(self) -> Port {
        ManuallyDrop::new(self).port
    }

    /// Closes it, as dropping does, and says whether that worked. An event that is pending is lost;
    /// a port that was joined to this one becomes unbound.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a channel that was closed behind the owner's back, and for one whose other end
    /// is Xen's.
    pub fn close(self) -> Result<(), Errno> {
        let channel = ManuallyDrop::new(self);
        channel.current().map_or(Ok(()), |events| events.close(channel.port))
    }
}

impl<H: Hypercall + Copy> Drop for Channel<H> {
    fn drop(&mut self) {
        // It fails only for a channel that is closed already, or is not ours to close: then nothing
        // is left to do.
        let _ = self.current().and_then(|events| events.close(self.port));
    }
}

impl<H: Hypercall + Copy> fmt::Debug for Channel<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("port", &self.port)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
