//! Shows two vCPUs that interrupt each other: each answers an event with an event. First they sleep
//! until it arrives. Then they wait without sleeping, so that it interrupts running code.

use xen_hal::Xen;
use xen_hal::event::Events;
use xen_hal::hypercall::Errno;
use xen_hal::platform::{Interrupts, VcpuId};

use super::common::{FIRST, SECOND};
use crate::failure::require;
use crate::{Failure, Machine, Transcript, line};

/// The number of events that each vCPU sends the other, first asleep and then awake.
const ROUNDS: u32 = 50;

/// The second vCPU runs.
const STARTED: u32 = 1;
/// The second vCPU has seen all its events.
const DONE: u32 = 2;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    machine.world().attach(machine)?;
    attached(machine, t)
}

/// The same with the shared page and the vCPUs' blocks in place.
pub(super) fn attached<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, events) = (machine.world(), Xen::new(machine.xen()).events());
    let ports = [events.bind_ipi(FIRST)?.into_port(), events.bind_ipi(SECOND)?.into_port()];
    line!(t, "bound:", ports[0], "and", ports[1]);
    world.set_port(FIRST, ports[0]);
    world.set_port(SECOND, ports[1]);
    let apart = world.own(FIRST).contains(ports[0]) && !world.own(FIRST).contains(ports[1]);
    line!(t, "each port belongs to one vCPU:", apart);
    machine.start(SECOND, second)?;
    machine.enable_interrupts();
    world.await_stage(machine, STARTED);
    line!(t, "the second vCPU runs");

    // The second one first waits for an event, so that the first begins.
    for round in 1..=ROUNDS {
        asleep(machine, events, FIRST, round)?;
    }
    line!(t, "asleep: sent", ROUNDS, "and handled", world.arrived(ports[0]));
    for round in ROUNDS + 1..=2 * ROUNDS {
        awake(machine, events, FIRST, round)?;
    }
    world.await_stage(machine, DONE);
    line!(t, "awake: sent", 2 * ROUNDS, "and handled", world.arrived(ports[0]));
    line!(t, "handled by the second vCPU:", world.arrived(ports[1]));
    require(
        world.upcalls(FIRST) >= 2 * ROUNDS && world.upcalls(SECOND) >= 2 * ROUNDS,
        "each event had its upcall",
    )
}

/// What the second vCPU does.
fn second<M: Machine>(machine: &M) {
    let (world, events) = (machine.world(), Xen::new(machine.xen()).events());
    // On Arm, the registration of a block for a vCPU that is down sets the flag that an upcall is
    // pending, and the interrupt is lost.
    if machine.callback().is_none() {
        machine.interrupts().without(|| world.upcall(SECOND));
    }
    world.reach(STARTED);
    machine.enable_interrupts();
    let rounds = (1..=ROUNDS).try_for_each(|round| asleep(machine, events, SECOND, round));
    let rounds = rounds.and_then(|()| {
        (ROUNDS + 1..=2 * ROUNDS).try_for_each(|round| awake(machine, events, SECOND, round))
    });
    // If an event could not be sent, the first vCPU waits until the run ends by its time limit.
    if rounds.is_ok() {
        world.reach(DONE);
    }
}

/// One event each way, asleep meanwhile. The first vCPU begins.
fn asleep<M: Machine>(
    machine: &M,
    events: Events<M::Xen>,
    own: VcpuId,
    round: u32,
) -> Result<(), Errno> {
    if own == FIRST {
        events.send(machine.world().port(SECOND))?;
    }
    machine.wait_until(|| machine.world().arrived(machine.world().port(own)) >= round);
    if own == FIRST { Ok(()) } else { events.send(machine.world().port(FIRST)) }
}

/// One event each way, awake meanwhile.
fn awake<M: Machine>(
    machine: &M,
    events: Events<M::Xen>,
    own: VcpuId,
    round: u32,
) -> Result<(), Errno> {
    if own == FIRST {
        events.send(machine.world().port(SECOND))?;
    }
    while machine.world().arrived(machine.world().port(own)) < round {
        machine.relax();
    }
    if own == FIRST { Ok(()) } else { events.send(machine.world().port(FIRST)) }
}
