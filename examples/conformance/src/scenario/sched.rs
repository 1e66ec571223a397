//! Shows the ways to wait: yielding, polling ports, pending or masked or neither, with and without
//! a time, and blocking until a timer; the watchdogs; and what Xen refuses. If no watchdog is left,
//! Xen returns the lower half of an error, which is no error in a whole word.

use core::num::NonZero;
use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, SystemTime};
use xen_hal::event::{AllPorts, Port, TwoLevel};
use xen_hal::platform::Interrupts;
use xen_pac::base::{Domid, Virq};
use xen_pac::command::Command;
use xen_pac::hypercall::HypercallNr;
use xen_pac::sched::{SchedWatchdog, ShutdownReason, command};

use super::common::{self, FIRST};
use crate::failure::require;
use crate::transcript::Time;
use crate::{Failure, Machine, Transcript, line};

const SOON: Duration = Duration::from_millis(2);
/// Longer than any run takes.
const MINUTE: NonZero<u32> = NonZero::new(60).expect("it is not zero");

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    line!(t, "yield:", Xen::new(machine.xen()).sched().yield_now());
    poll(machine, t)?;
    block(machine, t)?;
    refusals(machine, t);
    watchdogs(machine, t)
}

/// Polls with interrupts off, as `Sched::poll` requires.
fn poll<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (xen, shared) = (Xen::new(machine.xen()), machine.world().attach(machine)?);
    let (sched, events, bitmaps) = (xen.sched(), xen.events(), TwoLevel::new(shared));
    let clock = common::clock(machine)?;
    let ipi = events.bind_ipi(FIRST)?;
    let ports = [ipi.port()];

    ipi.send()?;
    let (polled, still) = (sched.poll(&ports, None), bitmaps.is_pending(ipi.port()));
    line!(t, "poll of a pending port:", polled, "still pending:", still);
    bitmaps.clear(ipi.port());
    bitmaps.mask(ipi.port());
    ipi.send()?;
    line!(t, "poll of a pending masked port:", sched.poll(&ports, None));
    bitmaps.clear(ipi.port());
    machine.interrupts().without(|| machine.world().upcall(FIRST));
    // Polls until one has lasted for 2 ms. Any event of the domain ends a poll of no port, such as
    // that of a console daemon which has just started. And Xen reads the clock of the processor on
    // which it created the vCPU: under an emulator, processors can be milliseconds apart.
    let lasting = |ports| {
        let mut polls = (0..6).map(|attempt| {
            let began = clock.now();
            let polled = sched.poll(ports, Some(began + SOON * (1 << attempt)));
            (polled, clock.now() >= began + SOON)
        });
        polls.find_map(|(polled, lasts)| (polled.is_err() || lasts).then_some(polled))
    };
    for (what, ports) in [("a silent port", &ports[..]), ("no port", &[])] {
        let polled = lasting(ports);
        require(polled.is_some(), "a poll lasts while nothing happens")?;
        line!(t, "poll of", what, "for 2 ms:", polled.unwrap_or(Ok(())), "after", Time);
    }
    let polled = sched.poll(&ports, Some(SystemTime::from_nanos(1)));
    line!(t, "poll of a silent port until a moment that has passed:", polled);

    for (what, port) in [
        ("free:", Port(63)),
        ("0:", Port(0)),
        ("beyond the domain's:", Port(64)),
        ("absurd:", Port(u32::MAX)),
    ] {
        let polled = sched.poll(&[port], Some(SystemTime::from_nanos(1)));
        line!(t, "poll of a port that is", what, polled);
    }
    let many = [ipi.port(); 129];
    line!(t, "poll of 128 ports:", sched.poll(&many[..128], Some(SystemTime::from_nanos(1))));
    line!(t, "poll of 129 ports:", sched.poll(&many, Some(SystemTime::from_nanos(1))));
    // Unmasks the port, because the mask bit outlives the channel.
    Ok(bitmaps.unmask(events, ipi.port(), AllPorts)?)
}

/// Blocks until the timer fires.
fn block<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let timer = xen.events().bind_virq(Virq::TIMER, FIRST)?;
    let clock = common::clock(machine)?;
    machine.enable_interrupts();
    xen.vcpu(FIRST).set_singleshot_timer(clock.now() + Duration::from_millis(20))?;
    // If the timer were faster than the call, the call would not end: hence the long time.
    line!(t, "block until the timer:", xen.sched().block(), "handled", world.arrived(timer.port()));
    Ok(())
}

pub(super) fn refusals<M: Machine>(machine: &M, t: &Transcript<'_>) {
    let (xen, sched) = (machine.xen(), Xen::new(machine.xen()).sched());
    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::SCHED_OP));
    for (what, number) in [
        ("poll", command::Poll::NUMBER),
        ("shutdown", command::Shutdown::NUMBER),
        ("watchdog", command::Watchdog::NUMBER),
    ] {
        // SAFETY: Xen finds no argument, and does nothing.
        line!(t, what, "with an argument that is nowhere:", unsafe {
            common::from_nowhere(&xen, HypercallNr::SCHED_OP, number)
        });
    }
    let answer = sched.remote_shutdown(Domid(77), ShutdownReason::POWEROFF);
    line!(t, "remote_shutdown of domain 77:", answer);
    let answer = sched.remote_shutdown(Domid::SELF, ShutdownReason::POWEROFF);
    line!(t, "remote_shutdown of oneself:", answer);
}

pub(super) fn watchdogs<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    use xen_hal::hypercall::Commands;
    let (xen, sched) = (machine.xen(), Xen::new(machine.xen()).sched());
    let raw = |id, seconds| {
        xen.call(command::Watchdog, &mut SchedWatchdog::new(id, seconds)).map(|id| id as u64)
    };
    line!(t, "watchdog 1 before it runs:", raw(1, 60), "watchdog 3:", raw(3, 60));
    let (first, second) = (sched.start_watchdog(MINUTE)?, sched.start_watchdog(MINUTE)?);
    line!(t, "two watchdogs:", first.id().get(), "and", second.id().get());
    let (third, raw_answer) =
        (sched.start_watchdog(MINUTE).map(|third| third.id().get()), raw(0, 60));
    line!(t, "a third:", third, "which Xen says as", raw_answer);
    let kicked = first.kick(MINUTE);
    let stopped = first.stop();
    let second_stopped = second.stop();
    let again = second.stop();
    line!(t, "kicked:", kicked, "stopped:", stopped, second_stopped, "and again:", again);
    Ok(())
}
