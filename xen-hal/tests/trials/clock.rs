//! The clock, read while Xen updates its parameters: it agrees with the machine's time.

use core::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime};
use xen_hal::hypercall::Errno;
use xen_sim::{DomainConfig, Failure, FaultRates, Guest, Machine, Profile, Report};

use super::Interleavings;
use super::kernel::Kernel;

/// The rounding error of the conversion from ticks.
const ROUNDING: Duration = Duration::from_nanos(64);

/// `readings` of the clock.
pub(crate) fn machine(
    seed: u64,
    readings: u32,
    interleavings: Interleavings,
) -> Result<Report, Failure> {
    let rates =
        FaultRates { clock_updates: 2, counter_lag: 2, preempt_accesses: 2, ..FaultRates::new() };
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    let program = move |guest| program(guest, readings, &interleavings);
    machine.domain(DomainConfig::new().vcpus(2).pages(4), program).expect("the machine has memory");
    machine.run()
}

fn program(guest: Guest, readings: u32, interleavings: &Interleavings) -> Result<(), Errno> {
    let kernel = Kernel::start(guest, |_, _| std::ops::ControlFlow::Continue(()))?;
    // Another vCPU, for which this one is preempted for long.
    kernel.second(|guest: Guest| {
        // The loop ends with the domain.
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
            "the clock read {read:?} between {before:?} and {after:?}"
        );
        interleavings.note(guest.take_trace_hash());
    }
    Ok(())
}
