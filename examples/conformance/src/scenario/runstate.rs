//! Shows memory in which Xen keeps the run times of a vCPU: of the calling one, and of another that
//! runs, sleeps and is down; and a second copy of a vCPU's time block. Each kind lies in one of the
//! machine's pages, which stay for ever.
//!
//! Since 4.18 Xen also takes the areas' physical addresses. From then on it updates that area only,
//! even if one with a virtual address is registered later.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock};
use xen_hal::hypercall::Hypercall;
use xen_hal::memory::WidthLatch;
use xen_hal::vcpu::{RunTimes, RunstateArea, UpdateFlag, Vcpu, VcpuError};
use xen_hal::version::CommandError;
use xen_pac::base::Virq;
use xen_pac::shared_info::VcpuTimeInfo;
use xen_pac::vcpu::Runstate;

use super::common::{self, FIRST, SECOND, area, clock};
use crate::failure::{Required, require};
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

const SOON: Duration = Duration::from_millis(2);
/// The second vCPU runs.
const STARTED: u32 = 1;
/// The second vCPU is to sleep until an event, and then to stop itself.
const SLEEP: u32 = 2;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    machine.world().attach(machine)?;
    let ipi = xen.events().bind_ipi(SECOND)?;
    machine.world().set_port(SECOND, ipi.port());
    machine.enable_interrupts();
    let marked =
        UpdateFlag::request(machine.xen()).required("Xen marks the run times that it writes")?;
    let latch = WidthLatch::new(machine.xen())?;
    let (me, missing) = (xen.vcpu(FIRST), xen.vcpu(common::beyond_last(machine.xen())?));
    let (mine, spare) = (area(machine, 3), area(machine, 4));
    // SAFETY: all page tables there are map all memory to itself, here and below.
    let none = unsafe { missing.register_runstate(latch, mine) }.map(drop);
    line!(t, "run times of a missing vCPU:", none);
    let physical = me.register_runstate_physical(&machine.space(), latch, area(machine, 7));
    line!(t, "by a physical address:", physical.map(drop));
    if let Err(error) = physical {
        let named = matches!(error, VcpuError::Unsupported(CommandError::Release { .. }));
        require(named, "a refusal names the release that has the operation")?;
    }
    // SAFETY: as above.
    let first = unsafe { me.register_runstate(latch, mine) };
    let own = first.required("run times can be registered")?;
    line!(t, "run times of this vCPU:", own.read_own().state, "since", Time);
    // SAFETY: as above.
    line!(t, "in the same area again:", unsafe { me.register_runstate(latch, mine) }.map(drop));
    if let Ok(physical) = physical {
        let before = own.read_own();
        asleep(machine, t, physical)?;
        line!(t, "by the virtual address, as it was:", own.read_own() == before);
    }
    let own = physical.unwrap_or(own);
    asleep(machine, t, own)?;
    let moved = match physical {
        Ok(_) => me.register_runstate_physical(&machine.space(), latch, spare),
        // SAFETY: as above.
        Err(_) => unsafe { me.register_runstate(latch, spare) },
    };
    let moved = moved.required("run times can be registered again")?;
    line!(t, "in another area:", moved.read_own().state);
    let before = own.read_own();
    asleep(machine, t, moved)?;
    line!(t, "the old area is as it was:", own.read_own() == before);
    another(machine, t, latch, marked)?;
    time(machine, t)
}

/// Returns all that a vCPU has done since it was made.
fn total(times: &RunTimes) -> Duration {
    [Runstate::RUNNING, Runstate::RUNNABLE, Runstate::BLOCKED, Runstate::OFFLINE]
        .iter()
        .filter_map(|state| times.spent_in(*state))
        .sum()
}

/// Sleeps for a while, and sees it in the area.
fn asleep<M: Machine>(machine: &M, t: &Transcript<'_>, own: RunstateArea) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let clock = clock(machine)?;
    let timer = xen.events().bind_virq(Virq::TIMER, FIRST)?;
    let before = own.read_own();
    // The timer may fire before the vCPU sleeps, so it may take another try.
    let after = loop {
        let handled = world.arrived(timer.port());
        xen.vcpu(FIRST).set_singleshot_timer(clock.now() + SOON)?;
        machine.wait_until(|| world.arrived(timer.port()) > handled);
        let after = own.read_own();
        if after.spent_in(Runstate::BLOCKED) > before.spent_in(Runstate::BLOCKED) {
            break after;
        }
    };
    line!(t, "after sleep:", after.state, "since later:", after.since > before.since);
    require(after.since <= clock.now(), "a state began before now")?;
    require(
        after.since - before.since == total(&after) - total(&before),
        "each moment was spent in one state",
    )
}

/// Sees what the other vCPU does.
fn another<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    latch: WidthLatch<M::Xen>,
    marked: UpdateFlag,
) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let other = xen.vcpu(SECOND);
    // SAFETY: as above.
    let theirs = unsafe { other.register_runstate(latch, area(machine, 5)) }
        .required("run times can be registered")?;
    let idle = theirs.read(marked);
    // It was never anything else, so whatever is counted is from after the state began.
    let counted = idle.spent_in(Runstate::OFFLINE) > Some(Duration::ZERO);
    line!(t, "another vCPU:", idle.state, "counted up to the registration:", counted);
    machine.start(SECOND, second)?;
    world.await_stage(machine, STARTED);
    let running = theirs.read(marked);
    // It waits for a processor if it has to share one with the vCPU that looks.
    let awake = [Runstate::RUNNING, Runstate::RUNNABLE].contains(&running.state);
    line!(t, "started: awake:", awake, "since", Time);
    world.reach(SLEEP);
    let blocked = becomes(machine, theirs, marked, Runstate::BLOCKED);
    line!(t, "asleep:", blocked.state, "since later:", blocked.since > running.since);
    agrees(&other, &blocked)?;
    xen.events().send(world.port(SECOND))?;
    let offline = becomes(machine, theirs, marked, Runstate::OFFLINE);
    let state = offline.state;
    let longer = offline.spent_in(Runstate::BLOCKED) > blocked.spent_in(Runstate::BLOCKED);
    line!(t, "woken, and down:", state, "slept longer:", longer);
    agrees(&other, &offline)?;
    require(
        offline.since - running.since == total(&offline) - total(&running),
        "each moment was spent in one state",
    )
}

/// Waits until a vCPU does something.
fn becomes<M: Machine>(
    machine: &M,
    area: RunstateArea,
    marked: UpdateFlag,
    state: Runstate,
) -> RunTimes {
    loop {
        let times = area.read(marked);
        if times.state == state {
            return times;
        }
        machine.relax();
    }
}

/// Compares with what Xen answers to the question, which counts the time up to now.
fn agrees<H: Hypercall>(vcpu: &Vcpu<H>, times: &RunTimes) -> Result<(), Failure> {
    let asked = vcpu.runstate()?;
    require(
        (asked.state, asked.since) == (times.state, times.since),
        "the area holds what Xen answers",
    )?;
    require(
        asked.spent_in(times.state) > times.spent_in(times.state),
        "the answer counts the state that lasts",
    )
}

fn second<M: Machine>(machine: &M) {
    let world = machine.world();
    world.reach(STARTED);
    world.await_stage(machine, SLEEP);
    machine.wait_until(|| world.arrived(world.port(SECOND)) > 0);
    // If it cannot stop itself, the first vCPU waits until the run ends by its time limit.
    let _ = Xen::new(machine.xen()).vcpu(SECOND).down();
}

/// A second copy of the calling vCPU's time block.
fn time<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    let copy = area(machine, 6);
    let missing = xen.vcpu(common::beyond_last(machine.xen())?);
    // SAFETY: as above.
    line!(t, "time of a missing vCPU:", unsafe { missing.register_time(copy) }.map(drop));
    let physical = xen.vcpu(FIRST).register_time_physical(&machine.space(), area(machine, 8));
    line!(t, "by a physical address:", physical.map(drop));
    // SAFETY: as above.
    let second = unsafe { xen.vcpu(FIRST).register_time(copy) }
        .required("a time block can be registered")?;
    // SAFETY: as above.
    line!(t, "in the same area again:", unsafe { xen.vcpu(FIRST).register_time(copy) }.map(drop));
    let first = machine.world().block(FIRST)?.time();
    if physical.is_ok() {
        line!(t, "the copy at the virtual address says the same:", same(first, second));
    }
    let second = physical.unwrap_or(second);
    line!(t, "the copy says the same:", same(first, second));
    let clock = PvClock::new(xen.version().features()?, second, machine.counter());
    let clock = clock.required("the clock is fit for HVM guests")?;
    line!(t, "and makes a clock that runs:", clock.is_running(), "at", Time);
    Ok(())
}

/// Compares two blocks, again when Xen writes them meanwhile.
fn same(first: VcpuTimeInfo<'_>, second: VcpuTimeInfo<'_>) -> bool {
    loop {
        let (before, copy, after) = (first.snapshot(), second.snapshot(), first.snapshot());
        if before == after {
            return copy == after;
        }
    }
}
