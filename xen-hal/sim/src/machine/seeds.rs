//! Runs one test with many seeds.

use core::error::Error;
use core::ops::Range;
use std::env;
use std::ffi::OsString;
use std::thread;

#[cfg(target_arch = "x86_64")]
use xen_pac::base::Domid;

use super::{Machine, Report};
#[cfg(target_arch = "x86_64")]
use crate::backend::Dom0;
use crate::config::{DomainConfig, Failure, FaultRates, Profile, SEED_VARIABLE, replay};
use crate::guest::{Guest, ProgramResult};

/// Runs a test with the seeds 0 to `count` - 1 until it fails. If the environment variable
/// `XEN_SIM_SEED` is set, runs it with that seed only.
///
/// ```
/// use xen_hal::Xen;
/// use xen_sim::{DomainConfig, Machine, Profile, for_each_seed};
///
/// for_each_seed(20, |seed| {
///     let mut machine = Machine::new(Profile::DOMU, seed)?;
///     machine.domain(DomainConfig::new(), |guest| Xen::new(guest.xen()).sched().yield_now())?;
///     Ok(machine.run()?)
/// });
/// ```
///
/// # Panics
///
/// At the first error, with its text and a command line that runs the seed again. If `run` panics,
/// that line is written to standard error. Also panics if the variable is not a number.
#[track_caller]
pub fn for_each_seed(count: u64, run: impl FnMut(u64) -> Result<Report, Box<dyn Error>>) {
    let result = seeds(env::var_os(SEED_VARIABLE), count).and_then(|seeds| try_each(seeds, run));
    if let Err(message) = result {
        panic!("{message}");
    }
}

/// Returns true if [`for_each_seed`] runs all seeds, false if `XEN_SIM_SEED` names one. Check only
/// then what the runs have in common, such as how many of them reached a state.
#[must_use]
pub fn runs_all_seeds() -> bool {
    env::var_os(SEED_VARIABLE).is_none()
}

/// Runs `program` as the only domain of a machine, under [`FaultRates::storm`], with `count` seeds.
///
/// ```
/// use xen_hal::Xen;
/// use xen_sim::{Guest, Profile, storm};
///
/// storm(Profile::DOMU, 20, |guest: Guest| Xen::new(guest.xen()).sched().yield_now());
/// ```
///
/// # Panics
///
/// As [`for_each_seed`].
#[track_caller]
pub fn storm<R: ProgramResult>(
    profile: Profile,
    count: u64,
    program: impl Fn(Guest) -> R + Clone + Send + 'static,
) {
    for_each_seed(count, |seed| {
        let mut machine = Machine::new(profile, seed)?.fault_rates(FaultRates::storm());
        machine.domain(DomainConfig::new(), program.clone())?;
        Ok(machine.run()?)
    });
}

/// Runs `program` as a guest of the control domain `Dom0`, under [`FaultRates::storm`], with
/// `count` seeds. `prepare` gets the control domain and the guest's number, before each run.
///
/// # Panics
///
/// As [`for_each_seed`].
#[cfg(target_arch = "x86_64")]
#[track_caller]
pub fn storm_with_dom0<R: ProgramResult>(
    count: u64,
    prepare: impl Fn(&Dom0, Domid),
    program: impl Fn(Guest) -> R + Clone + Send + 'static,
) {
    for_each_seed(count, |seed| {
        let dom0 = Dom0::new();
        let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(FaultRates::storm());
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        let guest = machine.domain(DomainConfig::domu(), program.clone())?;
        prepare(&dom0, guest);
        Ok(machine.run()?)
    });
}

/// Returns the seeds to run: the one that the variable names, or all.
fn seeds(variable: Option<OsString>, count: u64) -> Result<Range<u64>, String> {
    let Some(value) = variable else { return Ok(0..count) };
    // `u64::MAX` is refused, because it is not the start of a half-open range.
    let named = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .and_then(|seed: u64| Some(seed..seed.checked_add(1)?));
    named.ok_or_else(|| {
        let found = value.to_string_lossy();
        format!("{SEED_VARIABLE}: expected a u64, found `{found}`")
    })
}

fn try_each(
    mut seeds: Range<u64>,
    mut run: impl FnMut(u64) -> Result<Report, Box<dyn Error>>,
) -> Result<(), String> {
    seeds.try_for_each(|seed| {
        let shown = ReplayOnPanic(seed);
        let result = run(seed);
        drop(shown);
        result.map(drop).map_err(|error| {
            let failure = error.downcast_ref::<Failure>();
            let events = failure.map(|failure| &failure.last_events).into_iter().flatten();
            let events: String = events.map(|event| format!("\n  {event}")).collect();
            format!("{error}\n{}{events}", replay(seed))
        })
    })
}

/// Prints the command line that runs a seed again if the test panics.
struct ReplayOnPanic(u64);

impl Drop for ReplayOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", replay(self.0));
        }
    }
}
