//! Creates event channels and owns their local ends.

use core::fmt;
use core::mem::ManuallyDrop;

use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{
    EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVirq, command,
    evtchn_bind_pirq_flags,
};

use super::{Events, Port, Status};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::VcpuId;

/// How a channel was made, which decides what can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reserved for another domain to bind to. Until that domain binds, signals are lost.
    Unbound,
    /// Connected to another domain's port.
    Interdomain,
    /// Signalled by Xen alone.
    Virq,
    /// Signalled by a device alone.
    Pirq,
    /// Signalled by this domain's vCPUs. Always notifies the vCPU that it was made for.
    Ipi,
}

impl<H: Hypercall + Copy> Events<H> {
    /// Reserves a port for domain `remote` to bind to; [`Domid::SELF`] makes a loopback channel.
    /// The guest must pass the number to that domain, for example through xenstore.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if the domain has as many channels as it may have.
    /// - `ESRCH` or `EPERM` if a security policy separates the domains, as Arm's default does.
    ///   Otherwise Xen does not check that `remote` exists.
    pub fn alloc_unbound(&self, remote: Domid) -> Result<Channel<H>, Errno> {
        let port = self.alloc_unbound_for(Domid::SELF, remote)?;
        Ok(self.adopt(port, Kind::Unbound, VcpuId(0)))
    }

    /// Connects a new port to one that domain `remote` has reserved for this domain. The new port
    /// is pending at once, so no earlier signal is lost.
    ///
    /// # Errors
    ///
    /// - `ESRCH` if there is no such domain.
    /// - `EINVAL` if `port` does not belong to that domain, is already bound, or is reserved for a
    ///   third domain.
    /// - `ENOSPC` if the domain has as many channels as it may have.
    /// - `EPERM` if a security policy forbids it.
    pub fn bind_interdomain(&self, remote: Domid, port: Port) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindInterdomain::new(remote, port.0);
        self.xen.call(command::BindInterdomain, &mut argument)?;
        Ok(self.adopt(Port(argument.local_port), Kind::Interdomain, VcpuId(0)))
    }

    /// Binds a virtual interrupt to a new port. `vcpu` is the vCPU of a per-vCPU interrupt such as
    /// [`Virq::TIMER`], and vCPU 0 for a global one.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the interrupt does not exist, or if it is global and `vcpu` is not 0.
    /// - `ENOENT` if there is no such vCPU.
    /// - `EEXIST` if it is bound already; `EBUSY`, since Xen 4.21, if another domain handles it.
    /// - `ENOSPC` if the domain has as many channels as it may have.
    pub fn bind_virq(&self, virq: Virq, vcpu: VcpuId) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindVirq::new(virq, vcpu.0);
        self.xen.call(command::BindVirq, &mut argument)?;
        Ok(self.adopt(Port(argument.port), Kind::Virq, vcpu))
    }

    /// Binds the physical interrupt `pirq` to a new port. `pirq` is the domain's number for it, not
    /// the machine's. With `share`, other domains can bind it too.
    ///
    /// # Errors
    ///
    /// - `EINVAL` for an interrupt that does not exist.
    /// - `EEXIST` if it is bound already.
    /// - `ENOSPC` if the domain has as many channels as it may have.
    pub fn bind_pirq(&self, pirq: u32, share: bool) -> Result<Channel<H>, Errno> {
        let flags = evtchn_bind_pirq_flags::WILL_SHARE.val(share.into());
        let mut argument = EvtchnBindPirq::new(pirq, flags.value);
        self.xen.call(command::BindPirq, &mut argument)?;
        Ok(self.adopt(Port(argument.port), Kind::Pirq, VcpuId(0)))
    }

    /// Creates a port through which any vCPU of the domain, `vcpu` included, can interrupt `vcpu`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such vCPU, `ENOSPC` if the domain has as many channels as it may
    /// have.
    pub fn bind_ipi(&self, vcpu: VcpuId) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindIpi::new(vcpu.0);
        self.xen.call(command::BindIpi, &mut argument)?;
        Ok(self.adopt(Port(argument.port), Kind::Ipi, vcpu))
    }

    /// Takes ownership of an existing channel that notifies `vcpu`, for example one whose
    /// [`Channel::into_port`] was called.
    #[must_use = "a channel that is dropped is closed"]
    pub fn adopt(&self, port: Port, kind: Kind, vcpu: VcpuId) -> Channel<H> {
        Channel { events: *self, port, kind, vcpu, restores: self.restores() }
    }
}

/// Owns an event channel's local end, and closes it when dropped.
///
/// After a port is closed, Xen can allocate its number again, and code that still uses the number
/// would act on a different channel. Keep the `Channel` for as long as its port numbers are in use.
/// [`into_port`](Self::into_port) gives up the ownership.
///
/// After a restore, Xen has closed all channels, and their numbers can be in use again. Closing or
/// dropping a channel from before does nothing, and [`status`](Self::status) and
/// [`bind_vcpu`](Self::bind_vcpu) return `EINVAL`. [`send`](Self::send) does not check this: it
/// returns `EINVAL` while the number is free, and signals another channel once it is in use again.
/// Check [`is_current`](Self::is_current), or let no channel outlive a suspend.
pub struct Channel<H: Hypercall + Copy> {
    events: Events<H>,
    port: Port,
    kind: Kind,
    /// The vCPU that it notifies.
    vcpu: VcpuId,
    /// The domain's number of restores when the channel was made.
    restores: u32,
}

impl<H: Hypercall + Copy> Channel<H> {
    /// True if the channel was made since the last restore: otherwise Xen has closed it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.restores == self.events.restores()
    }

    fn current(&self) -> Result<Events<H>, Errno> {
        if self.is_current() { Ok(self.events) } else { Err(Errno::EINVAL) }
    }

    /// Creates a second owner of the channel, for when the channel notifies `vcpu`. The caller must
    /// drop only one of the two.
    pub(super) const fn duplicate_on(&self, vcpu: VcpuId) -> Self {
        Self {
            events: self.events,
            port: self.port,
            kind: self.kind,
            vcpu,
            restores: self.restores,
        }
    }

    /// Returns the channel's port.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.port
    }

    /// Returns how the channel was made.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) const fn events(&self) -> Events<H> {
        self.events
    }

    pub(super) const fn vcpu(&self) -> VcpuId {
        self.vcpu
    }

    /// Signals the other end: for an IPI, this end.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a VIRQ or a PIRQ, which the guest cannot signal, and if the port was closed by
    /// its number or by a restore and is not in use again.
    #[inline]
    pub fn send(&self) -> Result<(), Errno> {
        self.events.send(self.port)
    }

    /// Returns what the channel is bound to.
    ///
    /// # Errors
    ///
    /// As for [`Events::status`].
    pub fn status(&self) -> Result<Status, Errno> {
        self.current()?.status(self.port)
    }

    /// Sets the vCPU that the channel notifies. If a [`Dispatcher`](super::Dispatcher) listens to
    /// it, use [`Listener::migrate`](super::Listener::migrate).
    ///
    /// # Errors
    ///
    /// As for [`Events::bind_vcpu`].
    pub fn bind_vcpu(&mut self, vcpu: VcpuId) -> Result<(), Errno> {
        self.current()?.bind_vcpu(self.port, vcpu)?;
        self.vcpu = vcpu;
        Ok(())
    }

    /// Gives up the ownership: the channel stays open.
    #[must_use = "without the number, the channel cannot be closed"]
    pub fn into_port(self) -> Port {
        ManuallyDrop::new(self).port
    }

    /// Closes the channel, as dropping does. A pending event is lost. A port that was connected to
    /// this one becomes unbound.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the port was closed by its number, or its other end is Xen's.
    pub fn close(self) -> Result<(), Errno> {
        let channel = ManuallyDrop::new(self);
        channel.current().map_or(Ok(()), |events| events.close(channel.port))
    }
}

impl<H: Hypercall + Copy> Drop for Channel<H> {
    fn drop(&mut self) {
        // This fails only if the port is already closed, or if Xen does not let the guest close it.
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
