//! Running steps and telling how they went.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::{Outcome, Step, Tally};

/// Runs the steps in order and says how each ended; every step runs, whatever became of the ones
/// before.
pub fn run(root: &Path, steps: &[Step], no_skip: bool) -> Tally {
    let mut tally = Tally::default();
    for step in steps {
        println!("==> {}: {}", step.name, step.about);
        let outcome = run_step(root, step);
        report(step, &outcome, no_skip);
        tally.add(&outcome, no_skip);
    }
    println!("{tally}");
    tally
}

fn run_step(root: &Path, step: &Step) -> Outcome {
    if let Some(tool) = step.lacks() {
        return Outcome::Skipped { why: tool.missing(), optional: step.optional };
    }
    let start = Instant::now();
    for call in &step.calls {
        println!("    {call}");
        // What the child writes must not overtake our own line.
        std::io::stdout().flush().ok();
        let succeeded = call.command(root).status().is_ok_and(|status| status.success());
        if !succeeded {
            return Outcome::Failed { line: call.to_string(), time: start.elapsed() };
        }
    }
    Outcome::Passed(start.elapsed())
}

fn report(step: &Step, outcome: &Outcome, no_skip: bool) {
    let ending = match outcome {
        Outcome::Passed(time) => format!("passed in {:.1} s", time.as_secs_f32()),
        Outcome::Failed { line, time } => {
            format!("FAILED after {:.1} s; again with: {line}", time.as_secs_f32())
        }
        Outcome::Skipped { why, optional } if no_skip && !optional => {
            format!("FAILED, nothing may be skipped: {why}")
        }
        Outcome::Skipped { why, .. } => format!("skipped: {why}"),
    };
    println!("<== {}: {ending}\n", step.name);
}
