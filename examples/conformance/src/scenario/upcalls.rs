//! Shows upcalls on x86: at the domain's vector, at the vCPUs' own vectors, and by callbacks that a
//! PVH domain cannot have.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::Channel;
use xen_hal::hvm::{ParameterError, UpcallVector, parameter};
use xen_hal::platform::{Interrupts, VcpuId};
use xen_pac::hvm::CallbackVia;

use super::common::{self, FIRST, SECOND};
use crate::failure::Required;
use crate::{Failure, Machine, Transcript, line};

/// The second vCPU has interrupts on.
const STARTED: u32 = 1;
/// The second vCPU must turn its local APIC on.
const PREPARE: u32 = 2;
/// The second vCPU has turned its local APIC on.
const PREPARED: u32 = 3;
/// The second vCPU must do nothing more.
const OVER: u32 = 4;

/// The callbacks, each tried by an event. A domain without emulated PC interrupt controllers, as a
/// PVH one is, can set and read back each of them, but only the vector raises an upcall: before one
/// is set no upcall comes, and then it comes whatever is set after it.
pub(super) fn callbacks<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let vector = machine.callback().required("x86 announces events at a vector")?;
    machine.world().attach_unannounced(machine)?;
    machine.enable_interrupts();
    let ipi = Xen::new(machine.xen()).events().bind_ipi(FIRST)?;
    for set_before in ["nothing:", "a vector:"] {
        line!(t, "after", set_before);
        others(machine, t, &ipi)?;
        tried(machine, t, "a vector,", vector, &ipi)?;
    }
    Ok(())
}

/// All callbacks but the vector.
fn others<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let valid = |_| Failure::Broken("such a way can be asked for");
    tried(machine, t, "nothing,", CallbackVia::NONE, ipi)?;
    tried(machine, t, "a GSI,", CallbackVia::gsi(5).map_err(valid)?, ipi)?;
    tried(machine, t, "a GSI that does not exist,", CallbackVia::gsi(255).map_err(valid)?, ipi)?;
    tried(machine, t, "a PCI pin,", CallbackVia::pci_intx(0, 0, 3 << 3, 0).map_err(valid)?, ipi)
}

/// Sets the callback, signals an event, and says whether an upcall came. An event without an
/// upcall is taken by a dispatch.
fn tried<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    what: &'static str,
    via: CallbackVia,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let (world, hvm) = (machine.world(), Xen::new(machine.xen()).hvm());
    let info = world.block(FIRST)?;
    let set: Result<(), ParameterError> = hvm.set_callback_via(via).map(drop);
    let kept = hvm.get(parameter::CALLBACK_IRQ) == Ok(via);
    let before = (world.upcalls(FIRST), world.arrived(ipi.port()));
    ipi.send()?;
    let upcalls = world.upcalls(FIRST) - before.0;
    let pending = info.evtchn_upcall_pending().load(Ordering::SeqCst);
    line!(t, "callback at", what, set, "read back:", kept, "upcalls", upcalls, "pending", pending);
    machine.interrupts().without(|| world.upcall(FIRST));
    if world.arrived(ipi.port()) == before.1 + 1 {
        Ok(())
    } else {
        Err(Failure::Broken("an event is handled once"))
    }
}

/// Returns the vector of the calling vCPU's own upcalls.
fn own_vector<M: Machine>(machine: &M) -> Result<UpcallVector, Failure> {
    let vector = machine.own_upcalls().required("x86 has upcall vectors for each vCPU")?;
    UpcallVector::new(vector).required("the machine's vector is no exception's")
}

/// An upcall vector that is a vCPU's own, beside the domain's: an upcall comes once when the vector
/// is set, and then for each event. The domain's vector remains: the vCPU gets two upcalls for each
/// event, first at the domain's vector. The other vCPU gets one, as before.
pub(super) fn own_vectors<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    machine.enable_interrupts();
    let ipi = xen.events().bind_ipi(FIRST)?;
    line!(t, "Xen says that it has them:", machine.own_upcalls_are_announced());
    ipi.send()?;
    count(machine, t, FIRST, "by the domain's vector:", &ipi);
    let vector = own_vector(machine)?;
    line!(t, "a vector of its own:", xen.hvm().set_upcall_vector(FIRST, vector));
    count(machine, t, FIRST, "at once:", &ipi);
    ipi.send()?;
    count(machine, t, FIRST, "an event:", &ipi);
    line!(t, "asked for again:", xen.hvm().set_upcall_vector(FIRST, vector));
    count(machine, t, FIRST, "at once:", &ipi);
    let missing = common::beyond_last(machine.xen())?;
    line!(t, "for a missing vCPU:", xen.hvm().set_upcall_vector(missing, vector));
    other(machine, t)
}

/// Shows the upcalls of a vCPU so far.
fn count<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    vcpu: VcpuId,
    when: &'static str,
    ipi: &Channel<M::Xen>,
) {
    let world = machine.world();
    let (upcalls, own) = (world.upcalls(vcpu), world.own_upcalls(vcpu));
    let handled = world.arrived(ipi.port());
    line!(t, vcpu, when, "upcalls", upcalls, "of its own", own, "handled", handled);
}

/// The other vCPU has the domain's vector still.
fn other<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let world = machine.world();
    let ipi = Xen::new(machine.xen()).events().bind_ipi(SECOND)?;
    world.give(ipi.port(), SECOND);
    machine.start(SECOND, |machine| {
        machine.enable_interrupts();
        machine.world().reach(STARTED);
        machine.world().await_stage(machine, OVER);
    })?;
    world.await_stage(machine, STARTED);
    ipi.send()?;
    while world.arrived(ipi.port()) < 1 {
        machine.relax();
    }
    count(machine, t, SECOND, "an event:", &ipi);
    world.reach(OVER);
    Ok(())
}

/// Upcalls at the vCPUs' own vectors alone, in a domain that has no vector for all: each is an
/// edge. It is not raised while `evtchn_upcall_pending` is left set, and nothing comes when the
/// flag is cleared, so a guest that leaves the flag set must dispatch again. While the vCPU's local
/// APIC is off nothing comes, but the edge stays pending there until it is on.
pub(super) fn edge<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach_unannounced(machine)?;
    machine.enable_interrupts();
    let ipi = xen.events().bind_ipi(FIRST)?;
    ipi.send()?;
    look(machine, t, FIRST, "an event that nothing tells of:", &ipi)?;
    let vector = own_vector(machine)?;
    line!(t, "a vector of its own:", xen.hvm().set_upcall_vector(FIRST, vector));
    look(machine, t, FIRST, "at once:", &ipi)?;
    ipi.send()?;
    look(machine, t, FIRST, "an event:", &ipi)?;
    machine.interrupts().without(|| (0..3).try_for_each(|_| ipi.send()))?;
    look(machine, t, FIRST, "three with interrupts off:", &ipi)?;
    left_set(machine, t, &ipi)?;
    unprepared(machine, t, vector)
}

/// Shows the upcalls of a vCPU at its own vector, and whether one is pending by the flag.
fn look<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    vcpu: VcpuId,
    when: &'static str,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let world = machine.world();
    let info = world.block(vcpu)?;
    let due = info.evtchn_upcall_pending().load(Ordering::SeqCst);
    let (told, handled) = (world.own_upcalls(vcpu), world.arrived(ipi.port()));
    line!(t, vcpu, when, "told", told, "handled", handled, "upcall pending", due);
    Ok(())
}

/// Leaves the flag of a pending upcall set, and signals; then clears it, looks for the event, and
/// signals again.
fn left_set<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let world = machine.world();
    let info = world.block(FIRST)?;
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
