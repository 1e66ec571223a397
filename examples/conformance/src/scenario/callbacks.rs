//! Shows the ways to be told of events, each tried by an event. A domain without emulated PC
//! interrupt controllers, as a PVH one is, takes each of them and reads it back, but only the
//! vector tells of anything: before one is set nothing does, and then it does whatever is set after
//! it.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::Channel;
use xen_hal::hvm::{ParameterError, parameter};
use xen_hal::platform::{Interrupts, VcpuId};
use xen_pac::hvm::CallbackVia;

use crate::{Failure, Machine, Transcript, line};

const FIRST: VcpuId = VcpuId(0);

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let vector = machine.callback().ok_or(Failure::Broken("x86 announces events at a vector"))?;
    machine.world().attach_unannounced(machine)?;
    machine.enable_interrupts();
    let ipi = Xen::new(machine.xen()).events().bind_ipi(FIRST)?;
    for set_before in ["nothing:", "a vector:"] {
        line!(t, "after", set_before);
        others(machine, t, &ipi)?;
        told(machine, t, "a vector,", vector, &ipi)?;
    }
    Ok(())
}

/// All the ways but the vector.
fn others<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let valid = |_| Failure::Broken("such a way can be asked for");
    told(machine, t, "nothing,", CallbackVia::NONE, ipi)?;
    told(machine, t, "a GSI,", CallbackVia::gsi(5).map_err(valid)?, ipi)?;
    told(machine, t, "a GSI that does not exist,", CallbackVia::gsi(255).map_err(valid)?, ipi)?;
    told(machine, t, "a PCI pin,", CallbackVia::pci_intx(0, 0, 3 << 3, 0).map_err(valid)?, ipi)
}

/// Sets the callback, signals an event, and says whether an upcall came. An event that nobody was
/// told of is taken by looking.
fn told<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    what: &'static str,
    via: CallbackVia,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let (world, hvm) = (machine.world(), Xen::new(machine.xen()).hvm());
    let info = world.vcpu_info(FIRST).ok_or(Failure::Broken("vCPU 0 has its block"))?;
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
