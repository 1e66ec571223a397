//! Each program shows with every seed what it is to show, and a seed shows the same each time.

use std::process::{Command, Output};

const FEATURES: &str = "features";
const PING_PONG: &str = "ping-pong";
const CLOCK: &str = "clock";
const TICK: &str = "tick";
const IPI: &str = "ipi";

const SEEDS: [u64; 8] = [0, 1, 2, 3, 7, 99, 1 << 40, u64::MAX];

fn run(program: &str, arguments: &[&str]) -> Output {
    let tests = std::env::current_exe().expect("this test has a path");
    let examples =
        tests.ancestors().nth(2).expect("tests lie in a folder of their own").join("examples");
    Command::new(examples.join(program))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a program tells with a seed.
fn told(program: &str, seed: u64) -> String {
    let output = run(program, &[&seed.to_string()]);
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && errors.is_empty(),
        "{program} {seed}: {}\n{told}{errors}",
        output.status
    );
    told.into_owned()
}

/// A program shows this, with each seed, and the same twice. Says in how many ways.
fn shows(program: &str, shown: &str) -> usize {
    let mut ways = Vec::new();
    for seed in SEEDS {
        let lines = told(program, seed);
        assert_eq!(lines, told(program, seed), "{program} {seed} twice");
        assert_eq!(lines.lines().next(), Some(format!("seed {seed}").as_str()));
        assert_eq!(lines.lines().last(), Some(format!("shown: {shown}").as_str()));
        ways.push(lines.lines().skip(1).collect::<Vec<_>>().join("\n"));
    }
    ways.sort_unstable();
    ways.dedup();
    ways.len()
}

#[test]
fn features() {
    assert_eq!(
        shows(FEATURES, "what Xen tells each sort of guest"),
        1,
        "the seed makes no difference to what Xen tells"
    );
}

#[test]
fn ping_pong() {
    assert!(
        shows(PING_PONG, "a page lent, mapped, used by both with events, unmapped and taken back")
            > 1
    );
}

#[test]
fn clock() {
    assert!(
        shows(
            CLOCK,
            "a clock that Xen sets while it is read, and that is right and never goes back"
        ) > 1
    );
}

#[test]
fn tick() {
    assert!(
        shows(
            TICK,
            "a tick every 10 ms, none early and none lost, although upcalls come late and for nothing"
        ) > 1
    );
}

#[test]
fn ipi() {
    assert!(shows(IPI, "two vCPUs, each interrupted once for each event of the other's") > 1);
}

#[test]
fn a_hundred_runs_with_one_seed_are_equal() {
    let first = told(IPI, 7);
    assert!((1..100).all(|_| told(IPI, 7) == first));
}

#[test]
fn without_a_seed_it_is_1() {
    assert_eq!(String::from_utf8_lossy(&run(TICK, &[]).stdout), told(TICK, 1));
}

#[test]
fn what_is_no_seed_is_a_failure() {
    let output = run(TICK, &["seven"]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        errors,
        "not as it should be: a seed is a number, and not \"seven\": invalid digit found in string\n"
    );
}
