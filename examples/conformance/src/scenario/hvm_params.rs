//! Shows the HVM parameters that a guest may read and write for itself, Xen's errors for all other
//! indices and for bad values, and the refusals of the per-vCPU upcall vector. Sets the callback to
//! forms that have no effect in this domain: Xen accepts them without an error.
//!
//! A bad value of parameter 15 or 37 destroys the domain, so those are not tried.

use xen_hal::hypercall::Commands;
use xen_hal::platform::VcpuId;
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::hvm::{CallbackVia, HvmParam, XenHvmEvtchnUpcallVector, command};
use xen_pac::hypercall::HypercallNr;

use super::common::{self, beyond_last, get_param, set_param};
use crate::failure::Required;
use crate::{Failure, Machine, Transcript, line};

/// One more than the last parameter.
const COUNT: u32 = 39;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let me = Domid::SELF;
    for index in (0..COUNT).chain([COUNT, u32::MAX]) {
        line!(t, HvmParam(index), "read:", common::parameter(machine, index));
    }
    for index in (0..COUNT).filter(|index| ![15, 37].contains(index)).chain([COUNT, u32::MAX]) {
        line!(t, HvmParam(index), "set to 0:", set_param(machine, me, index, 0));
    }
    let (read, set_to_zero) =
        (get_param(machine, Domid(77), 0), set_param(machine, Domid(77), 0, 0));
    line!(t, "of domain 77: read", read, "set", set_to_zero);
    line!(t, "width of the x87 instruction pointer, 1:", set_param(machine, me, 36, 1));
    let addresses =
        [("set_param", command::SetParam::NUMBER), ("get_param", command::GetParam::NUMBER)];
    for (what, number) in addresses {
        // SAFETY: Xen finds no argument, and does nothing.
        line!(t, what, "of an argument that is nowhere:", unsafe {
            common::from_nowhere(&machine.xen(), HypercallNr::HVM_OP, number)
        });
    }
    line!(t, "an unknown command:", common::unknown(&machine.xen(), HypercallNr::HVM_OP));
    callbacks(machine, t)?;
    vectors(machine, t)?;
    Ok(())
}

fn callbacks<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let index = HvmParam::CALLBACK_IRQ.0;
    let vector = machine.callback().required("x86 announces events at a vector")?;
    machine.world().attach(machine)?;
    let kept = get_param(machine, Domid::SELF, index)? == vector.encode();
    line!(t, "callback at a vector: read back as set:", kept);
    for (what, value) in [
        ("nothing:", 0_u64),
        ("a GSI:", 5),
        ("a PCI interrupt:", 1 << 56 | 3 << 11),
        ("a kind that does not exist:", 9 << 56),
    ] {
        let answer = set_param(machine, Domid::SELF, index, value);
        let kept = get_param(machine, Domid::SELF, index)? == value;
        line!(t, "callback at", what, answer, "and read back as set:", kept);
    }
    line!(
        t,
        "callback at a vector again:",
        set_param(machine, Domid::SELF, index, vector.encode())
    );
    machine.enable_interrupts();
    let ipi = xen_hal::Xen::new(machine.xen()).events().bind_ipi(VcpuId(0))?;
    ipi.send()?;
    line!(t, "an event is handled:", machine.world().arrived(ipi.port()));
    line!(t, "vector 31 can be asked for:", CallbackVia::vector(31).is_ok());
    Ok(())
}

fn vectors<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let missing = beyond_last(machine.xen())?.0;
    for (what, vcpu, vector) in
        [("15:", 0, 15), ("0:", 0, 0), ("of a missing vCPU:", missing, 0xf3)]
    {
        let mut argument = XenHvmEvtchnUpcallVector::new(vcpu, vector);
        // SAFETY: each of these is refused.
        let answer =
            unsafe { machine.xen().call_unchecked(command::SetEvtchnUpcallVector, &mut argument) };
        line!(t, "a vCPU's own upcall vector", what, answer);
    }
    Ok(())
}
