//! Embassy on the simulator: timers, executors of two vCPUs, events and the console as futures.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod devices;
mod hunt;
mod port;

use embassy_time::{Duration, Instant, Ticker, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use port::{EVENTS, WAKERS, run, spawn, start};
use xen_hal::Error;
use xen_hal::console::{AsyncConsole, Console};
use xen_hal::platform::VcpuId;
use xen_sim::{DomainConfig, Fault, FaultRates, Guest, Machine, Profile, Report, for_each_seed};

/// Runs a program in a storm with each of some seeds. No time is stolen, so lateness has a bound.
fn storm(
    seeds: u64,
    profile: Profile,
    vcpus: usize,
    program: fn(Guest) -> Result<(), Error>,
    check: fn(&Report),
) {
    for_each_seed(seeds, |seed| {
        let rates = FaultRates { stolen_time: 0, ..FaultRates::storm() };
        let mut machine = Machine::new(profile, seed)?.fault_rates(rates);
        machine.domain(DomainConfig::new().vcpus(vcpus), program)?;
        let report = machine.run()?;
        check(&report);
        Ok(report)
    });
}

/// Ticks, and returns the greatest lateness. No tick is early, and none is lost.
async fn tick(period: Duration, count: u32) -> Duration {
    let (mut ticker, mut due, mut worst) = (Ticker::every(period), Instant::now(), Duration::MIN);
    ticker.reset_at(due);
    for _ in 0..count {
        due += period;
        ticker.next().await;
        let now = Instant::now();
        assert!(now >= due, "a tick is early");
        worst = worst.max(now - due);
    }
    worst
}

fn ticks(guest: Guest) -> Result<(), Error> {
    start(guest)?;
    run(guest, |spawner| {
        for (period, count) in [(100, 50), (1000, 20), (333, 30)] {
            spawn(spawner, async move {
                let worst = tick(Duration::from_micros(period), count).await;
                assert!(worst < Duration::from_micros(100), "{worst}");
            });
        }
    })
}

#[test]
fn ticks_are_never_early_and_none_is_lost() {
    storm(30, Profile::DOMU, 1, ticks, |_| {});
}

fn many_timers(guest: Guest) -> Result<(), Error> {
    start(guest)?;
    run(guest, |spawner| {
        for _ in 0..1000 {
            let due = Instant::now() + Duration::from_nanos(guest.random() % 1_000_000);
            spawn(spawner, async move {
                Timer::at(due).await;
                let late = Instant::now().checked_duration_since(due).expect("it is not early");
                assert!(late < Duration::from_millis(10), "{late}");
            });
        }
    })
}

#[test]
fn none_of_a_thousand_timers_is_missed() {
    storm(2, Profile::DOMU, 1, many_timers, |_| {});
}

/// Xen refuses the timer repeatedly. The alarms fire nevertheless.
fn refused_timers(guest: Guest) -> Result<(), Error> {
    use xen_hal::hypercall::Errno;
    start(guest)?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            for _ in 0..20 {
                guest.fail(Fault::Nth(1 + guest.random() % 4, Errno::ENOMEM));
                let due = Instant::now() + Duration::from_micros(50);
                Timer::at(due).await;
                assert!(Instant::now() >= due);
                guest.clear_faults();
            }
        });
    })
}

#[test]
fn a_timer_that_xen_refuses_is_set_again() {
    storm(10, Profile::DOMU, 1, refused_timers, |_| {});
}

const TYPED: &[u8] = b"the quick brown fox jumps over the lazy dog";

/// Echoes what is typed, while reads are cancelled.
fn echo(guest: Guest) -> Result<(), Error> {
    start(guest)?;
    let console = Console::over_xen(guest.xen());
    let mut console = AsyncConsole::new(console, WAKERS.get(), EVENTS.get(), VcpuId(0))?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            let mut left = TYPED;
            while !left.is_empty() {
                let (now, later) = left.split_at(left.len().min(3));
                guest.type_in(now);
                left = later;
                Timer::after_micros(guest.random() % 30).await;
            }
        });
        spawn(spawner, async move {
            let (mut bytes, mut count) = ([0; 8], 0);
            while count < TYPED.len() {
                let patience = Duration::from_micros(guest.random() % 20);
                if let Ok(read) = with_timeout(patience, console.read(&mut bytes)).await {
                    let read = read.expect("the console reads");
                    count += read;
                    console.write_all(&bytes[..read]).await.expect("the console writes");
                }
            }
            console.flush().await.expect("the console writes");
        });
    })
}

#[test]
fn a_cancelled_read_loses_no_byte() {
    storm(30, Profile::DOM0, 1, echo, |report| {
        assert_eq!(report.consoles[&0].as_bytes(), TYPED);
    });
}

#[test]
fn an_event_while_a_waker_is_registered_is_not_lost() {
    storm(50, Profile::DOMU, 2, hunt::slow_waker, |_| {});
}

#[test]
fn no_wakeup_is_lost() {
    hunt::each(100, 20);
}

/// Takes a minute: `cargo test -p xen-hal --test embassy -- --ignored --nocapture`.
#[test]
#[ignore = "a million interleavings"]
fn no_wakeup_is_lost_in_a_million_interleavings() {
    assert!(hunt::each(2000, 1000) >= 1_000_000);
}
