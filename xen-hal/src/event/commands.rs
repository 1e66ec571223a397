//! The commands of the hypercall `event_channel_op` that work on a port's number.

use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{
    EvtchnAllocUnbound, EvtchnBindVcpu, EvtchnClose, EvtchnExpandArray, EvtchnInitControl,
    EvtchnPriority, EvtchnReset, EvtchnSend, EvtchnSetPriority, EvtchnState, EvtchnStatus,
    EvtchnUnmask, command,
};

use super::Port;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::{Frame, VcpuId};

/// Creates, binds, signals and closes the domain's event channels.
#[derive(Clone, Copy, Debug)]
pub struct Events<H> {
    pub(super) xen: H,
}

impl<H: Hypercall + Copy> Events<H> {
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    pub(super) fn restores(&self) -> u32 {
        self.xen.restores()
    }

    /// Reserves a port of domain `owner` for domain `remote`, as a domain's builder does before the
    /// domain starts. The port belongs to `owner`, so this returns its number only.
    ///
    /// # Errors
    ///
    /// As for [`alloc_unbound`](Self::alloc_unbound); also `ESRCH` if the owner does not exist, and
    /// `EPERM` without privileges over it.
    pub fn alloc_unbound_for(&self, owner: Domid, remote: Domid) -> Result<Port, Errno> {
        let mut argument = EvtchnAllocUnbound::new(owner, remote);
        self.xen.call(command::AllocUnbound, &mut argument)?;
        Ok(Port(argument.port))
    }

    /// Closes a port. If there is a [`Channel`](super::Channel) of it, drop that instead: Xen can
    /// allocate the number again at once, and the `Channel` would then close another channel.
    ///
    /// Clears the port's pending bit, and keeps its mask bit.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port that is free, is 0, is beyond those of the domain, or has its other end
    /// in Xen.
    pub fn close(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Close, &mut EvtchnClose::new(port.0))
    }

    /// Signals a port's other end: for an IPI, the port itself. If no domain has bound to the port
    /// yet, does nothing.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close); also `EINVAL` for a VIRQ or a PIRQ.
    #[inline]
    pub fn send(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Send, &mut EvtchnSend::new(port.0))
    }

    /// Returns what one of this domain's ports is bound to. A free port is [`Binding::Closed`], not
    /// an error.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the port is beyond those of the domain; `EACCES`, up to Xen 4.18, for a port
    /// whose other end is Xen's.
    pub fn status(&self, port: Port) -> Result<Status, Errno> {
        self.status_of(Domid::SELF, port)
    }

    /// Returns what a port of domain `owner` is bound to.
    ///
    /// # Errors
    ///
    /// As for [`status`](Self::status); also `ESRCH` if there is no such domain, and `EPERM`
    /// without privileges over it.
    pub fn status_of(&self, owner: Domid, port: Port) -> Result<Status, Errno> {
        let mut argument = EvtchnStatus::new(owner, port.0);
        self.xen.call(command::Status, &mut argument)?;
        Ok(Status::decode(&argument))
    }

    /// Sets the vCPU that a port notifies, from the next event. If a
    /// [`Dispatcher`](super::Dispatcher) handles the port, use
    /// [`Dispatcher::migrate`](super::Dispatcher::migrate), which loses no event.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such vCPU; `EINVAL` for a port that is free, is 0, is beyond those
    /// of the domain, is an IPI or a per-vCPU VIRQ, or has its other end in Xen.
    pub fn bind_vcpu(&self, port: Port, vcpu: VcpuId) -> Result<(), Errno> {
        self.xen.call(command::BindVcpu, &mut EvtchnBindVcpu::new(port.0, vcpu.0))
    }

    /// Asks Xen to clear a port's mask bit. If an event is pending, Xen raises the upcall now. If
    /// the bit was clear, does nothing. [`TwoLevel::unmask`](super::TwoLevel::unmask) avoids the
    /// hypercall when it can.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port beyond those of the domain. A free port is not an error.
    #[inline]
    pub fn unmask(&self, port: Port) -> Result<(), Errno> {
        self.xen.call(command::Unmask, &mut EvtchnUnmask::new(port.0))
    }

    /// Closes all ports of a domain and returns it to the two-level form, for a kernel that
    /// replaces another one. `owner` is [`Domid::SELF`] or a paused domain.
    ///
    /// # Errors
    ///
    /// For another domain: `ESRCH` if it does not exist, `EPERM` without privileges over it,
    /// `EINVAL` if it is not paused. For any domain: `EBUSY` during another reset.
    ///
    /// # Safety
    ///
    /// Every port of the domain closes, those of the console and of xenstore included. After the
    /// call, the program must not use a port that it had before, and must not drop its
    /// [`Channel`](super::Channel): Xen can have allocated the number again. Xen no longer accesses
    /// the FIFO pages.
    pub unsafe fn reset(&self, owner: Domid) -> Result<(), Errno> {
        // SAFETY: the argument holds no pointer, and the caller uses none of the closed ports
        // again.
        unsafe { self.xen.call_unchecked(command::Reset, &mut EvtchnReset::new(owner)) }
    }

    /// Registers a vCPU's FIFO control block, `offset` bytes into `frame`. The first registration
    /// switches the domain to the FIFO form, in which events are no longer in the bitmaps of the
    /// shared page, and [`TwoLevel`](super::TwoLevel) finds none. Returns the number of bits of a
    /// link.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such vCPU; `EINVAL` for an offset that is not a multiple of 8 or is
    /// beyond 4024, for a frame that is not RAM, and if the block is already registered; `ENOSYS`
    /// if the hypervisor was built without the FIFO form.
    ///
    /// # Safety
    ///
    /// From now on Xen writes to the frame: it must hold nothing else until a [reset](Self::reset).
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

    /// Adds a page to the FIFO form's event array. Each 32-bit word of the page must be 0, or have
    /// only the bit `EVTCHN_FIFO_MASKED` set.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` in the two-level form, `ENOSPC` beyond 128 pages, `EINVAL` for a frame that is
    /// not RAM.
    ///
    /// # Safety
    ///
    /// From now on Xen writes to the frame: it must hold nothing else until a [reset](Self::reset).
    pub unsafe fn expand_array(&self, frame: Frame) -> Result<(), Errno> {
        // SAFETY: the caller has given the frame away.
        unsafe {
            self.xen.call_unchecked(command::ExpandArray, &mut EvtchnExpandArray::new(frame.0))
        }
    }

    /// Sets a port's priority in the FIFO form, from the next event.
    ///
    /// # Errors
    ///
    /// `ENOSYS` in the two-level form; `EINVAL` for a port beyond those of the domain, or a
    /// priority beyond 15; `EACCES` for a port that is free, is 0, or has its other end in Xen.
    pub fn set_priority(&self, port: Port, priority: EvtchnPriority) -> Result<(), Errno> {
        self.xen.call(command::SetPriority, &mut EvtchnSetPriority::new(port.0, priority))
    }
}

/// The state of a port: the result of the command [`Status`](command::Status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The vCPU that the port notifies; 0 if the port is closed.
    pub vcpu: VcpuId,
    /// What the port is bound to.
    pub binding: Binding,
}

/// What a port is bound to.
///
/// Upstream: `xen/include/public/event_channel.h`, `EVTCHNSTAT_*` and the union of `evtchn_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// Nothing: the port is free.
    Closed,
    /// Reserved for a domain that has not bound yet, or has closed its end.
    Unbound {
        /// The domain that can bind to it.
        remote: Domid,
    },
    /// Connected to a port of another domain, or of this one.
    Interdomain {
        /// The domain at the other end.
        remote: Domid,
        /// The port at the other end.
        port: Port,
    },
    /// A physical interrupt, by its number within the domain.
    Pirq(u32),
    /// A virtual interrupt.
    Virq(Virq),
    /// An IPI: any vCPU of the domain can signal it.
    Ipi,
    /// A state that this crate does not describe.
    Unknown(EvtchnState),
}

impl Status {
    /// Decodes Xen's answer. The state selects the member of the union that holds a value.
    pub(super) fn decode(answer: &EvtchnStatus) -> Self {
        let binding = match answer.status {
            EvtchnState::CLOSED => Binding::Closed,
            EvtchnState::UNBOUND => Binding::Unbound { remote: answer.u.unbound().dom },
            EvtchnState::INTERDOMAIN => {
                let remote = answer.u.interdomain();
                Binding::Interdomain { remote: remote.dom, port: Port(remote.port) }
            }
            EvtchnState::PIRQ => Binding::Pirq(answer.u.pirq()),
            EvtchnState::VIRQ => Binding::Virq(answer.u.virq()),
            EvtchnState::IPI => Binding::Ipi,
            other => Binding::Unknown(other),
        };
        Self { vcpu: VcpuId(answer.vcpu), binding }
    }
}
