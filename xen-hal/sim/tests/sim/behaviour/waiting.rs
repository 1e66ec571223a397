//! Sleep, and what ends it.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use xen_hal::platform::Interrupts as _;

use crate::support::prelude::*;

fn at(t: &Table, later: Duration) -> SystemTime {
    SystemTime::from_nanos((t.now() + later).as_nanos() as i64)
}

#[test]
fn polling_wakes_for_a_port_that_is_masked() {
    on([Profile::DOMU, Profile::DOM0LESS], DomainConfig::new().vcpus(2), |profile, t| {
        let (shared, _) = attach_on(profile, t);
        t.is("bound", [ipi(t, 0), ipi(t, 0)], [Ok(1), Ok(2)]);
        bitmaps(shared).mask(Port(1));
        if !is_arm(profile) {
            t.start(1, |guest| Events::new(guest.xen()).send(Port(1)));
        } else {
            // Arm's vCPUs are started by other means than hypercalls; an event that is there
            // already ends the sleep as well.
            t.is("sent", send(t, 1), OK);
        }
        t.is("polled without an end", Sched::new(t.xen()).poll(&[Port(1), Port(2)], None), Ok(()));
        t.is("pending", is_pending(shared, 1), true);
    });
}

#[test]
fn a_poll_of_one_port_is_woken_by_no_other_and_a_poll_of_several_by_any() {
    let other_comes = |ports: &'static [Port]| {
        move |t: &Table| {
            let shared = attach(t);
            for port in [1, 2, 3] {
                t.is("bound", ipi(t, 0), Ok(port));
                bitmaps(shared).mask(Port(port as u32));
            }
            t.start(1, |guest| Events::new(guest.xen()).send(Port(3)));
            t.is("polled", Sched::new(t.xen()).poll(ports, None), Ok(()));
        }
    };
    one(Profile::DOMU, DomainConfig::new().vcpus(2), other_comes(&[Port(1), Port(2)]));
    let failure = fails(Profile::DOMU, DomainConfig::new().vcpus(2), other_comes(&[Port(1)]));
    assert!(
        matches!(&failure.kind, FailureKind::Deadlock { waiting }
            if waiting[0].contains("polls ports [1]")),
        "{failure}"
    );
}

#[test]
fn polling_returns_at_once_while_an_interrupt_can_be_delivered() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let (shared, notes) = (attach(t), Notes::default());
        notes.note(**t, VECTOR, shared);
        t.is("bound", [ipi(t, 0), ipi(t, 0)], [Ok(1), Ok(2)]);
        // Upcalls that are always late leave one to be delivered for as long as one likes.
        t.set_fault_rates(FaultRates { late_upcalls: 1, ..FaultRates::none() });
        t.enable_interrupts();
        t.is("sent", send(t, 1), OK);
        t.is("polled a silent port", Sched::new(t.xen()).poll(&[Port(2)], None), Ok(()));
        t.is("which is silent", is_pending(shared, 2), false);
        t.is("blocked", Sched::new(t.xen()).block(), Ok(()));
        t.set_fault_rates(FaultRates::none());
        t.is("it came at last", notes.ports(), vec![1]);
    });
    // With interrupts off there is none to be delivered, and the poll lasts.
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let _ = attach(t);
        t.is("bound", [ipi(t, 0), ipi(t, 0)], [Ok(1), Ok(2)]);
        t.is("sent", send(t, 1), OK);
        let until = at(t, Duration::from_millis(3));
        t.is("polled", Sched::new(t.xen()).poll(&[Port(2)], Some(until)), Ok(()));
        t.is("to its end", t.now().as_nanos() as i64 >= until.as_nanos(), true);
    });
}

#[test]
fn blocking_with_interrupts_off_sleeps_although_an_upcall_is_pending() {
    let failure = fails(Profile::DOMU, DomainConfig::new(), |t| {
        let _ = attach(t);
        t.is("bound, and sent", (ipi(t, 0), send(t, 1)), (Ok(1), OK));
        let _ = Sched::new(t.xen()).block();
    });
    let FailureKind::Deadlock { waiting } = &failure.kind else { panic!("{failure}") };
    assert_eq!(waiting, &["domain 1, vCPU 0 is blocked, with an upcall pending"]);
    // Arm lets interrupts in as it goes to sleep.
    one(Profile::DOM0LESS, DomainConfig::new(), |t| {
        let ((shared, interrupt), notes) = (attach_on(Profile::DOM0LESS, t), Notes::default());
        notes.note(**t, interrupt, shared);
        t.is("bound, and sent", (ipi(t, 0), send(t, 1)), (Ok(1), OK));
        t.is("blocked", Sched::new(t.xen()).block(), Ok(()));
        t.is("told", notes.ports(), vec![1]);
    });
}

#[test]
fn the_processors_own_way_to_sleep_misses_nothing() {
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        let (shared, notes) = (attach(t), Notes::default());
        notes.note(**t, VECTOR, shared);
        t.is("bound", ipi(t, 0), Ok(1));
        t.is("sent with interrupts off", send(t, 1), OK);
        let seen = notes.clone();
        t.wait_until(move || seen.upcalls() == 1);
        t.start(1, |guest| Events::new(guest.xen()).send(Port(1)));
        let seen = notes.clone();
        t.wait_until(move || seen.upcalls() == 2);
        t.is("both", notes.ports(), vec![1, 1]);
    });
}

#[test]
fn a_periodic_timer_wakes_nobody() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let (shared, notes) = (attach(t), Notes::default());
        notes.note(**t, VECTOR, shared);
        t.is("bound", [virq(t, Virq::TIMER.0, 0), ipi(t, 0)], [Ok(1), Ok(2)]);
        Vcpu::new(t.xen(), VcpuId(0))
            .set_periodic_timer(Duration::from_millis(1))
            .expect("a period that may be");
        t.enable_interrupts();
        let before = notes.upcalls();
        t.advance(Duration::from_micros(2500));
        t.is("ticks while it runs", notes.upcalls() > before, true);
        let until = at(t, Duration::from_millis(50));
        let before = notes.upcalls();
        t.is("asleep", Sched::new(t.xen()).poll(&[Port(2)], Some(until)), Ok(()));
        t.is("it was not woken", t.now().as_nanos() as i64 >= until.as_nanos(), true);
        t.is("one tick is made up for", notes.upcalls() - before, 1);
    });
    let failure = fails(Profile::DOMU, DomainConfig::new(), |t| {
        Notes::default().note(**t, VECTOR, attach(t));
        t.is("bound", virq(t, Virq::TIMER.0, 0), Ok(1));
        Vcpu::new(t.xen(), VcpuId(0))
            .set_periodic_timer(Duration::from_secs(1))
            .expect("a period that may be");
        t.wait_until(|| false);
    });
    assert!(matches!(failure.kind, FailureKind::Deadlock { .. }), "{failure}");
}

#[test]
fn the_last_vcpu_to_go_down_powers_the_domain_off() {
    let down = |guest: Guest, vcpu| Vcpu::new(guest.xen(), VcpuId(vcpu)).down();
    let report = one(Profile::DOMU, DomainConfig::new(), move |t| {
        t.all_right();
        let _ = down(**t, 0);
        panic!("the domain has ended");
    });
    assert_eq!(report.shutdown_reasons, [(1, ShutdownReason::POWEROFF)].into());
    let report = one(Profile::DOMU, DomainConfig::new().vcpus(2), move |t| {
        t.start(1, move |guest| {
            let first = Vcpu::new(guest.xen(), VcpuId(0));
            while first.is_up() == Ok(true) {
                guest.relax();
            }
            guest.publish("the first is down", 1);
            let ended = down(guest, 1);
            assert!(ended.is_err() && ended.is_ok(), "the domain has ended");
        });
        t.all_right();
        let _ = down(**t, 0);
        panic!("nobody brings it up again");
    });
    assert_eq!(report.shutdown_reasons, [(1, ShutdownReason::POWEROFF)].into());
}

#[test]
fn a_vcpu_that_is_brought_up_again_goes_on_where_it_was() {
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        t.start(1, |guest| {
            guest.publish("at", 1);
            Vcpu::new(guest.xen(), VcpuId(1)).down().expect("one may stop oneself");
            guest.publish("at", 2);
        });
        let second = Vcpu::new(t.xen(), VcpuId(1));
        while second.is_up() == Ok(true) {
            t.relax();
        }
        t.is("it has come to where it stopped itself", t.wait_for_key("at"), 1);
        t.is("up", second.up(), Ok(()));
        while t.wait_for_key("at") == 1 {
            t.relax();
        }
    });
}

/// `sti` and then `SCHEDOP_block`: in the instruction after `sti` no interrupt can be delivered.
#[test]
fn blocking_right_after_interrupts_were_turned_on_can_lose_the_wakeup() {
    let run = |seed, profile, by_halt: bool| {
        let rates = FaultRates { interrupt_shadow: 2, ..FaultRates::none() };
        let mut machine =
            Machine::new(profile, seed).expect("the host has memory").fault_rates(rates);
        let program = move |guest| {
            let t = Table::new(guest);
            let ((shared, interrupt), notes) = (attach_on(profile, &t), Notes::default());
            notes.note(guest, interrupt, shared);
            t.is("bound, and sent with interrupts off", (ipi(&t, 0), send(&t, 1)), (Ok(1), OK));
            let flag = guest.interrupts();
            if by_halt {
                // SAFETY: there is a handler, and no critical section.
                unsafe { flag.wait() };
            } else {
                // SAFETY: as above.
                unsafe { flag.enable() };
                while notes.upcalls() == 0 {
                    t.is("blocked", Sched::new(t.xen()).block(), Ok(()));
                }
            }
            t.is("told", notes.ports(), vec![1]);
            t.finish()
        };
        machine.domain(DomainConfig::new(), program).expect("the machine has memory");
        machine.run()
    };
    let lost = (0..40).filter_map(|seed| run(seed, Profile::DOMU, false).err());
    let lost: Vec<_> = lost.map(|failure| failure.kind.to_string()).collect();
    assert!((10..30).contains(&lost.len()), "{lost:?}");
    let expected = "deadlock: domain 1, vCPU 0 is blocked, with an upcall pending";
    assert!(lost.iter().all(|failure| failure == expected), "{lost:?}");
    for seed in 0..40 {
        let (halted, on_arm) =
            (run(seed, Profile::DOMU, true), run(seed, Profile::DOM0LESS, false));
        assert!(halted.is_ok() && on_arm.is_ok(), "{halted:?} {on_arm:?}");
    }
}

/// A kernel with a tick every millisecond. Its task wakes at ticks, and works for a while.
fn ticks(
    guest: Guest,
    waits: fn(&Guest, &AtomicBool),
    limit: Option<Duration>,
) -> Result<(), String> {
    const PERIOD: Duration = Duration::from_millis(1);
    let t = Table::new(guest);
    let (shared, rung) = (attach(&t), Arc::new(AtomicBool::new(false)));
    let (due, deadline) = (Mutex::new(at(&t, PERIOD)), Arc::new(Mutex::new(None)));
    t.is("bound", virq(&t, Virq::TIMER.0, 0), Ok(1));
    let vcpu = Vcpu::new(guest.xen(), VcpuId(0));
    vcpu.set_singleshot_timer(*due.lock().unwrap()).unwrap();
    let (rings, starts) = (Arc::clone(&rung), Arc::clone(&deadline));
    guest.on_interrupt(VECTOR, move || {
        let _ = take(shared, block(shared, 0));
        let mut due = due.lock().unwrap();
        while guest.now().as_nanos() as i64 >= due.as_nanos() {
            *due += PERIOD;
            rings.store(true, SeqCst);
            starts.lock().unwrap().get_or_insert_with(|| limit.map(|limit| guest.deadline(limit)));
        }
        vcpu.set_singleshot_timer(*due).unwrap();
    });
    guest.enable_interrupts();
    for _ in 0..20 {
        while !rung.load(SeqCst) {
            waits(&guest, &rung);
        }
        rung.store(false, SeqCst);
        drop(deadline.lock().unwrap().take());
        guest.advance(Duration::from_nanos(guest.random() % 1_000_000));
    }
    t.finish()
}

/// How many of some seeds fail with the default rates.
fn failing(seeds: u64, waits: fn(&Guest, &AtomicBool), limit: Option<Duration>) -> usize {
    let run = |seed: &u64| {
        let mut machine = Machine::new(Profile::DOMU, *seed).expect("the host has memory");
        let program = move |guest| ticks(guest, waits, limit);
        machine.domain(DomainConfig::new(), program).expect("the machine has memory");
        let failure = machine.run().err();
        if let Some(failure) = &failure {
            let text = "domain 1, vCPU 0 missed a deadline of 20";
            assert!(failure.to_string().starts_with(text), "{failure}");
        }
        failure.is_some()
    };
    (0..seeds).filter(run).count()
}

/// The tick repairs the lost wakeup, a millisecond late.
#[test]
fn a_deadline_finds_check_then_block_under_a_tick_by_the_default_rates() {
    let check_then_block: fn(&Guest, &AtomicBool) = |guest, _| _ = Sched::new(guest.xen()).block();
    let limit = Some(Duration::from_micros(200));
    assert_eq!(failing(50, check_then_block, None), 0);
    let found = failing(400, check_then_block, limit);
    // Without stolen time, it is found with one seed of about 100.
    assert!(found >= 15, "{found}");
    assert_eq!(failing(100, |guest, rung| guest.wait_until(|| rung.load(SeqCst)), limit), 0);
}
