//! Shows upcalls at the vCPUs' own vectors alone, in a domain that was given no vector for all:
//! each is an edge. It is not raised while `evtchn_upcall_pending` is left set, and nothing comes
//! when the flag is cleared, so that who forgets it has to look for events. While the vCPU's local
//! APIC is off nothing comes, but the edge waits there until it is on.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::Channel;
use xen_hal::hvm::UpcallVector;
use xen_hal::platform::{Interrupts, VcpuId};

use crate::{Failure, Machine, Transcript, line};

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);
/// The second vCPU has interrupts on.
const STARTED: u32 = 1;
/// The second vCPU is to turn its local APIC on.
const PREPARE: u32 = 2;
/// The second vCPU has turned its local APIC on.
const PREPARED: u32 = 3;
/// The second vCPU is to do nothing more.
const OVER: u32 = 4;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach_unannounced(machine)?;
    machine.enable_interrupts();
    let ipi = xen.events().bind_ipi(FIRST)?;
    ipi.send()?;
    look(machine, t, FIRST, "an event that nothing tells of:", &ipi)?;
    let vector =
        machine.own_upcalls().ok_or(Failure::Broken("x86 has upcall vectors for each vCPU"))?;
    let vector = UpcallVector::new(vector)
        .map_err(|_| Failure::Broken("the machine's vector is no exception's"))?;
    line!(t, "a vector of its own:", xen.hvm().set_upcall_vector(FIRST, vector));
    look(machine, t, FIRST, "at once:", &ipi)?;
    ipi.send()?;
    look(machine, t, FIRST, "an event:", &ipi)?;
    machine.interrupts().without(|| (0..3).try_for_each(|_| ipi.send()))?;
    look(machine, t, FIRST, "three with interrupts off:", &ipi)?;
    left_set(machine, t, &ipi)?;
    unprepared(machine, t, vector)
}

/// What a vCPU was told so far, and whether Xen thinks that it has been told of something which it
/// has not looked for yet.
fn look<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    vcpu: VcpuId,
    when: &'static str,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let world = machine.world();
    let info = world.vcpu_info(vcpu).ok_or(Failure::Broken("each vCPU has its block"))?;
    let due = info.evtchn_upcall_pending().load(Ordering::SeqCst);
    let (told, handled) = (world.own_upcalls(vcpu), world.arrived(ipi.port()));
    line!(t, vcpu, when, "told", told, "handled", handled, "upcall pending", due);
    Ok(())
}

/// XenCpuid the flag set that says that an upcall is due, and signals; then clears it, looks for
/// the event, and signals again.
fn left_set<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let world = machine.world();
    let info = world.vcpu_info(FIRST).ok_or(Failure::Broken("each vCPU has its block"))?;
    info.evtchn_upcall_pending().fetch_or(1, Ordering::SeqCst);
    ipi.send()?;
    look(machine, t, FIRST, "an event with the flag left set:", ipi)?;
    info.evtchn_upcall_pending().swap(0, Ordering::SeqCst);
    look(machine, t, FIRST, "the flag cleared:", ipi)?;
    machine.interrupts().without(|| world.upcall(FIRST));
    look(machine, t, FIRST, "found by looking:", ipi)?;
    ipi.send()?;
    look(machine, t, FIRST, "an event after that:", ipi)
}

/// The other vCPU is given its vector before its local APIC is on.
fn unprepared<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    vector: UpcallVector,
) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let ipi = xen.events().bind_ipi(SECOND)?;
    world.give(ipi.port(), SECOND);
    machine.start(SECOND, second)?;
    world.await_stage(machine, STARTED);
    let set = xen.hvm().set_upcall_vector(SECOND, vector);
    line!(t, "a vector for vCPU 1, whose local APIC is off:", set);
    ipi.send()?;
    look(machine, t, SECOND, "an event:", &ipi)?;
    world.reach(PREPARE);
    world.await_stage(machine, PREPARED);
    look(machine, t, SECOND, "the local APIC turned on:", &ipi)?;
    ipi.send()?;
    while world.arrived(ipi.port()) < 2 {
        machine.relax();
    }
    look(machine, t, SECOND, "an event after that:", &ipi)?;
    world.reach(OVER);
    Ok(())
}

fn second<M: Machine>(machine: &M) {
    let world = machine.world();
    machine.enable_interrupts();
    world.reach(STARTED);
    world.await_stage(machine, PREPARE);
    machine.own_upcalls();
    world.reach(PREPARED);
    world.await_stage(machine, OVER);
}
