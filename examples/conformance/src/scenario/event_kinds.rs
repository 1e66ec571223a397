//! Shows channels of each kind that a domain can have by itself: what Xen says of them, what
//! signalling them does, and that their numbers are used again.

use xen_hal::Xen;
use xen_hal::event::Port;
use xen_hal::platform::VcpuId;
use xen_pac::base::{Domid, Virq};

use crate::{Failure, Machine, Transcript, line};

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
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
    let console = events.bind_virq(Virq::CONSOLE, first)?;
    line!(t, "console, which is one for all vCPUs:", console.port(), console.status());
    line!(t, "moved to the other vCPU:", console.bind_vcpu(VcpuId(1)));
    line!(t, "then:", console.status());

    line!(t, "a physical interrupt:", events.bind_pirq(9, false).map(|channel| channel.port()));
    Ok(())
}
