//! Shows upcalls on Arm: an edge of a private interrupt, blocks that another vCPU registers,
//! blocking with interrupts off, and the FIFO form of the event channels.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::{Port, TwoLevel};
use xen_hal::platform::Interrupts;
use xen_pac::base::{Domid, Virq, XenUlong};
use xen_pac::event_channel::EvtchnPriority;

use super::common::{FIRST, SECOND, frame, register};
use crate::{Failure, Machine, Transcript, line};

/// Events to a vCPU that has no block yet.
pub(super) fn events<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let shared = world.attach(machine)?;
    let bitmaps = TwoLevel::new(shared);
    machine.enable_interrupts();
    for virq in 0..12 {
        let bound = xen.events().bind_virq(Virq(virq), FIRST).map(|channel| channel.into_port());
        line!(t, "bind_virq", virq, bound);
    }
    let timer = xen.events().bind_virq(Virq::TIMER, SECOND).map(|channel| channel.into_port());
    line!(t, "timer on vCPU 1:", timer);
    for pirq in [0, 9, 31, 32, 33, 100, 255, 256, u32::MAX] {
        line!(t, "bind_pirq", pirq, xen.events().bind_pirq(pirq, false).map(drop));
    }
    let ipi = xen.events().bind_ipi(SECOND)?;
    let port = ipi.port();
    let status = ipi.status();
    let signalled = ipi.send();
    let pending = bitmaps.is_pending(ipi.port());
    line!(
        t,
        "for a vCPU without a block:",
        port,
        status,
        "signalled:",
        signalled,
        "pending:",
        pending
    );
    let near = xen.events().alloc_unbound(Domid::SELF)?;
    let mut far = xen.events().bind_interdomain(Domid::SELF, near.port())?;
    let moved = far.bind_vcpu(SECOND);
    let signalled = near.send();
    let pending = bitmaps.is_pending(far.port());
    line!(t, "moved to it:", moved, "signalled:", signalled, "pending:", pending);
    let theirs = register(machine, SECOND, 4)?;
    let pending = theirs.evtchn_upcall_pending().load(Ordering::SeqCst);
    let full = theirs.evtchn_pending_sel().load(Ordering::SeqCst) == XenUlong::MAX;
    line!(t, "block of vCPU 1: pending", pending, "full:", full);
    world.moved(SECOND, theirs);
    world.give(ipi.port(), SECOND);
    world.give(far.port(), SECOND);
    machine.start(SECOND, |machine| {
        machine.enable_interrupts();
        machine.world().reach(1);
        machine.world().await_stage(machine, 2);
    })?;
    world.await_stage(machine, 1);
    while world.arrived(far.port()) < 1 {
        machine.relax();
    }
    for _ in 0..1000 {
        machine.relax();
    }
    let (own, bound) = (world.arrived(ipi.port()), world.arrived(far.port()));
    line!(t, "handled by vCPU 1 when it is there:", own, bound);
    // What the flag in the block means where there is no mask.
    let before = (world.upcalls(FIRST), world.arrived(near.port()));
    machine.interrupts().without(|| (0..3).try_for_each(|_| far.send()))?;
    let (upcalls, handled) =
        (world.upcalls(FIRST) - before.0, world.arrived(near.port()) - before.1);
    line!(t, "three with interrupts off: upcalls", upcalls, "handled", handled);
    world.reach(2);
    Ok(())
}

/// Whether the interrupt is an edge or a level, by what is left in the block.
pub(super) fn edge<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    let info = machine.world().block(FIRST)?;
    let ipi = xen.events().bind_ipi(FIRST)?;
    machine.enable_interrupts();
    let told = |what: &'static str| {
        let upcalls = world.upcalls(FIRST);
        let handled = world.arrived(ipi.port());
        let flag = info.evtchn_upcall_pending().load(Ordering::SeqCst);
        line!(t, what, "upcalls", upcalls, "handled", handled, "flag", flag);
    };
    told("at first:");
    ipi.send()?;
    told("an event:");
    info.evtchn_upcall_pending().fetch_or(1, Ordering::SeqCst);
    let _ = xen.sched().yield_now();
    told("the flag set by hand:");
    info.evtchn_upcall_pending().fetch_or(1, Ordering::SeqCst);
    ipi.send()?;
    told("an event with the flag left set:");
    info.evtchn_upcall_pending().swap(0, Ordering::SeqCst);
    let _ = xen.sched().yield_now();
    told("the flag cleared:");
    ipi.send()?;
    told("another event:");
    machine.interrupts().without(|| world.upcall(FIRST));
    told("found by looking:");
    ipi.send()?;
    told("an event after that:");
    // With interrupts off: an event, taken by looking; then interrupts on.
    machine.interrupts().without(|| {
        ipi.send()?;
        told("an event with interrupts off:");
        world.upcall(FIRST);
        told("found by looking:");
        Ok::<_, Failure>(())
    })?;
    told("interrupts on:");
    // A vCPU whose block another one registered while it was down.
    let theirs = register(machine, SECOND, 4)?;
    world.moved(SECOND, theirs);
    let wake = xen.events().bind_ipi(SECOND)?;
    world.give(wake.port(), SECOND);
    machine.start(SECOND, |machine| {
        machine.enable_interrupts();
        machine.world().reach(1);
        machine.world().await_stage(machine, 2);
        machine.interrupts().without(|| machine.world().upcall(SECOND));
        machine.world().reach(3);
        machine.world().await_stage(machine, 4);
    })?;
    world.await_stage(machine, 1);
    let upcalls = world.upcalls(SECOND);
    let flag = theirs.evtchn_upcall_pending().load(Ordering::SeqCst);
    line!(
        t,
        "vCPU 1, whose block was registered while it was down: upcalls",
        upcalls,
        "flag",
        flag
    );
    wake.send()?;
    for _ in 0..10 {
        machine.relax();
    }
    line!(t, "signalled: upcalls", world.upcalls(SECOND), "handled", world.arrived(wake.port()));
    world.reach(2);
    world.await_stage(machine, 3);
    line!(t, "after it looked once: handled", world.arrived(wake.port()));
    let before = world.upcalls(SECOND);
    wake.send()?;
    for _ in 0..10 {
        machine.relax();
    }
    let (upcalls, handled) = (world.upcalls(SECOND) - before, world.arrived(wake.port()));
    line!(t, "signalled again: upcalls", upcalls, "handled", handled);
    world.reach(4);
    Ok(())
}

/// Blocking with interrupts off, which Arm turns on; and blocking with nothing but a deadline.
pub(super) fn block<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    let ipi = xen.events().bind_ipi(FIRST)?;
    let _ = machine.interrupts().disable();
    ipi.send()?;
    line!(t, "an event with interrupts off: handled", world.arrived(ipi.port()));
    line!(t, "block:", xen.sched().block(), "handled", world.arrived(ipi.port()));
    ipi.send()?;
    line!(t, "the next: handled", world.arrived(ipi.port()));
    let _ = machine.interrupts().disable();
    line!(t, "wait_until with interrupts off:", {
        ipi.send()?;
        xen.sched().wait_until(&machine.interrupts(), &[ipi.port()], || true)
    });
    machine.enable_interrupts();
    let _ = xen.sched().yield_now();
    line!(t, "handled", world.arrived(ipi.port()), "upcalls", world.upcalls(FIRST));
    let far = xen.events().alloc_unbound(Domid::SELF)?;
    let near = xen.events().bind_interdomain(Domid::SELF, far.port())?;
    let before = world.arrived(near.port());
    line!(t, "wait_until an event that the handler sees:", {
        far.send()?;
        xen.sched().wait_until(&machine.interrupts(), &[near.port()], || {
            world.arrived(near.port()) > before
        })
    });
    // Two words of ports.
    let mut ports = [Port(0); 70];
    for port in &mut ports {
        *port = xen.events().bind_ipi(FIRST)?.into_port();
    }
    machine.interrupts().without(|| ports.iter().try_for_each(|port| xen.events().send(*port)))?;
    let (handled, last) = (ports.iter().map(|port| world.arrived(*port)).sum::<u32>(), ports[69]);
    line!(t, "70 at once: handled", handled, "last", last);
    Ok(())
}
/// The FIFO form.
pub(super) fn fifo<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    machine.world().attach(machine)?;
    let events = xen.events();
    let ipi = events.bind_ipi(FIRST)?;
    let first = events.set_priority(ipi.port(), EvtchnPriority(3));
    let none = events.set_priority(ipi.port(), EvtchnPriority(16));
    let free = events.set_priority(Port(9), EvtchnPriority(3));
    line!(t, "priority in the two-level form:", first, "of none:", none, "of a free port:", free);
    let (control, array) = (frame(machine, 3)?, frame(machine, 4)?);
    // SAFETY: the pages are the scenario's, and given to Xen for ever.
    line!(t, "expand_array before:", unsafe { events.expand_array(array) });
    // SAFETY: as above.
    line!(t, "init_control at offset 8:", unsafe { events.init_control(FIRST, control, 8) });
    // SAFETY: as above.
    line!(t, "expand_array:", unsafe { events.expand_array(array) });
    let first = events.set_priority(ipi.port(), EvtchnPriority(3));
    let none = events.set_priority(ipi.port(), EvtchnPriority(16));
    let free = events.set_priority(Port(9), EvtchnPriority(3));
    line!(t, "priority:", first, "of none:", none, "of a free port:", free);
    Ok(())
}
