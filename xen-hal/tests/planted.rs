//! The trials notice mistakes of timing that are planted in the HAL: each makes one of them fail,
//! in a bounded number of tries. Mistakes about what somebody else wrote are for the fuzz targets
//! to notice.

#[allow(dead_code, reason = "the other test of these trials uses more of them")]
#[path = "trials/mod.rs"]
mod trials;

use trials::{Paths, clock, events, revocation, waiting};
use xen_hal::planted::{Bug, plant};
use xen_sim::{Adversity, Failure, Report};

/// How many seeds a mistake may take to be noticed.
const TRIES: u64 = 200;

type Trial = fn(u64) -> Result<Report, Failure>;

const ROUGH: Adversity = Adversity { preempt_accesses: 3, ..Adversity::new() };

fn events(seed: u64) -> Result<Report, Failure> {
    events::machine(seed, 200, ROUGH, Paths::default())
}

fn waiting(seed: u64) -> Result<Report, Failure> {
    waiting::machine(waiting::Way::Handler, seed, 200, Paths::default())
}

fn revocation(seed: u64) -> Result<Report, Failure> {
    revocation::machine(seed, 300, Paths::default())
}

fn clock(seed: u64) -> Result<Report, Failure> {
    clock::machine(seed, 500, Paths::default())
}

const BUGS: [(Bug, Trial); 7] = [
    (Bug::UnmaskLooksFirst, events),
    (Bug::DispatchTakesWholeWords, events),
    (Bug::DispatchClearsLate, events),
    (Bug::BreakForgetsTheRest, events),
    (Bug::WaitChecksUnprotected, waiting),
    (Bug::RevokeInTwoSteps, revocation),
    (Bug::ClockReadsLate, clock),
];

// One test, since a mistake is one of the whole process.
#[test]
fn each_planted_bug_is_found_and_found_again() {
    for (bug, trial) in BUGS {
        plant(Some(bug));
        let found = (0..TRIES).find_map(|seed| trial(seed).err());
        let again = found.as_ref().and_then(|failure| trial(failure.seed).err());
        plant(None);
        let found = found.unwrap_or_else(|| panic!("{bug:?} is not noticed in {TRIES} tries"));
        println!("{bug:?}: {found}");
        assert_eq!(again.as_ref(), Some(&found), "the seed replays it");
        assert!(trial(found.seed).is_ok(), "without {bug:?} the same seed finds nothing");
    }
}
