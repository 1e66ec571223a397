//! The HAL under everything that can happen meanwhile: each trial many times over, each time
//! another way.

#[path = "trials/mod.rs"]
mod trials;

use trials::waiting::Way;
use trials::{Paths, clock, events, revocation, waiting};
use xen_sim::{Failure, FaultRates, Report};

/// Of how many seeds one is tried: a checker that makes programs slow need not see all of them.
/// `TRIALS_ONE_IN` in the environment.
fn one_in() -> u64 {
    std::env::var("TRIALS_ONE_IN")
        .map_or(1, |number| number.parse().expect("TRIALS_ONE_IN is a number"))
}

/// Makes a trial with each seed, and says in how many ways it went.
fn each(
    what: &str,
    seeds: u64,
    rounds: u32,
    least: usize,
    trial: impl Fn(u64, u32, Paths) -> Result<Report, Failure>,
) {
    let (paths, one_in) = (Paths::default(), one_in());
    let (seeds, least) = (seeds.div_ceil(one_in), least / one_in as usize);
    for seed in 0..seeds {
        if let Err(failure) = trial(seed, rounds, paths.clone()) {
            panic!("{what}: {failure}");
        }
    }
    let distinct = paths.distinct();
    println!("{what}: {} rounds, in {distinct} different ways", seeds * u64::from(rounds));
    assert!(distinct >= least, "{what} went in {distinct} ways only");
}

// Each of the three in a test of its own, so that they can run at once. Together they go in more
// than a million different ways.

#[test]
fn no_wakeup_is_lost_that_a_handler_makes() {
    each("waiting for a handler", 400, 1000, 360_000, |seed, rounds, paths| {
        waiting::machine(Way::Handler, seed, rounds, paths)
    });
}

#[test]
fn no_wakeup_is_lost_on_a_masked_port() {
    each("waiting for a masked port", 400, 1000, 280_000, |seed, rounds, paths| {
        waiting::machine(Way::Masked, seed, rounds, paths)
    });
}

#[test]
fn no_wakeup_is_lost_in_a_halt() {
    each("halting", 400, 1000, 360_000, |seed, rounds, paths| {
        waiting::machine(Way::Halt, seed, rounds, paths)
    });
}

#[test]
fn no_event_is_lost_or_doubled() {
    let rough = FaultRates { preempt_accesses: 3, ..FaultRates::new() };
    each("events", 200, 300, 50_000, |seed, rounds, paths| {
        events::machine(seed, rounds, rough, paths)
    });
    each("events in a storm", 100, 300, 25_000, |seed, rounds, paths| {
        events::machine(seed, rounds, FaultRates::storm(), paths)
    });
}

#[test]
fn a_page_that_came_back_is_ones_own() {
    each("revocation", 150, 300, 10_000, revocation::machine);
}

#[test]
fn the_clock_is_right_while_it_is_set() {
    each("clock", 100, 500, 10_000, clock::machine);
}
