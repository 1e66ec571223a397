//! What a port is bound to.

use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{EvtchnState, EvtchnStatus};

use super::Port;
use crate::platform::VcpuId;

/// What Xen says of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The vCPU that the port notifies; 0 for one that is closed.
    pub vcpu: VcpuId,
    /// What it is bound to.
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
    /// A domain may bind to it, and has not yet or not any more.
    Unbound {
        /// Which domain may.
        remote: Domid,
    },
    /// A port of another domain, or of this one.
    Interdomain {
        /// The domain at the other end.
        remote: Domid,
        /// Its port.
        port: Port,
    },
    /// A physical interrupt, by its number within the domain.
    Pirq(u32),
    /// A virtual interrupt.
    Virq(Virq),
    /// A vCPU, which other vCPUs signal.
    Ipi,
    /// Something that a later Xen may have invented.
    Unknown(EvtchnState),
}

impl Status {
    /// Decodes Xen's answer: its state decides which member of the union holds something.
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
