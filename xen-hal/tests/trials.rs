//! The HAL on the simulator, in millions of interleavings: each trial runs with many seeds.

#[path = "trials/mod.rs"]
mod trials;

use trials::waiting::Way;
use trials::{Interleavings, clock, cpu_seconds, events, revocation, waiting};
use xen_sim::{Failure, FaultRates, Report};

/// Runs a trial with each seed. Prints and returns how many interleavings there were, of which
/// there must be at least `least`.
fn each(
    name: &str,
    seeds: u64,
    rounds: u32,
    least: usize,
    trial: impl Fn(u64, u32, Interleavings) -> Result<Report, Failure>,
) -> usize {
    let interleavings = Interleavings::default();
    for seed in 0..seeds {
        if let Err(failure) = trial(seed, rounds, interleavings.clone()) {
            panic!("{name}: {failure}");
        }
    }
    let (distinct, rounds) = (interleavings.distinct(), seeds * u64::from(rounds));
    println!("{name}: {rounds} rounds, {distinct} interleavings");
    assert!(distinct >= least, "{name}: expected {least} interleavings, found {distinct}");
    distinct
}

#[test]
fn no_wakeup_is_lost() {
    let ways = [
        ("waiting for a handler", Way::Handler, 360_000),
        ("waiting for a masked port", Way::Masked, 280_000),
        ("halting", Way::Halt, 360_000),
    ];
    let before = cpu_seconds();
    let distinct = ways.map(|(name, way, least)| {
        each(name, 400, 1000, least, |seed, rounds, interleavings| {
            waiting::machine(way, seed, rounds, interleavings)
        })
    });
    let (distinct, seconds) = (distinct.iter().sum::<usize>(), cpu_seconds() - before);
    // Alone in its process: `cargo test --test trials no_wakeup -- --nocapture`.
    println!("together: {distinct} interleavings in {seconds:.2} CPU seconds of this process");
    assert!(distinct >= 1_000_000);
}

#[test]
fn no_event_is_lost_or_doubled() {
    let rates = FaultRates { preempt_accesses: 3, ..FaultRates::new() };
    each("events", 200, 300, 50_000, |seed, rounds, interleavings| {
        events::machine(seed, rounds, rates, interleavings)
    });
    each("events in a storm", 100, 300, 25_000, |seed, rounds, interleavings| {
        events::machine(seed, rounds, FaultRates::storm(), interleavings)
    });
}

#[test]
fn no_peer_writes_to_a_page_that_was_revoked() {
    each("revocation", 150, 300, 10_000, revocation::machine);
}

#[test]
fn the_clock_is_right_while_it_is_updated() {
    each("clock", 100, 500, 10_000, clock::machine);
}
