//! The simulator answers as real Xen did: every scenario tells on it, line for line, what was
//! recorded.

mod machine;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use conformance::list::SCENARIOS;
use machine::Simulated;
use xen_sim::{DomainConfig, FaultRates, Machine, Profile};

/// What a scenario tells on the simulator.
fn tell(name: &'static str, seed: u64, rates: FaultRates) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let mut machine = Machine::new(Profile::DOM0, seed)
        .expect("there is memory for a machine")
        .fault_rates(rates);
    let program = move |guest| conformance::run(name, &Simulated::new(guest, told));
    machine.domain(DomainConfig::new().vcpus(2), program).expect("there is memory for a domain");
    let ended = machine.run();
    let lines = lines.lock().expect("no line is being told any more").clone();
    if let Err(failure) = ended {
        panic!("{name}: {failure}; it had told:\n{}", lines.join("\n"));
    }
    lines
}

/// What it told on real Xen.
fn recorded(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("transcripts/x86_64-dom0-4.17")
        .join(name)
        .with_extension("txt");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn compare(name: &'static str, seed: u64, rates: FaultRates) -> Result<(), String> {
    let (told, recorded) = (tell(name, seed, rates), recorded(name));
    assert!(!recorded.is_empty(), "{name} has a transcript");
    if told == recorded {
        return Ok(());
    }
    let length = told.len().max(recorded.len());
    let line = |lines: &[String], at: usize| {
        lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned())
    };
    let differences = (0..length).filter(|at| line(&told, *at) != line(&recorded, *at));
    let shown: Vec<_> =
        differences.map(|at| format!("- {}\n+ {}", line(&recorded, at), line(&told, at))).collect();
    Err(format!("{name}, seed {seed}:\n{}", shown.join("\n")))
}

#[test]
fn every_scenario_tells_what_real_xen_told() {
    let differences: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| scenario.runs_on(false))
        .filter_map(|scenario| compare(scenario.name, 1, FaultRates::new()).err())
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// What vCPUs do meanwhile, and when they are preempted, is no part of a transcript.
#[test]
fn no_seed_makes_a_difference() {
    let often = FaultRates { preempt_accesses: 4, clock_updates: 3, ..FaultRates::new() };
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.runs_on(false)) {
        for seed in 2..10 {
            if let Err(difference) = compare(scenario.name, seed, often) {
                panic!("{difference}");
            }
        }
    }
}

#[test]
fn the_comparison_notices_a_difference() {
    let difference = compare("version", 1, FaultRates::new());
    assert_eq!(difference, Ok(()));
    let told = tell("version", 1, FaultRates::new());
    assert_ne!(told, recorded("console"));
}
