//! Shows a second vCPU that starts, stops itself and is asked about, what Xen says of the time that
//! vCPUs spend, and what it refuses.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::hypercall::{Commands, Errno};
use xen_hal::platform::VcpuId;
use xen_pac::command::Command;
use xen_pac::hypercall::HypercallNr;
use xen_pac::vcpu::{Runstate, VcpuHvmContext, command};

use super::common::{self, NO_SUCH_OPERATION, NOWHERE, SECOND};
use crate::failure::require;
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

/// The second vCPU runs.
const STARTED: u32 = 1;
/// The second vCPU is to stop itself.
const STOP: u32 = 2;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    machine.world().attach(machine)?;
    let beyond = common::beyond_last(machine.xen())?;
    let (me, other, missing) = (xen.vcpu(VcpuId(0)), xen.vcpu(SECOND), xen.vcpu(beyond));
    line!(
        t,
        "up: this one",
        me.is_up(),
        "the second",
        other.is_up(),
        "a missing one",
        missing.is_up()
    );
    line!(t, "up before it was initialised:", other.up());
    line!(t, "initialised in a state that cannot be:", initialise(machine, SECOND));
    let (own, none) = (initialise(machine, VcpuId(0)), initialise(machine, beyond));
    line!(t, "this one initialised:", own, "a missing one:", none);

    machine.start(SECOND, second)?;
    machine.world().await_stage(machine, STARTED);
    line!(t, "started: up", other.is_up());
    line!(t, "up again:", other.up(), "initialised again:", initialise(machine, SECOND));
    machine.world().reach(STOP);
    while other.is_up()? {
        machine.relax();
    }
    line!(t, "stopped itself: up", other.is_up());
    while other.runstate()?.state != Runstate::OFFLINE {
        machine.relax();
    }
    line!(t, "what it does:", other.runstate()?.state, "since", Time);
    let mine = me.runstate()?;
    line!(t, "what this one does:", mine.state, "since", Time);
    require(
        mine.spent_in(Runstate::RUNNING).is_some_and(|spent| spent > Duration::ZERO),
        "a vCPU that runs has run",
    )?;
    let down = missing.down();
    let up = missing.up();
    let times = missing.runstate().map(|times| times.state);
    line!(t, "down, a missing one:", down, "up:", up, "its run times:", times);

    let raw = |number: usize, vcpu: usize| -> Result<usize, Errno> {
        // SAFETY: Xen finds no argument, and does nothing.
        unsafe { common::raw(&machine.xen(), HypercallNr::VCPU_OP, [number, vcpu, NOWHERE]) }
    };
    let (unknown, none) = (raw(NO_SUCH_OPERATION, 0), raw(NO_SUCH_OPERATION, beyond.0 as usize));
    line!(t, "an unknown command:", unknown, "for a missing vCPU:", none);
    for (what, number) in [
        ("run times", command::GetRunstateInfo::NUMBER),
        ("a periodic timer", command::SetPeriodicTimer::NUMBER),
        ("a singleshot timer", command::SetSingleshotTimer::NUMBER),
        ("a block", command::RegisterVcpuInfo::NUMBER),
        ("an interrupt that cannot be masked", command::SendNmi::NUMBER),
    ] {
        line!(t, what, "with an argument that is nowhere:", raw(number as usize, 0));
    }
    Ok(())
}

/// Asks for a vCPU to start in a state of zeros and no known mode.
fn initialise<M: Machine>(machine: &M, vcpu: VcpuId) -> Result<(), Errno> {
    let mut context = VcpuHvmContext::ZEROED;
    context.mode.0 = 9;
    // SAFETY: no vCPU starts in such a mode.
    unsafe { machine.xen().call_unchecked(command::Initialise, (vcpu, &mut context)) }
}

fn second<M: Machine>(machine: &M) {
    machine.world().reach(STARTED);
    machine.world().await_stage(machine, STOP);
    // If it cannot stop itself, the first vCPU waits until the run ends by its time limit.
    let _ = Xen::new(machine.xen()).vcpu(SECOND).down();
}
