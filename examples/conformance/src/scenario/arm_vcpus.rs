//! Shows vCPUs on Arm: what Xen refuses, their blocks and run times, the two time bases, and the
//! parameters that have no meaning there.

use core::sync::atomic::Ordering;
use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, CounterClock, PvClock, SystemTime, TimeOffset, wall_time};
use xen_hal::hvm::parameter;
use xen_hal::hypercall::{Commands, Hypercall};
use xen_hal::platform::{Counter, Frame, Interrupts};
use xen_hal::vcpu::{UpdateFlag, VcpuError};
use xen_pac::base::{Domid, XenUlong};
use xen_pac::hvm::HvmParam;
use xen_pac::hypercall::HypercallNr;
use xen_pac::vcpu::{Runstate, command as vcpu_command, raw};

use super::common::{self, FIRST, NOWHERE, SECOND, area, arm_latch, register};
use super::{ipi, sched};
use crate::failure::{Required, require};
use crate::transcript::{Address, Time};
use crate::{Failure, Machine, Transcript, line};

/// The rate of QEMU's counter, which the simulator's profile has too.
const FREQUENCY: u64 = 62_500_000;

/// Blocks by the HAL's API, and IPIs both ways.
pub(super) fn vcpu<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    let beyond = common::beyond_last(machine.xen())?;
    let (me, other, missing) = (xen.vcpu(FIRST), xen.vcpu(SECOND), xen.vcpu(beyond));
    line!(
        t,
        "up: this one",
        me.is_up(),
        "the second",
        other.is_up(),
        "a missing one",
        missing.is_up()
    );
    line!(
        t,
        "up:",
        other.up(),
        "down:",
        other.down(),
        "a missing one's:",
        missing.up(),
        missing.down()
    );
    let own = me.runstate().map(|times| times.state);
    let none = missing.runstate().map(|times| times.state);
    line!(t, "run times: this one", own, "a missing one", none);
    let periodic = me.set_periodic_timer(Duration::from_millis(2));
    let stopped = me.stop_periodic_timer();
    let none = missing.stop_periodic_timer();
    line!(t, "periodic:", periodic, "stopped:", stopped, "a missing one's:", none);
    let singleshot = me.set_singleshot_timer(SystemTime::from_nanos(1));
    let stopped = me.stop_singleshot_timer();
    let none = missing.stop_singleshot_timer();
    line!(t, "singleshot:", singleshot, "stopped:", stopped, "a missing one's:", none);
    line!(t, "physical id:", me.physical_id().map(|id| id.apic));
    let beyond = beyond.0 as usize;
    for number in [0_usize, 3, 4, 11, 14, 99] {
        // SAFETY: Xen finds no argument, and does nothing.
        let raw = |vcpu| unsafe {
            common::raw(&machine.xen(), HypercallNr::VCPU_OP, [number, vcpu, NOWHERE])
        };
        let (answer, result, second) = (raw(0), raw(beyond), raw(1 << 32));
        line!(
            t,
            "command",
            number,
            "with nothing:",
            answer,
            "of a missing one:",
            result,
            "of vCPU 2^32:",
            second
        );
    }
    // SAFETY: Xen finds no argument, and does nothing.
    let raw = |number, vcpu| unsafe {
        common::raw(&machine.xen(), HypercallNr::VCPU_OP, [number, vcpu, NOWHERE])
    };
    let (nowhere, answer, block, result) = (raw(5, 0), raw(5, beyond), raw(10, 0), raw(10, beyond));
    line!(
        t,
        "run time area from nowhere:",
        nowhere,
        "of a missing one:",
        answer,
        "block from nowhere:",
        block,
        "of a missing one:",
        result
    );

    let own = register(machine, FIRST, 3)?;
    let pending = own.evtchn_upcall_pending().load(Ordering::SeqCst);
    let full = own.evtchn_pending_sel().load(Ordering::SeqCst) == XenUlong::MAX;
    line!(t, "block of vCPU 0: pending", pending, "full:", full);
    world.moved(FIRST, own);
    let theirs = register(machine, SECOND, 4)?;
    let pending = theirs.evtchn_upcall_pending().load(Ordering::SeqCst);
    let full = theirs.evtchn_pending_sel().load(Ordering::SeqCst) == XenUlong::MAX;
    line!(t, "block of vCPU 1: pending", pending, "full:", full);
    world.moved(SECOND, theirs);
    let none = missing
        .register_vcpu_info(&machine.space(), arm_latch(machine), area(machine, 5))
        .map(drop);
    line!(t, "block of a missing vCPU:", none);
    let again: Result<(), VcpuError> =
        me.register_vcpu_info(&machine.space(), arm_latch(machine), area(machine, 6)).map(drop);
    line!(t, "again elsewhere:", again);
    ipi::attached(machine, t)
}

/// What vCPUs do, in memory that is registered.
pub(super) fn runstate<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    world.attach(machine)?;
    line!(t, "update flag:", UpdateFlag::request(machine.xen()).map(drop));
    let marked =
        UpdateFlag::request(machine.xen()).required("Xen marks the run times that it writes")?;
    let beyond = common::beyond_last(machine.xen())?;
    let (me, other, missing) = (xen.vcpu(FIRST), xen.vcpu(SECOND), xen.vcpu(beyond));
    // SAFETY: every page table maps all memory to itself, here and below.
    let registered =
        unsafe { missing.register_runstate(arm_latch(machine), area(machine, 7)) }.map(drop);
    line!(t, "run times of a missing vCPU:", registered);
    let physical = me
        .register_runstate_physical(&machine.space(), arm_latch(machine), area(machine, 7))
        .map(drop);
    line!(t, "by a physical address:", physical);
    // SAFETY: as above.
    let own = unsafe { me.register_runstate(arm_latch(machine), area(machine, 3)) }
        .required("run times can be registered")?;
    let (state, zero) = (own.read_own().state, own.read_own().since == SystemTime::from_nanos(0));
    line!(t, "run times of this vCPU:", state, "since", Time, "since is zero:", zero);
    // SAFETY: as above.
    let theirs = unsafe { other.register_runstate(arm_latch(machine), area(machine, 4)) }
        .required("run times can be registered")?;
    let idle = theirs.read(marked);
    let state = idle.state;
    let counted = idle.spent_in(Runstate::OFFLINE) > Some(Duration::ZERO);
    line!(t, "another vCPU:", state, "counted up to the registration:", counted);
    let before = own.read_own();
    let ipi = xen.events().bind_ipi(FIRST)?;
    machine
        .interrupts()
        .without(|| xen.sched().poll(&[ipi.port()], Some(before.since + Duration::from_secs(1))))?;
    let after = own.read_own();
    let state = after.state;
    let later = after.since > before.since;
    let slept = after.spent_in(Runstate::BLOCKED) > before.spent_in(Runstate::BLOCKED);
    line!(t, "after sleep:", state, "since later:", later, "slept:", slept);
    let block = register(machine, SECOND, 5)?;
    world.moved(SECOND, block);
    let wake = xen.events().bind_ipi(SECOND)?;
    world.set_port(SECOND, wake.port());
    machine.start(SECOND, |machine| {
        let world = machine.world();
        machine.interrupts().without(|| world.upcall(SECOND));
        world.reach(1);
        world.await_stage(machine, 2);
        let before = world.arrived(world.port(SECOND));
        machine.wait_until(|| world.arrived(world.port(SECOND)) > before);
        world.reach(3);
        world.await_stage(machine, 4);
    })?;
    world.await_stage(machine, 1);
    let running = theirs.read(marked);
    line!(t, "started: awake:", [Runstate::RUNNING, Runstate::RUNNABLE].contains(&running.state));
    world.reach(2);
    let mut times = theirs.read(marked);
    while times.state != Runstate::BLOCKED {
        machine.relax();
        times = theirs.read(marked);
    }
    line!(t, "asleep:", times.state, "since later:", times.since > running.since);
    wake.send()?;
    world.await_stage(machine, 3);
    let times = theirs.read(marked);
    line!(t, "woken: awake:", [Runstate::RUNNING, Runstate::RUNNABLE].contains(&times.state));
    world.reach(4);
    let mut argument = raw::VcpuRunstateInfo::ZEROED;
    let asked = machine.xen().call(vcpu_command::GetRunstateInfo, (FIRST, &mut argument));
    line!(t, "asked for:", asked);
    Ok(())
}

/// Measures how far Xen's time is ahead of an Arm domain's counter, by the times at which the
/// calling vCPU is woken. `entry_time` reads the vCPU's runstate area.
///
/// # Errors
///
/// Xen's, and [`Failure::Broken`] if the vCPU does not sleep, as while an event is pending.
pub fn time_offset(
    xen: impl Hypercall + Copy,
    counter: impl Counter,
    frequency: u64,
    entry_time: impl Fn() -> SystemTime,
) -> Result<TimeOffset, Failure> {
    let shortest = Duration::from_micros(10);
    let (mut offset, mut samples, mut ahead) = (TimeOffset::UNKNOWN, 0, shortest);
    while samples < 8 {
        let (last, before) = (entry_time(), counter.read());
        Xen::new(xen).sched().poll(&[], Some(last + ahead))?;
        let (entry, after) = (entry_time(), counter.read());
        if entry == last {
            // The deadline had passed.
            require(ahead < Duration::from_secs(60), "a vCPU that polls sleeps")?;
            ahead *= 2;
        } else {
            offset = offset.narrow(frequency, before, entry, after);
            (samples, ahead) = (samples + 1, shortest);
        }
    }
    Ok(offset)
}

/// The counter's clock, Xen's own time, and waiting by either.
pub(super) fn clock<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let (world, xen) = (machine.world(), Xen::new(machine.xen()));
    let shared = world.attach(machine)?;
    let block = machine.world().block(FIRST)?.time();
    let refused = PvClock::new(xen.version().features()?, block, machine.counter()).is_err();
    line!(t, "the paravirtual clock is refused:", refused);
    let clock = CounterClock::new(machine.counter(), FREQUENCY, TimeOffset::ZERO)
        .required("the counter has a rate")?;
    let mut last = clock.now();
    let forwards = (0..1000).all(|_| {
        let now = clock.now();
        let forwards = now >= last;
        last = now;
        forwards
    });
    let runs = clock.now() > SystemTime::from_nanos(0);
    line!(t, "1000 readings, none before the last:", forwards, "the clock runs:", runs);
    // SAFETY: all memory is mapped to itself.
    let own = unsafe { xen.vcpu(FIRST).register_runstate(arm_latch(machine), area(machine, 3)) }
        .required("run times can be registered")?;
    let ipi = xen.events().bind_ipi(FIRST)?;
    let ports = [ipi.port()];
    let poll = |until| machine.interrupts().without(|| xen.sched().poll(&ports, Some(until)));
    line!(t, "poll until long ago:", poll(SystemTime::from_nanos(1)));
    let entry_time = || own.read_own().since;
    let offset = time_offset(machine.xen(), machine.counter(), FREQUENCY, entry_time)?;
    let close = offset.as_nanos().unsigned_abs() < 10_000_000;
    line!(t, "Xen's time and the counter's clock are within 10 ms of each other:", close);
    let xen_time = CounterClock::new(machine.counter(), FREQUENCY, offset)
        .required("the counter has a rate")?;
    // Whether polls until 20 ms after a time sleep for so long, and one of them for less than
    // 100 ms: another guest can have the processor at any moment, but not each time.
    let sleeps = |time: &dyn Fn() -> SystemTime, least: Duration| {
        let (mut answer, mut is_long, mut is_short) = (Ok(()), true, false);
        for _ in 0..5 {
            let (began, until) = (clock.now(), time() + Duration::from_millis(20));
            answer = poll(until);
            let took = clock.now() - began;
            is_long &= took >= least;
            is_short = took < Duration::from_millis(100);
            if is_short {
                break;
            }
        }
        (answer, is_long, is_short)
    };
    // By Xen's time, which the vCPU gets when it wakes. A poll whose deadline has passed does not
    // sleep.
    let woken = || {
        let last = entry_time();
        for _ in 0..20 {
            let _ = poll(xen_time.now() + Duration::from_millis(1));
            if entry_time() != last {
                break;
            }
        }
        entry_time()
    };
    let (answer, least, less) = sleeps(&woken, Duration::from_millis(15));
    line!(
        t,
        "poll until 20 ms after Xen's time:",
        answer,
        "slept at least 15 ms:",
        least,
        "and less than 100 ms:",
        less
    );
    // By the HAL's clock. Where Xen's time is ahead, the deadline has passed, and no sleep is so
    // long, unless another guest has the processor.
    let mut answer = Ok(());
    let least = (0..5).all(|_| {
        let began = clock.now();
        answer = poll(began + Duration::from_millis(20));
        clock.now() - began >= Duration::from_millis(15)
    });
    line!(t, "poll until 20 ms after the counter's clock:", answer, "slept at least 15 ms:", least);
    let (answer, least, less) = sleeps(&|| xen_time.now(), Duration::from_millis(20));
    line!(
        t,
        "poll until 20 ms after the clock with the offset:",
        answer,
        "slept at least 20 ms:",
        least,
        "and less than 100 ms:",
        less
    );
    let began = clock.now();
    let waited = xen.sched().wait_until_deadline(
        &machine.interrupts(),
        &ports,
        began + Duration::from_millis(20),
        || clock.now(),
        || false,
    );
    let took = clock.now() - began;
    line!(t, "wait_until_deadline of 20 ms:", waited, "lasted:", took >= Duration::from_millis(20));
    let wall = wall_time(&shared.wallclock(), clock.now());
    let later = wall.is_some_and(|wall| wall > Duration::from_secs(1_600_000_000));
    line!(t, "time of day is later than 2020:", later);
    line!(t, "yield:", xen.sched().yield_now());
    sched::refusals(machine, t);
    sched::watchdogs(machine, t)
}

/// The parameters, raw and by their types, and the ways to deliver events.
pub(super) fn hvm<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = machine.xen();
    for index in (0..40).chain([u32::MAX]) {
        let parameter = HvmParam(index);
        let read = common::parameter(machine, index);
        let set_to_zero = common::set_param(machine, Domid::SELF, index, 0);
        line!(t, parameter, "read:", read, "set to 0:", set_to_zero);
    }
    line!(
        t,
        "of domain 77: read",
        common::get_param(machine, Domid(77), 0),
        "set",
        common::set_param(machine, Domid(77), 0, 0)
    );
    for number in [0_usize, 1, 2, 5, 15, 23, 99] {
        // SAFETY: Xen finds no argument, and does nothing.
        line!(t, "command", number, "with nothing:", unsafe {
            common::raw(&xen, HypercallNr::HVM_OP, [number, NOWHERE, 0])
        });
    }
    let typed = Xen::new(xen).hvm();
    let frame = |frame: Option<Frame>| frame.map(|frame| Address(frame.0));
    let page = typed.get(parameter::STORE_PFN).map(frame);
    let port = typed.get(parameter::STORE_EVTCHN);
    line!(t, "xenstore: page", page, "port", port);
    let page = typed.get(parameter::CONSOLE_PFN).map(frame);
    let port = typed.get(parameter::CONSOLE_EVTCHN);
    line!(t, "console: page", page, "port", port);
    line!(t, "callback:", typed.get(parameter::CALLBACK_IRQ).map(|via| via.encode()));
    line!(t, "generation:", typed.get(parameter::VM_GENERATION_ID_ADDR).map(|address| address.0));
    line!(t, "translations flushed:", typed.flush_tlbs());
    for kind in 0..7_usize {
        // SAFETY: Xen changes nothing for an assistance that it does not have.
        let raw = |op| unsafe { common::raw(&xen, HypercallNr::VM_ASSIST, [op, kind, 0]) };
        line!(t, "vm_assist", kind, "enable", raw(0), "disable", raw(1), "unknown", raw(2));
    }
    for number in 0..60_usize {
        // SAFETY: no hypercall has the command.
        line!(t, "hypercall", number, "command -1:", unsafe {
            common::raw(&xen, HypercallNr(number as u32), [u32::MAX as usize, NOWHERE, NOWHERE])
        });
    }
    Ok(())
}
