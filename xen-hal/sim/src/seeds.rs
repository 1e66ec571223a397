//! One test, run with one seed after the other.

use core::error::Error;
use core::ops::Range;
use std::boxed::Box;
use std::env;
use std::ffi::OsString;
use std::format;
use std::string::String;
use std::thread;

use super::machine::Report;

/// The environment variable that names the only seed to be run.
const VARIABLE: &str = "XEN_SIM_SEED";

/// Runs a test with `count` seeds, from 0 up, until it fails; or, where the environment variable
/// `XEN_SIM_SEED` is set, with the seed that it names and no other.
///
/// ```
/// use xen_hal::Xen;
/// use xen_sim::{Machine, Profile, Setup, for_each_seed};
///
/// for_each_seed(20, |seed| {
///     let mut machine = Machine::new(Profile::DOMU, seed)?;
///     machine.domain(Setup::new(), |guest| Xen::new(guest.xen()).sched().yield_now())?;
///     Ok(machine.run()?)
/// });
/// ```
///
/// # Panics
///
/// At the first error, with its text and a line that says how to run that seed again. A panic of
/// the test's own, in an assertion for instance, goes on, and the line is written to standard
/// error. Also when the variable names no number.
#[track_caller]
pub fn for_each_seed(count: u64, run: impl FnMut(u64) -> Result<Report, Box<dyn Error>>) {
    let result = seeds(env::var_os(VARIABLE), count).and_then(|seeds| try_each(seeds, run));
    if let Err(message) = result {
        panic!("{message}");
    }
}

/// The seeds to run, by what the variable holds.
fn seeds(variable: Option<OsString>, count: u64) -> Result<Range<u64>, String> {
    let Some(value) = variable else { return Ok(0..count) };
    // A range has no room for the greatest number, which is not missed.
    let named = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .and_then(|seed: u64| Some(seed..seed.checked_add(1)?));
    named.ok_or_else(|| format!("{VARIABLE} is to be the number of a seed, and is {value:?}"))
}

fn try_each(
    mut seeds: Range<u64>,
    mut run: impl FnMut(u64) -> Result<Report, Box<dyn Error>>,
) -> Result<(), String> {
    seeds.try_for_each(|seed| {
        let tells = TellsWhenPanicking(seed);
        let result = run(seed);
        drop(tells);
        result.map(drop).map_err(|error| format!("{error}\n{}", again(seed)))
    })
}

/// How to run one seed again.
fn again(seed: u64) -> String {
    // The test harness names a thread after its test.
    let name = thread::current()
        .name()
        .filter(|name| *name != "main")
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    format!("again, with this seed alone: {VARIABLE}={seed} cargo test{name}")
}

/// Tells the seed when the test panics on its own, which nobody else would.
struct TellsWhenPanicking(u64);

impl Drop for TellsWhenPanicking {
    fn drop(&mut self) {
        if thread::panicking() {
            std::eprintln!("{}", again(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{for_each_seed, seeds, try_each};
    use crate::{Guest, Machine, Profile, Report, Setup};
    use core::error::Error;
    use std::boxed::Box;
    use std::panic::catch_unwind;
    use std::string::String;
    use std::vec::Vec;

    fn machine(
        seed: u64,
        program: fn(Guest) -> Result<(), &'static str>,
    ) -> Result<Report, Box<dyn Error>> {
        let mut machine = Machine::new(Profile::DOMU, seed)?;
        machine.domain(Setup::new(), program)?;
        Ok(machine.run()?)
    }

    #[test]
    fn each_seed_is_run_once() {
        let mut run = Vec::new();
        let result = try_each(0..5, |seed| {
            run.push(seed);
            machine(seed, |_| Ok(()))
        });
        assert_eq!((run, result), ([0, 1, 2, 3, 4].into(), Ok(())));
    }

    #[test]
    fn the_first_failure_ends_it_and_says_how_to_see_it_again() {
        let mut last = 0;
        let result = try_each(0..100, |seed| {
            last = seed;
            machine(seed, |guest| if guest.random() % 4 == 0 { Err("bad luck") } else { Ok(()) })
        });
        // The test's name follows, where the harness has one thread for each test.
        let expected = std::format!(
            "domain 1, vCPU 0 ended with an error: bad luck (seed {last})\nagain, with this seed alone: XEN_SIM_SEED={last} cargo test"
        );
        assert!(result.is_err_and(|message| message.starts_with(&expected)));
        assert!(last < 99, "one seed in four fails");
    }

    #[test]
    fn the_variable_names_the_only_seed() {
        assert_eq!(seeds(None, 7), Ok(0..7));
        assert_eq!(seeds(Some("1234".into()), 7), Ok(1234..1235));
        for bad in ["", "-1", "0x10", "18446744073709551615"] {
            assert_eq!(
                seeds(Some(bad.into()), 7),
                Err(std::format!("XEN_SIM_SEED is to be the number of a seed, and is {bad:?}"))
            );
        }
    }

    #[test]
    fn a_failure_panics_with_its_text() {
        let panicked = catch_unwind(|| for_each_seed(1, |_| Err("never".into()))).unwrap_err();
        let message = panicked.downcast_ref::<String>().expect("the panic has a message");
        assert!(
            message.starts_with("never\nagain, with this seed alone: XEN_SIM_SEED="),
            "{message}"
        );
    }
}
