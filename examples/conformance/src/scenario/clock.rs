//! Shows that time does not run backwards: on one vCPU, from one to the other, and against the
//! timer; and what the wallclock adds.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, wall_time};
use xen_hal::platform::VcpuId;

use crate::failure::require;
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

/// How often each vCPU reads the clock.
const READINGS: u32 = 5_000;
/// Both vCPUs are ready to read.
const READY: u32 = 1;
/// The second vCPU has read.
const DONE: u32 = 2;

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let shared = world.attach(machine)?;
    let block = shared.vcpu_info(0).ok_or(Failure::Broken("vCPU 0 has its block"))?.time();
    let clock = PvClock::new(xen.version().features()?, block, machine.counter());
    let clock = clock.map_err(|_| Failure::Broken("the clock is fit for HVM guests"))?;
    line!(t, "the clock runs:", clock.is_running(), "at", Time, "ticks a second");
    require(
        clock.frequency().is_some_and(|rate| rate > 1_000_000),
        "the counter is faster than a megahertz",
    )?;

    let mut last = clock.now();
    let forwards = (0..READINGS).all(|_| {
        let now = clock.now();
        let forwards = now >= last;
        last = now;
        forwards
    });
    line!(t, READINGS, "readings on one vCPU, none before the last:", forwards);

    machine.start(VcpuId(1), second)?;
    world.await_stage(machine, READY);
    read(machine)?;
    world.await_stage(machine, DONE);
    let in_order = world.readings.in_order();
    line!(t, READINGS, "readings on two vCPUs, none before what the other was told:", in_order);

    let wall = wall_time(&shared.wallclock(), clock.now());
    line!(t, "time of day:", Time);
    require(
        wall.is_some_and(|wall| wall > Duration::from_secs(1_600_000_000)),
        "it is later than 2020",
    )
}

fn second<M: Machine>(machine: &M) {
    machine.world().reach(READY);
    // If it cannot read the clock, the first vCPU waits in vain, and the run ends by its time
    // limit.
    if read(machine).is_ok() {
        machine.world().reach(DONE);
    }
}

/// Reads the clock of the calling vCPU again and again, and compares with what had been published
/// before.
fn read<M: Machine>(machine: &M) -> Result<(), Failure> {
    let (world, features) = (machine.world(), Xen::new(machine.xen()).version().features()?);
    let info =
        world.vcpu_info(machine.current()).ok_or(Failure::Broken("each vCPU has its block"))?;
    let clock = PvClock::new(features, info.time(), machine.counter())
        .map_err(|_| Failure::Broken("the clock is fit for HVM guests"))?;
    for _ in 0..READINGS {
        world.readings.compare(|| clock.instant(&world.readings.latest));
    }
    Ok(())
}
