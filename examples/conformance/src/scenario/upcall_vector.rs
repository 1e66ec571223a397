//! Shows an upcall vector that is a vCPU's own, beside the domain's: it comes once when it is asked
//! for, and then for each event. The domain's vector does not stop for that: of each event the vCPU
//! is told twice, first by the domain's. The other vCPU is told as before.

use xen_hal::Xen;
use xen_hal::event::Channel;
use xen_hal::hvm::UpcallVector;
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;

use crate::{Failure, Machine, Transcript, line};

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);
/// The second vCPU has interrupts on.
const STARTED: u32 = 1;
/// The second vCPU is to do nothing more.
const OVER: u32 = 2;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    machine.enable_interrupts();
    let ipi = xen.events().bind_ipi(FIRST)?;
    line!(t, "Xen says that it has them:", machine.own_upcalls_are_announced());
    ipi.send()?;
    look(machine, t, FIRST, "by the domain's vector:", &ipi);
    let vector =
        machine.own_upcalls().ok_or(Failure::Broken("x86 has upcall vectors for each vCPU"))?;
    let vector = UpcallVector::new(vector)
        .map_err(|_| Failure::Broken("the machine's vector is no exception's"))?;
    line!(t, "a vector of its own:", xen.hvm().set_upcall_vector(FIRST, vector));
    look(machine, t, FIRST, "at once:", &ipi);
    ipi.send()?;
    look(machine, t, FIRST, "an event:", &ipi);
    line!(t, "asked for again:", xen.hvm().set_upcall_vector(FIRST, vector));
    look(machine, t, FIRST, "at once:", &ipi);
    line!(t, "for vCPU 2:", xen.hvm().set_upcall_vector(VcpuId(2), vector));
    Ok(other(machine, t)?)
}

/// What a vCPU was told so far.
fn look<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    vcpu: VcpuId,
    when: &'static str,
    ipi: &Channel<M::Xen>,
) {
    let world = machine.world();
    let upcalls = world.upcalls(vcpu);
    let own = world.own_upcalls(vcpu);
    let handled = world.arrived(ipi.port());
    line!(t, vcpu, when, "upcalls", upcalls, "of its own", own, "handled", handled);
}

/// The other vCPU has the domain's vector still.
fn other<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Errno> {
    let world = machine.world();
    let ipi = Xen::new(machine.xen()).events().bind_ipi(SECOND)?;
    world.give(ipi.port(), SECOND);
    machine.start(SECOND, second)?;
    world.await_stage(machine, STARTED);
    ipi.send()?;
    while world.arrived(ipi.port()) < 1 {
        machine.relax();
    }
    look(machine, t, SECOND, "an event:", &ipi);
    world.reach(OVER);
    Ok(())
}

fn second<M: Machine>(machine: &M) {
    machine.enable_interrupts();
    machine.world().reach(STARTED);
    machine.world().await_stage(machine, OVER);
}
