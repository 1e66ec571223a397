//! A domain's event channels.

use xen_hal::hypercall::Errno;
use xen_pac::base::{Domid, Virq};

/// Ports are added in buckets of this size.
const BUCKET: usize = 64;

/// What a port is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    Free,
    Unbound {
        remote: Domid,
    },
    Interdomain {
        remote: Domid,
        port: u32,
    },
    Pirq(u32),
    Virq(Virq),
    Ipi,
    /// Xen uses it, and refuses it to the guest: the UART's on Arm.
    Xen,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) binding: Binding,
    /// The vCPU that it notifies.
    pub(crate) vcpu: usize,
    /// The number of times that the port became pending since it was bound.
    pub(crate) raised: u64,
}

const FREE: Port = Port { binding: Binding::Free, vcpu: 0, raised: 0 };

/// The ports of a domain. Port 0 is never allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) all: Vec<Port>,
    /// The end of the ports that the domain may have.
    limit: usize,
}

impl Ports {
    pub(crate) fn new(limit: usize) -> Self {
        Self { all: vec![FREE; BUCKET], limit }
    }

    /// Returns the lowest free port; adds a bucket if there is none (`get_free_port`).
    pub(crate) fn allocate(&mut self) -> Result<u32, Errno> {
        let free = (1..self.all.len()).find(|port| self.all[*port].binding == Binding::Free);
        let port = match free {
            Some(port) => port,
            None if self.all.len() < self.limit => {
                let first = self.all.len();
                self.all.resize(first + BUCKET, FREE);
                first
            }
            None => return Err(Errno::ENOSPC),
        };
        Ok(port as u32)
    }

    pub(crate) fn bind(&mut self, binding: Binding, vcpu: usize) -> Result<u32, Errno> {
        let port = self.allocate()?;
        self.all[port as usize] = Port { binding, vcpu, raised: 0 };
        Ok(port)
    }

    /// Returns a port that is within the buckets, bound or not.
    pub(crate) fn get(&self, port: u32) -> Result<&Port, Errno> {
        self.all.get(port as usize).ok_or(Errno::EINVAL)
    }

    /// Returns a port that is bound, and whose events are the domain's, not Xen's
    /// (`evtchn_usable`).
    pub(crate) fn usable(&self, port: u32) -> Result<&Port, Errno> {
        self.get(port).and_then(|found| match found.binding {
            Binding::Free | Binding::Xen => Err(Errno::EINVAL),
            _ => Ok(found),
        })
    }

    /// Returns the port that a VIRQ is bound to, of one vCPU or of any.
    pub(crate) fn of_virq(&self, virq: Virq, vcpu: Option<usize>) -> Option<u32> {
        let bound = |port: &Port| {
            port.binding == Binding::Virq(virq) && vcpu.is_none_or(|vcpu| port.vcpu == vcpu)
        };
        self.all.iter().position(bound).map(|port| port as u32)
    }
}
