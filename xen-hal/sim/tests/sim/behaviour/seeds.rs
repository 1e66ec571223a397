//! The seeds with which a test runs.

use core::error::Error;
use std::any::Any;
use std::env::{current_exe, var};
use std::panic::{AssertUnwindSafe, catch_unwind};

use xen_sim::for_each_seed;

use crate::support::prelude::*;

const VARIABLE: &str = "XEN_SIM_SEED";

fn machine(
    seed: u64,
    program: fn(Guest) -> Result<(), &'static str>,
) -> Result<Report, Box<dyn Error>> {
    let mut machine = Machine::new(Profile::DOMU, seed)?;
    machine.domain(DomainConfig::new(), program)?;
    Ok(machine.run()?)
}

/// Returns the panic's message.
fn failure(count: u64, run: impl FnMut(u64) -> Result<Report, Box<dyn Error>>) -> String {
    let panicked = catch_unwind(AssertUnwindSafe(|| for_each_seed(count, run)));
    let payload: Box<dyn Any + Send> = panicked.expect_err("a seed fails");
    *payload.downcast::<String>().expect("the panic has a message")
}

#[test]
fn each_seed_runs_once() {
    let mut run = Vec::new();
    for_each_seed(5, |seed| {
        run.push(seed);
        machine(seed, |_| Ok(()))
    });
    let named = var(VARIABLE).ok().map(|seed| vec![seed.parse().expect("a number")]);
    assert_eq!(run, named.unwrap_or_else(|| vec![0, 1, 2, 3, 4]));
}

#[test]
fn the_variable_names_the_only_seed() {
    let run = |seed: &str| -> Output {
        let test = "behaviour::seeds::each_seed_runs_once";
        let program = current_exe().expect("the test knows where it is");
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env(VARIABLE, seed);
        command.output().expect("the test can be run")
    };
    let good = run("1234");
    assert!(good.status.success(), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("1 passed"), "{good:?}");
    for bad in ["", "-1", "0x10", "18446744073709551615"] {
        let expected = format!("XEN_SIM_SEED: expected a u64, found `{bad}`");
        let output = run(bad);
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(&expected), "{output:?}");
    }
}

#[test]
fn the_first_failure_ends_the_run_and_shows_the_replay_line() {
    let mut last = 0;
    let message = failure(100, |seed| {
        last = seed;
        machine(seed, |guest| if guest.random() % 4 == 0 { Err("bad luck") } else { Ok(()) })
    });
    // The test's name follows if the harness has one thread for each test.
    let expected = format!(
        "domain 1, vCPU 0 returned an error: bad luck (seed {last})\n\
         replay: XEN_SIM_SEED={last} cargo test"
    );
    assert!(message.starts_with(&expected), "{message}");
    assert!(last < 99, "one seed in four fails");
}

#[test]
fn a_failure_panics_with_its_text() {
    let message = failure(1, |_| Err("never".into()));
    assert!(message.starts_with("never\nreplay: XEN_SIM_SEED="), "{message}");
}
