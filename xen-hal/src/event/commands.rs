//! The commands of the hypercall `event_channel_op`.

use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnPriority, EvtchnReset,
    EvtchnSend, EvtchnSetPriority, EvtchnStatus, EvtchnUnmask, command, evtchn_bind_pirq_flags,
};

use super::{Channel, Kind, Port, Status};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::{Frame, VcpuId};

/// The domain's event channels: making, binding, signalling and closing them.
#[derive(Clone, Copy, Debug)]
pub struct Events<H> {
    xen: H,
}

impl<H: Hypercall + Copy> Events<H> {
    /// Event channels through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    pub(super) fn restores(self) -> u32 {
        self.xen.restores()
    }

    /// Sets a port aside for domain `remote` to bind to; [`Domid::SELF`] makes a loop. How that
    /// domain learns the number is up to the two.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` where the domain has as many channels as it may have.
    /// - `ESRCH` or `EPERM` where a security policy keeps the domains apart, as Arm's default does.
    ///   Otherwise Xen does not check that `remote` exists.
    pub fn alloc_unbound(self, remote: Domid) -> Result<Channel<H>, Errno> {
        let port = self.alloc_unbound_for(Domid::SELF, remote)?;
        Ok(Channel::new(self, port, Kind::Unbound))
    }

    /// Sets a port of domain `owner` aside for domain `remote`, as the builder of a domain does
    /// before it starts. The port is the other domain's: only its number is returned.
    ///
    /// # Errors
    ///
    /// As for [`alloc_unbound`](Self::alloc_unbound); also `ESRCH` for an owner that does not
    /// exist, and `EPERM` for one over which the caller has no privileges.
    pub fn alloc_unbound_for(&self, owner: Domid, remote: Domid) -> Result<Port, Errno> {
        let mut argument = EvtchnAllocUnbound::new(owner, remote);
        self.xen.call(command::AllocUnbound, &mut argument)?;
        Ok(Port(argument.port))
    }

    /// Joins a new port to one that domain `remote` has set aside for this one. The new port is
    /// pending at once, so that nothing signalled before is lost.
    ///
    /// # Errors
    ///
    /// - `ESRCH` where there is no such domain.
    /// - `EINVAL` where `port` is none of its, is bound already, or was set aside for another
    ///   domain.
    /// - `ENOSPC` where the domain has as many channels as it may have.
    /// - `EPERM` where a security policy forbids it.
    pub fn bind_interdomain(self, remote: Domid, port: Port) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindInterdomain::new(remote, port.0);
        self.xen.call(command::BindInterdomain, &mut argument)?;
        Ok(Channel::new(self, Port(argument.local_port), Kind::Interdomain))
    }

    /// Lets a virtual interrupt signal a new port. `vcpu` is whose, for a per-vCPU interrupt such
    /// as [`Virq::TIMER`]; vCPU 0 for a global one.
    ///
    /// # Errors
    ///
    /// - `EINVAL` for an interrupt that cannot be, and for a global one on another vCPU than 0.
    /// - `ENOENT` where there is no such vCPU.
    /// - `EEXIST` where it is bound already; `EBUSY`, since Xen 4.21, where another domain handles
    ///   it.
    /// - `ENOSPC` where the domain has as many channels as it may have.
    pub fn bind_virq(self, virq: Virq, vcpu: VcpuId) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindVirq::new(virq, vcpu.0);
        self.xen.call(command::BindVirq, &mut argument)?;
        Ok(Channel::new(self, Port(argument.port), Kind::Virq))
    }

    /// Lets a physical interrupt, by its number within the domain, signal a new port. `share` where
    /// other domains may bind it too.
    ///
    /// # Errors
    ///
    /// - `EINVAL` for an interrupt that cannot be.
    /// - `EEXIST` where it is bound already.
    /// - `ENOSPC` where the domain has as many channels as it may have.
    pub fn bind_pirq(self, pirq: u32, share: bool) -> Result<Channel<H>, Errno> {
        let flags = evtchn_bind_pirq_flags::WILL_SHARE.val(share.into());
        let mut argument = EvtchnBindPirq::new(pirq, flags.value);
        self.xen.call(command::BindPirq, &mut argument)?;
        Ok(Channel::new(self, Port(argument.port), Kind::Pirq))
    }

    /// Makes a port by which `vcpu` is interrupted from others, and from itself.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no such vCPU, `ENOSPC` where the domain has as many channels as it
    /// may have.
    pub fn bind_ipi(self, vcpu: VcpuId) -> Result<Channel<H>, Errno> {
        let mut argument = EvtchnBindIpi::new(vcpu.0);
        self.xen.call(command::BindIpi, &mut argument)?;
        Ok(Channel::new(self, Port(argument.port), Kind::Ipi))
    }

    /// Takes over a channel that exists already, one for instance that [`Channel::into_port`] let
    /// go of: from now on it is closed when the answer is dropped.
    #[must_use = "what is dropped is closed"]
    pub fn adopt(self, port: Port, kind: Kind) -> Channel<H> {
        Channel::new(self, port, kind)
    }

    /// Closes a port. Prefer to drop its [`Channel`]: the number may be given out again at once.
    ///
    /// It stops being pending, and stays masked if it was.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port that is free, is 0, is beyond those of the domain, or has its other end
    /// in Xen.
    pub fn close(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Close, &mut EvtchnClose::new(port.0))
    }

    /// Signals a port's other end: for an IPI, the port itself. Nothing happens where nobody has
    /// bound yet.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close); also `EINVAL` for a VIRQ or a PIRQ.
    #[inline]
    pub fn send(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Send, &mut EvtchnSend::new(port.0))
    }

    /// What one of this domain's ports is bound to. A free port is
    /// [`Binding::Closed`](super::Binding::Closed), no error.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the port is beyond those that the domain has; `EACCES`, up to Xen 4.18, for a
    /// port whose other end is Xen's.
    pub fn status(&self, port: Port) -> Result<Status, Errno> {
        self.status_of(Domid::SELF, port)
    }

    /// What a port of domain `owner` is bound to.
    ///
    /// # Errors
    ///
    /// As for [`status`](Self::status); also `ESRCH` where there is no such domain, and `EPERM`
    /// without privileges over it.
    pub fn status_of(&self, owner: Domid, port: Port) -> Result<Status, Errno> {
        let mut argument = EvtchnStatus::new(owner, port.0);
        self.xen.call(command::Status, &mut argument)?;
        Ok(Status::decode(&argument))
    }

    /// Chooses the vCPU that a port notifies from its next event on. Where vCPUs keep [sets of
    /// their own ports](super::PortSet), use [`TwoLevel::migrate`](super::TwoLevel::migrate), which
    /// keeps them right and loses no event on the way.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no such vCPU; `EINVAL` for a port that is free, is 0, is beyond
    /// those of the domain, is an IPI or a per-vCPU VIRQ, or has its other end in Xen.
    pub fn bind_vcpu(&self, port: Port, vcpu: VcpuId) -> Result<(), Errno> {
        self.xen.call(command::BindVcpu, &mut EvtchnBindVcpu::new(port.0, vcpu.0))
    }

    /// Has Xen clear a port's mask, and give the upcall that an event which is pending was waiting
    /// to give. Nothing happens where the mask was clear: see
    /// [`TwoLevel::unmask`](super::TwoLevel::unmask), which does without the hypercall where it
    /// can.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port beyond those of the domain. A free one is no error.
    #[inline]
    pub fn unmask(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Unmask, &mut EvtchnUnmask::new(port.0))
    }

    /// Closes all ports of a domain, and puts it back into the two-level form, as a kernel needs it
    /// that was started in place of another. `owner` is [`Domid::SELF`], or a paused domain.
    ///
    /// # Errors
    ///
    /// `ESRCH`, `EPERM`, `EINVAL` for a foreign domain that is not there, not the caller's to
    /// reset, or not paused; `EBUSY` while another reset runs.
    ///
    /// # Safety
    ///
    /// Every port of the domain closes, those of the console and of xenstore included: nothing in
    /// the program may go on using one, and no [`Channel`] may be dropped later (its number may be
    /// another's by then). FIFO pages are the guest's again.
    pub unsafe fn reset(&self, owner: Domid) -> Result<(), Errno> {
        // SAFETY: the argument holds no pointer; the caller expects the ports to close.
        unsafe { self.xen.call_unchecked(command::Reset, &mut EvtchnReset::new(owner)) }
    }

    /// Registers a vCPU's FIFO control block, `offset` bytes into `frame`, and with the first one
    /// moves the domain to the FIFO form. Answers with the number of bits of a link.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no such vCPU; `EINVAL` for an offset that is no multiple of 8 or
    /// beyond 4024, for a frame that is no memory, and for a second time; `ENOSYS` where the
    /// hypervisor was set up without the FIFO form.
    ///
    /// # Safety
    ///
    /// Xen writes to the frame from now on, so nothing else may live there, until a
    /// [reset](Self::reset). Events are no longer found in the bitmaps of shared_info, so
    /// [`TwoLevel`](super::TwoLevel) finds none.
    pub unsafe fn init_control(
        &self,
        vcpu: VcpuId,
        frame: Frame,
        offset: u32,
    ) -> Result<u8, Errno> {
        let mut argument = EvtchnInitControl::new(frame.0, offset, vcpu.0);
        // SAFETY: the caller has given the frame away.
        unsafe { self.xen.call_unchecked(command::InitControl, &mut argument)? };
        Ok(argument.link_bits)
    }

    /// Gives one more page to the FIFO form's event array: zeroed, or of masked words.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` in the two-level form, `ENOSPC` beyond 128 pages, `EINVAL` for a frame that is
    /// no memory.
    ///
    /// # Safety
    ///
    /// Xen writes to the frame from now on, so nothing else may live there, until a
    /// [reset](Self::reset).
    pub unsafe fn expand_array(&self, frame: Frame) -> Result<(), Errno> {
        // SAFETY: the caller has given the frame away.
        unsafe {
            self.xen.call_unchecked(command::ExpandArray, &mut EvtchnExpandArray::new(frame.0))
        }
    }

    /// Chooses a port's priority in the FIFO form, from its next event on.
    ///
    /// # Errors
    ///
    /// `ENOSYS` in the two-level form; `EINVAL` for a port beyond those of the domain, or a
    /// priority beyond 15; `EACCES` for a port that is free, is 0, or has its other end in Xen.
    pub fn set_priority(&self, port: Port, priority: EvtchnPriority) -> Result<(), Errno> {
        self.xen.call(command::SetPriority, &mut EvtchnSetPriority::new(port.0, priority))
    }
}
