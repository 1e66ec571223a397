//! Shows the timers that each vCPU has: one that fires once, at a moment to come or in the past,
//! and one that goes on; that they never fire early; and what Xen refuses.
//!
//! The one that goes on does so for a vCPU that is awake: Xen stops it while the vCPU sleeps, so
//! that it wakes nobody.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime};
use xen_hal::event::Port;
use xen_hal::platform::VcpuId;
use xen_pac::base::Virq;

use crate::failure::require;
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

const FIRST: VcpuId = VcpuId(0);
const SOON: Duration = Duration::from_millis(2);

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let shared = world.attach(machine)?;
    machine.enable_interrupts();
    let block = shared.vcpu_info(0).ok_or(Failure::Broken("vCPU 0 has its block"))?.time();
    let features = xen.version().features()?;
    let clock = PvClock::new(features, block, machine.counter())
        .map_err(|_| Failure::Broken("the clock is fit for HVM guests"))?;
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
    let nobody = xen.vcpu(VcpuId(2));
    let singleshot = nobody.set_singleshot_timer(SystemTime::from_nanos(1));
    let stopped = nobody.stop_singleshot_timer();
    line!(t, "vCPU 2's: singleshot", singleshot, "stopped", stopped);
    let (periodic, stopped) = (nobody.set_periodic_timer(SOON), nobody.stop_periodic_timer());
    line!(t, "vCPU 2's: periodic", periodic, "stopped", stopped);
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
