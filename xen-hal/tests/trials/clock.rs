//! The clock, read while Xen writes its values: it is never more than a moment away from the
//! machine's own.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime};
use xen_hal::hypercall::Errno;
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile, Report};

use super::Paths;
use super::kernel::Kernel;

/// By how much the arithmetic of ticks and fractions may be off.
const ROUNDING: Duration = Duration::from_nanos(64);

/// `readings` of the clock.
pub(crate) fn machine(seed: u64, readings: u32, paths: Paths) -> Result<Report, Failure> {
    let rates =
        FaultRates { clock_updates: 2, counter_lag: 2, preempt_accesses: 2, ..FaultRates::new() };
    let mut machine = Machine::new(Profile::DOM0, seed)
        .expect("there is memory for a machine")
        .fault_rates(rates);
    let program = move |guest| program(guest, readings, &paths);
    machine
        .domain(DomainConfig::new().vcpus(2).pages(4), program)
        .expect("there is memory for a domain");
    super::run(machine)
}

fn program(guest: Guest, readings: u32, paths: &Paths) -> Result<(), Errno> {
    let kernel = Kernel::start(guest, |_, _| std::ops::ControlFlow::Continue(()))?;
    // Another vCPU, so that there is somebody to be preempted for, for long.
    kernel.second(|guest: Guest| {
        // It ends with the domain.
        while guest.now() > Duration::ZERO {
            guest.advance(Duration::from_millis(guest.random() % 300));
            guest.relax();
        }
    })?;
    let clock = PvClock::new(
        Xen::new(guest.xen()).version().features()?,
        kernel.info(0).time(),
        guest.counter(),
    );
    let clock = clock.map_err(|_| Errno::EINVAL)?;
    for _ in 0..readings {
        let before = guest.now();
        let read = clock.now() - SystemTime::default();
        let after = guest.now();
        assert!(
            before <= read + ROUNDING && read <= after + ROUNDING,
            "it was {before:?}, the clock said {read:?}, it was {after:?}"
        );
        paths.note(guest.take_trace_hash());
    }
    Ok(())
}
