//! Timers, watchdogs, and the account of what vCPUs do.

use xen_pac::sched::command as sched;
use xen_pac::vcpu::command;

use crate::support::prelude::*;

/// When the first domain was made.
const BEGINNING: Duration = Duration::from_secs(1);

#[test]
fn a_single_shot_is_never_early() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = attach(t);
        let (guest, fired) = (**t, Arc::new(AtomicU64::new(0)));
        let noted = Arc::clone(&fired);
        t.on_interrupt(VECTOR, move || {
            noted.store(guest.now().as_nanos() as u64, SeqCst);
            let _ = take(shared, block(shared, 0));
        });
        t.is("bound", virq(t, Virq::TIMER.0, 0), Ok(1));
        for _ in 0..200 {
            let due = t.now().as_nanos() as u64 + t.random() % 5_000_000;
            fired.store(0, SeqCst);
            Vcpu::new(t.xen(), VcpuId(0))
                .set_singleshot_timer(SystemTime::from_nanos(due as i64))
                .expect("any moment may be asked for");
            t.wait_until(|| fired.load(SeqCst) != 0);
            let late = fired.load(SeqCst).checked_sub(due);
            t.is("late by little", late.is_some_and(|late| late < 100_000), true);
        }
    });
}

#[test]
fn the_end_of_a_poll_is_never_early() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        for _ in 0..200 {
            let due = t.now().as_nanos() as u64 + t.random() % 5_000_000;
            rows! { t;
                "polled", Sched::new(t.xen()).poll(&[], Some(SystemTime::from_nanos(due as i64)))
                    => Ok(());
                "not early", t.now().as_nanos() as u64 >= due => true;
            }
        }
    });
}

fn all(times: &RunTimes) -> Duration {
    [Runstate::RUNNING, Runstate::RUNNABLE, Runstate::BLOCKED, Runstate::OFFLINE]
        .into_iter()
        .filter_map(|state| times.spent_in(state))
        .sum()
}

#[test]
fn a_vcpu_is_always_in_one_state() {
    one(Profile::DOMU, DomainConfig::new().vcpus(3), |t| {
        t.start(1, |guest| {
            for _ in 0..20 {
                let until = SystemTime::from_nanos(guest.now().as_nanos() as i64 + 100_000);
                let _ = Sched::new(guest.xen()).poll(&[], Some(until));
                guest.advance(Duration::from_micros(30));
            }
        });
        for round in 0..40 {
            t.advance(Duration::from_micros(50));
            t.relax();
            for vcpu in 0..3 {
                let (before, times) = (
                    t.now(),
                    Vcpu::new(t.xen(), VcpuId(vcpu)).runstate().expect("the vCPU is there"),
                );
                let sum = BEGINNING + all(&times);
                rows! { t;
                    &format!("round {round}, vCPU {vcpu}: the states make up all the time"),
                        (before..=t.now()).contains(&sum) => true;
                }
            }
        }
        let times = |vcpu| Vcpu::new(t.xen(), VcpuId(vcpu)).runstate().expect("the vCPU is there");
        let (first, second, third) = (times(0), times(1), times(2));
        rows! { t;
            "this one runs", first.state => Runstate::RUNNING;
            "the second slept",
                second.spent_in(Runstate::BLOCKED) >= Some(Duration::from_micros(500)) => true;
            "the third never was",
                (third.state, all(&third) == third.spent_in(Runstate::OFFLINE).unwrap_or_default())
                => (Runstate::OFFLINE, true);
        }
    });
}

#[test]
fn a_watchdog_that_nobody_kicks_ends_the_domain() {
    let report = one(Profile::DOMU, DomainConfig::new(), |t| {
        let dog = Sched::new(t.xen())
            .start_watchdog(NonZero::<u32>::MIN.saturating_add(1))
            .expect("there is one");
        for _ in 0..5 {
            t.advance(Duration::from_millis(1500));
            dog.kick(NonZero::<u32>::MIN.saturating_add(1)).expect("it runs");
        }
        t.all_right();
        t.advance(Duration::from_secs(3));
        panic!("the domain has ended");
    });
    assert_eq!(report.shutdown_reasons, [(1, ShutdownReason::WATCHDOG)].into());
    assert!(report.nanos >= 1_000_000_000 + 5 * 1_500_000_000 + 2_000_000_000, "{report:?}");
    // It wakes nobody up to do it, and one that was stopped does nothing.
    let report = one(Profile::DOMU, DomainConfig::new(), |t| {
        let dog = Sched::new(t.xen()).start_watchdog(NonZero::<u32>::MIN).expect("there is one");
        dog.stop().expect("it runs");
        t.advance(Duration::from_secs(9));
        let _dog = Sched::new(t.xen()).start_watchdog(NonZero::<u32>::MIN).expect("there is one");
        t.all_right();
        t.wait_until(|| false);
    });
    assert_eq!(report.shutdown_reasons, [(1, ShutdownReason::WATCHDOG)].into());
}

/// A moment that is passed to Xen, and whether it is the past or never.
const SIGNED: [(u64, bool); 5] =
    [(1 << 63, true), (u64::MAX, true), (u64::MAX - 1, true), (1, true), (i64::MAX as u64, false)];

#[test]
fn a_moment_from_2_63_on_is_the_past_and_the_last_one_is_never() {
    for (due, past) in SIGNED {
        one(Profile::DOMU, DomainConfig::new(), move |t| {
            let shared = attach(t);
            let fired = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&fired);
            t.on_interrupt(VECTOR, move || {
                count.fetch_add(1, SeqCst);
                let _ = take(shared, block(shared, 0));
            });
            t.is("bound", virq(t, Virq::TIMER.0, 0), Ok(1));
            t.enable_interrupts();
            let mut asked = VcpuSetSingleshotTimer::new(due, 0);
            t.is("set", t.give_vcpu(command::SetSingleshotTimer, 0, &mut asked), OK);
            t.is(&format!("{due:#x} at once"), fired.load(SeqCst), past.into());
            t.advance(Duration::from_nanos(1 << 62));
            t.is(&format!("{due:#x} later"), fired.load(SeqCst), past.into());
        });
    }
}

#[test]
fn a_poll_until_the_past_returns_and_one_until_never_does_not() {
    for (due, past) in SIGNED {
        let poll = move |t: &Table| {
            let mut asked = SchedPoll::new(Handle::NULL, 0, due);
            t.is("polled", t.give(sched::Poll, &mut asked), OK);
            t.is("no time has passed", t.now() < BEGINNING + Duration::from_micros(10), true);
        };
        let run = machine(Profile::DOMU, [domain(DomainConfig::new(), poll)]).run();
        match run {
            Ok(_) => assert!(past, "{due:#x}"),
            Err(failure) => {
                assert!(!past && matches!(failure.kind, FailureKind::Deadlock { .. }), "{failure}");
            }
        }
    }
}

#[test]
fn a_counter_can_be_behind_the_stamp_of_its_block() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let time = block(attach(t), 0).time();
        t.set_fault_rates(FaultRates { clock_updates: 1, counter_lag: 2, ..FaultRates::none() });
        let behind = (0..100).filter(|_| {
            let counter = t.counter().read();
            let lag = (counter.wrapping_sub(time.snapshot().tsc_timestamp)) as i64;
            assert!((-8..=0).contains(&lag), "{lag} ticks");
            lag < 0
        });
        let behind = behind.count();
        t.is("about half of the time", (25..75).contains(&behind), true);
    });
}
