//! Shows what Xen answers to each bad event channel command that a guest can give.

use xen_hal::Xen;
use xen_hal::event::Port;
use xen_hal::platform::{Frame, VcpuId};
use xen_pac::base::{Domid, Virq};
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnPriority, command};
use xen_pac::hypercall::HypercallNr;

use super::common::{self, NOWHERE};
use crate::{Failure, Machine, Transcript, line};

/// A domain that does not exist.
const NOBODY: Domid = Domid(77);
/// A vCPU that the domain does not have.
const NO_VCPU: VcpuId = VcpuId(2);
/// A port that a fresh domain has room for, and has not bound.
const FREE: Port = Port(63);
/// A port for which a fresh domain has no room.
const BEYOND: Port = Port(64);
/// A port that no domain can have.
const ABSURD: Port = Port(u32::MAX);
/// A guest frame that cannot hold anything.
const NO_FRAME: Frame = Frame(1 << 40);

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = machine.xen();
    let events = Xen::new(xen).events();

    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::EVENT_CHANNEL_OP));
    // SAFETY: Xen finds no argument, and does nothing.
    let nowhere = unsafe {
        common::raw(
            &xen,
            HypercallNr::EVENT_CHANNEL_OP,
            [command::Close::NUMBER as usize, NOWHERE, 0],
        )
    };
    line!(t, "an argument that is nowhere:", nowhere);

    line!(t, "alloc_unbound in domain 77:", events.alloc_unbound_for(NOBODY, Domid::SELF));
    let allocated = events.alloc_unbound(NOBODY).map(|channel| channel.port());
    line!(t, "alloc_unbound for domain 77:", allocated);
    // Where Xen refuses a channel for a domain that does not exist, the next best is a free port.
    let unbound = events.alloc_unbound(NOBODY).map(|channel| channel.into_port());
    line!(t, "bind_interdomain to domain 77:", events.bind_interdomain(NOBODY, Port(1)).map(drop));
    for (what, port) in [
        ("a free port:", FREE),
        ("port 0:", Port(0)),
        ("a port beyond the domain's:", BEYOND),
        ("an absurd port:", ABSURD),
    ] {
        line!(t, "bind_interdomain to", what, events.bind_interdomain(Domid::SELF, port).map(drop));
    }
    let bound = events.bind_interdomain(Domid::SELF, unbound.unwrap_or(FREE)).map(drop);
    line!(t, "bind_interdomain to a port for another domain:", bound);

    line!(t, "bind_virq 24:", events.bind_virq(Virq(24), VcpuId(0)).map(drop));
    let bound = events.bind_virq(Virq::CONSOLE, VcpuId(1)).map(drop);
    line!(t, "bind_virq of a global one on vCPU 1:", bound);
    line!(t, "bind_virq on vCPU 2:", events.bind_virq(Virq::TIMER, NO_VCPU).map(drop));
    let timer = events.bind_virq(Virq::TIMER, VcpuId(0))?;
    line!(t, "bind_virq again:", events.bind_virq(Virq::TIMER, VcpuId(0)).map(drop));
    line!(t, "bind_ipi on vCPU 2:", events.bind_ipi(NO_VCPU).map(drop));
    line!(t, "bind_pirq of an absurd number:", events.bind_pirq(u32::MAX, false).map(drop));
    let ipi = events.bind_ipi(VcpuId(0))?;

    for (what, port) in [("free:", FREE), ("0:", Port(0)), ("beyond:", BEYOND), ("absurd:", ABSURD)]
    {
        line!(t, "port", what);
        line!(t, "  close", events.close(port));
        line!(t, "  send", events.send(port));
        line!(t, "  status", events.status(port));
        line!(t, "  bind_vcpu", events.bind_vcpu(port, VcpuId(0)));
        line!(t, "  unmask", events.unmask(port));
        line!(t, "  set_priority", events.set_priority(port, EvtchnPriority(7)));
    }
    line!(t, "send to a VIRQ:", timer.send());
    line!(t, "status of a port of domain 77:", events.status_of(NOBODY, Port(1)));
    line!(t, "bind_vcpu to vCPU 2:", ipi.bind_vcpu(NO_VCPU));
    line!(t, "bind_vcpu of an IPI:", ipi.bind_vcpu(VcpuId(0)));
    line!(t, "bind_vcpu of a VIRQ of a vCPU's own:", timer.bind_vcpu(VcpuId(0)));
    line!(t, "set_priority of a bound port:", events.set_priority(ipi.port(), EvtchnPriority(7)));
    let set = events.set_priority(ipi.port(), EvtchnPriority(16));
    line!(t, "set_priority beyond the lowest:", set);

    for (what, vcpu, frame, offset) in [
        ("of vCPU 2:", NO_VCPU, Frame(1), 0),
        ("at offset 4:", VcpuId(0), Frame(1), 4),
        ("across the page's end:", VcpuId(0), Frame(1), 4032),
        ("in no frame:", VcpuId(0), NO_FRAME, 0),
    ] {
        // SAFETY: Xen takes none of these frames, so nothing is written anywhere.
        line!(t, "init_control", what, unsafe { events.init_control(vcpu, frame, offset) });
    }
    // SAFETY: the domain's events are in the two-level form, so Xen takes no frame.
    line!(t, "expand_array in the two-level form:", unsafe { events.expand_array(Frame(1)) });
    // SAFETY: there is no such domain.
    line!(t, "reset of domain 77:", unsafe { events.reset(NOBODY) });
    Ok(())
}
