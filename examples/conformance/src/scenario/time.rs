//! Shows timers and clocks on x86.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime, wall_time};
use xen_hal::event::Port;
use xen_hal::platform::VcpuId;
use xen_pac::base::Virq;

use super::common::{self, FIRST};
use crate::failure::require;
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

const SOON: Duration = Duration::from_millis(2);

/// The timers that each vCPU has: one that fires once, at a later moment or in the past, and a
/// periodic one; that they never fire early; and what Xen refuses.
///
/// Xen stops the periodic timer while the vCPU sleeps, so it does not wake a vCPU.
pub(super) fn timers<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    machine.enable_interrupts();
    let clock = common::clock(machine)?;
    let (vcpu, timer) = (xen.vcpu(FIRST), xen.events().bind_virq(Virq::TIMER, FIRST)?);
    let port = timer.port();
    let once = |at: SystemTime| -> Result<(), Failure> {
        let before = world.arrived(port);
        vcpu.set_singleshot_timer(at)?;
        machine.wait_until(|| world.arrived(port) > before);
        require(clock.now() >= at, "a timer never fires before its time")
    };

    line!(t, "timer:", port);
    once(clock.now() + SOON)?;
    line!(t, "singleshot:", Time, "handled", world.arrived(port));
    once(SystemTime::from_nanos(1))?;
    line!(t, "in the past:", Time, "handled", world.arrived(port));
    vcpu.set_singleshot_timer(clock.now() + Duration::from_secs(1000))?;
    once(clock.now() + SOON)?;
    line!(t, "set again to an earlier moment:", Time, "handled", world.arrived(port));

    let set = vcpu.set_singleshot_timer_in_future(SystemTime::from_nanos(1));
    line!(t, "in the past, but wanted in the future:", set);
    let after = world.arrived(port);
    line!(t, "handled:", after);

    vcpu.set_singleshot_timer(clock.now() + Duration::from_secs(1000))?;
    line!(t, "stopped:", vcpu.stop_singleshot_timer(), "and again:", vcpu.stop_singleshot_timer());
    periodic(machine, t, port, &clock)?;

    let other = xen.vcpu(VcpuId(1));
    let singleshot = other.set_singleshot_timer(SystemTime::from_nanos(1));
    let stopped = other.stop_singleshot_timer();
    line!(t, "another vCPU's: singleshot", singleshot, "stopped", stopped);
    let missing = xen.vcpu(common::beyond_last(machine.xen())?);
    let singleshot = missing.set_singleshot_timer(SystemTime::from_nanos(1));
    let stopped = missing.stop_singleshot_timer();
    line!(t, "a missing vCPU's: singleshot", singleshot, "stopped", stopped);
    let (periodic, stopped) = (missing.set_periodic_timer(SOON), missing.stop_periodic_timer());
    line!(t, "a missing vCPU's: periodic", periodic, "stopped", stopped);
    Ok(())
}

fn periodic<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    port: Port,
    clock: &PvClock<'_, M::Counter>,
) -> Result<(), Failure> {
    const TICKS: u32 = 5;
    let (world, vcpu) = (machine.world(), Xen::new(machine.xen()).vcpu(FIRST));
    for (what, period) in [
        ("999999 ns:", Duration::from_nanos(999_999)),
        ("0 ns:", Duration::ZERO),
        ("2^62 ns:", Duration::from_nanos(1 << 62)),
    ] {
        line!(t, "periodic,", what, vcpu.set_periodic_timer(period));
    }
    let (before, began) = (world.arrived(port), clock.now());
    line!(t, "periodic, 2 ms:", vcpu.set_periodic_timer(SOON));
    while world.arrived(port) < before + TICKS {
        machine.relax();
    }
    let lasted = clock.now() - began;
    line!(t, "stopped:", vcpu.stop_periodic_timer(), "after ticks:", TICKS, "in", Time);
    require(lasted >= SOON * (TICKS - 1), "ticks do not come faster than asked for")
}

/// How often each vCPU reads the clock.
const READINGS: u32 = 5_000;
/// Both vCPUs are ready to read.
const READY: u32 = 1;
/// The second vCPU has read.
const DONE: u32 = 2;

/// Time that does not run backwards: on one vCPU, from one to the other, and against the timer;
/// and what the wallclock adds.
pub(super) fn clocks<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let world = machine.world();
    let shared = world.attach(machine)?;
    let clock = common::clock(machine)?;
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
    // If it cannot read the clock, the first vCPU waits until the run ends by its time limit.
    if read(machine).is_ok() {
        machine.world().reach(DONE);
    }
}

/// Reads the clock of the calling vCPU repeatedly, and compares each time with the one that was
/// published before.
fn read<M: Machine>(machine: &M) -> Result<(), Failure> {
    let (world, clock) = (machine.world(), common::clock(machine)?);
    for _ in 0..READINGS {
        world.readings.compare(|| clock.instant(&world.readings.latest));
    }
    Ok(())
}
