//! Event channels by their numbers. What gives a port answers with it.

use xen_hal::hypercall::Errno;
use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnReset, EvtchnSend, EvtchnState, EvtchnStatus, EvtchnUnmask,
    command,
};

use super::{Answer, Table};

pub(crate) fn alloc(t: &Table, dom: Domid, remote: Domid) -> Answer {
    let mut asked = EvtchnAllocUnbound::new(dom, remote);
    t.give(command::AllocUnbound, &mut asked).map(|_| asked.port as usize)
}

pub(crate) fn interdomain(t: &Table, remote: Domid, port: u32) -> Answer {
    let mut asked = EvtchnBindInterdomain::new(remote, port);
    t.give(command::BindInterdomain, &mut asked).map(|_| asked.local_port as usize)
}

pub(crate) fn virq(t: &Table, virq: u32, vcpu: u32) -> Answer {
    let mut asked = EvtchnBindVirq::new(Virq(virq), vcpu);
    t.give(command::BindVirq, &mut asked).map(|_| asked.port as usize)
}

pub(crate) fn ipi(t: &Table, vcpu: u32) -> Answer {
    let mut asked = EvtchnBindIpi::new(vcpu);
    t.give(command::BindIpi, &mut asked).map(|_| asked.port as usize)
}

pub(crate) fn pirq(t: &Table, pirq: u32) -> Answer {
    let mut asked = EvtchnBindPirq::new(pirq, 0);
    t.give(command::BindPirq, &mut asked).map(|_| asked.port as usize)
}

pub(crate) fn close(t: &Table, port: u32) -> Answer {
    t.give(command::Close, &mut EvtchnClose::new(port))
}

pub(crate) fn send(t: &Table, port: u32) -> Answer {
    t.give(command::Send, &mut EvtchnSend::new(port))
}

pub(crate) fn status(t: &Table, dom: Domid, port: u32) -> Result<EvtchnState, Errno> {
    let mut asked = EvtchnStatus::new(dom, port);
    t.give(command::Status, &mut asked).map(|_| asked.status)
}

pub(crate) fn bind_vcpu(t: &Table, port: u32, vcpu: u32) -> Answer {
    t.give(command::BindVcpu, &mut EvtchnBindVcpu::new(port, vcpu))
}

pub(crate) fn unmask(t: &Table, port: u32) -> Answer {
    t.give(command::Unmask, &mut EvtchnUnmask::new(port))
}

pub(crate) fn reset(t: &Table, dom: Domid) -> Answer {
    t.give(command::Reset, &mut EvtchnReset::new(dom))
}

/// Every port that the domain may have is taken.
pub(crate) fn fill(t: &Table) {
    while ipi(t, 0).is_ok() {}
}
