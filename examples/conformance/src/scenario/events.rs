//! Shows the event channels that a domain can have by itself, and what Xen refuses.

use xen_hal::Xen;
use xen_hal::event::Port;
use xen_hal::platform::{Frame, VcpuId};
use xen_pac::base::{Domid, Virq};
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnPriority, command};
use xen_pac::hypercall::HypercallNr;

use super::common;
use crate::{Failure, Machine, Transcript, line};

/// Channels of each kind: their status, what signalling them does, and that their numbers are
/// used again.
pub(super) fn kinds<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let world = machine.world();
    world.attach(machine)?;
    machine.enable_interrupts();
    let events = Xen::new(machine.xen()).events();
    let first = VcpuId(0);

    line!(t, "port 0 before anything:", events.status(Port(0)));
    line!(t, "port 1 before anything:", events.status(Port(1)));

    let unbound = events.alloc_unbound(Domid::SELF)?;
    line!(t, "set aside:", unbound.port(), unbound.status());
    line!(t, "signalled with nobody there:", unbound.send());
    line!(t, "handled:", world.arrived(unbound.port()));

    let bound = events.bind_interdomain(Domid::SELF, unbound.port())?;
    line!(t, "bound to it:", bound.port(), bound.status());
    line!(t, "and it:", unbound.port(), unbound.status());
    let (near, far) = (world.arrived(bound.port()), world.arrived(unbound.port()));
    line!(t, "handled at once:", near, "and at the other end:", far);
    line!(t, "signalled:", bound.send());
    line!(t, "handled at the other end:", world.arrived(unbound.port()));
    line!(t, "by the domain's own number:", events.status_of(world.me(), bound.port()));
    let (near, far) = (unbound.port(), bound.port());
    drop(bound);
    line!(t, "one end closed:", events.status(far));
    line!(t, "the other end then:", events.status(near));
    drop(unbound);
    line!(t, "both closed:", events.status(near));

    let ipi = events.bind_ipi(first)?;
    line!(t, "IPI:", ipi.port(), ipi.status());
    line!(t, "signalled:", ipi.send());
    line!(t, "handled:", world.arrived(ipi.port()));
    let bound = events.bind_ipi(VcpuId(1)).map(|channel| channel.port());
    line!(t, "for a vCPU that does not run:", bound);

    let timer = events.bind_virq(Virq::TIMER, first)?;
    line!(t, "timer:", timer.port(), timer.status());
    let debug = events.bind_virq(Virq::DEBUG, first)?;
    line!(t, "debug:", debug.port(), debug.status());
    let mut console = events.bind_virq(Virq::CONSOLE, first)?;
    line!(t, "console, which is one for all vCPUs:", console.port(), console.status());
    line!(t, "moved to the other vCPU:", console.bind_vcpu(VcpuId(1)));
    line!(t, "then:", console.status());

    line!(t, "a physical interrupt:", events.bind_pirq(9, false).map(|channel| channel.port()));
    Ok(())
}

/// A domain that does not exist.
const NOBODY: Domid = Domid(77);
/// A port that a fresh domain has room for, and has not bound.
const FREE: Port = Port(63);
/// A port for which a fresh domain has no room.
const BEYOND: Port = Port(64);
/// A port that no domain can have.
const ABSURD: Port = Port(u32::MAX);
/// A guest frame that cannot hold anything.
const NO_FRAME: Frame = Frame(1 << 40);

/// What Xen answers to each bad event channel command that a guest can issue.
pub(super) fn refusals<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = machine.xen();
    let events = Xen::new(xen).events();
    let missing = common::beyond_last(xen)?;

    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::EVENT_CHANNEL_OP));
    let (hypercall, close) = (HypercallNr::EVENT_CHANNEL_OP, command::Close::NUMBER);
    // SAFETY: Xen finds no argument, and does nothing.
    let nowhere = unsafe { common::from_nowhere(&xen, hypercall, close) };
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
    line!(t, "bind_virq on a missing vCPU:", events.bind_virq(Virq::TIMER, missing).map(drop));
    let mut timer = events.bind_virq(Virq::TIMER, VcpuId(0))?;
    line!(t, "bind_virq again:", events.bind_virq(Virq::TIMER, VcpuId(0)).map(drop));
    line!(t, "bind_ipi on a missing vCPU:", events.bind_ipi(missing).map(drop));
    line!(t, "bind_pirq of an absurd number:", events.bind_pirq(u32::MAX, false).map(drop));
    let mut ipi = events.bind_ipi(VcpuId(0))?;

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
    line!(t, "bind_vcpu to a missing vCPU:", ipi.bind_vcpu(missing));
    line!(t, "bind_vcpu of an IPI:", ipi.bind_vcpu(VcpuId(0)));
    line!(t, "bind_vcpu of a VIRQ of a vCPU's own:", timer.bind_vcpu(VcpuId(0)));
    line!(t, "set_priority of a bound port:", events.set_priority(ipi.port(), EvtchnPriority(7)));
    let set = events.set_priority(ipi.port(), EvtchnPriority(16));
    line!(t, "set_priority beyond the lowest:", set);

    for (what, vcpu, frame, offset) in [
        ("of a missing vCPU:", missing, Frame(1), 0),
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
