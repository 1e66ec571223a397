//! Reads a vCPU's clock while Xen updates the time block: no reading is torn, and the clock never
//! runs backwards.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use support::{Problem, shared_page, show};
use xen_hal::Xen;
use xen_hal::clock::{Clock, Monotonic, PvClock, SystemTime, wall_time};
use xen_hal::memory::WidthLatch;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};

/// The kernel's time line, for all vCPUs.
static TIME_LINE: Monotonic = Monotonic::new();

fn main() -> ExitCode {
    show(run, "a clock that Xen sets while it is read, and that is right and never goes back")
}

fn run(seed: u64) -> Result<(), Problem> {
    // Once in three readings of the counter, the time block changes in the reader's window. No
    // time is stolen between a reading and its check.
    let rates = FaultRates { clock_updates: 3, stolen_time: 0, ..FaultRates::new() };
    let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
    machine.domain(DomainConfig::new(), kernel)?;
    machine.run()?;
    Ok(())
}

fn kernel(guest: Guest) -> Result<(), Problem> {
    let xen = Xen::new(guest.xen());
    let shared = shared_page(guest, WidthLatch::new(guest.xen())?)?;
    let vcpu = shared.vcpu_info(0).ok_or("vCPU 0 has its block in the shared page")?;
    let clock = PvClock::new(xen.version().features()?, vcpu.time(), guest.counter())?;
    let frequency = clock.frequency().ok_or("Xen has written the block")?;
    println!("the counter makes {frequency} ticks a second");

    for pause in [0, 1, 250, 4000].map(Duration::from_millis) {
        guest.advance(pause);
        let now = clock.now();
        println!("after {pause:?}: {:.6} s since Xen started", seconds(now));
        assert!(is_near(now, guest.now()), "{now:?} is not {:?}", guest.now());
    }

    let (mut last, mut written, mut updates) =
        (clock.instant(&TIME_LINE), vcpu.time().snapshot().system_time, 0);
    for _ in 0..1000 {
        let now = clock.instant(&TIME_LINE);
        let near = is_near(TIME_LINE.system_time(now), guest.now());
        assert!(now >= last && near, "{now:?} after {last:?}");
        last = now;
        let again = vcpu.time().snapshot().system_time;
        updates += u32::from(again != written);
        written = again;
    }
    println!(
        "1000 readings, the block written anew at {updates} of them, and no time before the last"
    );
    assert!(updates > 100, "the readings were disturbed");

    let wall = wall_time(&shared.wallclock(), clock.now()).ok_or("the time of day fits")?;
    println!(
        "{:.6} s since the beginning of 1970, in the year {}",
        wall.as_secs_f64(),
        1970 + wall.as_secs() / 31_556_952
    );
    Ok(())
}

fn seconds(time: SystemTime) -> f64 {
    (time - SystemTime::default()).as_secs_f64()
}

/// Returns whether a reading equals the machine's time, except for rounding and the time since the
/// reading.
fn is_near(reading: SystemTime, machine: Duration) -> bool {
    let machine = SystemTime::default() + machine;
    machine - reading < Duration::from_micros(10) && reading <= machine
}
