//! `cargo xtask test`: runs all checks in order, with one line for each and the final counts.
//! `steps` lists them. [`fuzz`] and [`mutants`] implement two of them.

pub mod fuzz;
pub mod mutants;
mod steps;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::usage;
use crate::tools::find_program;

pub use steps::{Call, Step, all, orderings};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every call succeeded.
    Passed,
    /// A call failed, or the machine lacks a tool and no step may be skipped.
    Failed,
    /// The machine lacks a tool.
    Skipped,
}

/// Runs the steps in order and reports each result. A failed step does not stop the others. Returns
/// true if none failed. With `no_skip`, a step that lacks a tool fails, unless it is optional.
pub fn run(root: &Path, steps: &[Step], no_skip: bool) -> bool {
    let skipped: Vec<_> = steps.iter().filter_map(|step| Some((step, step.lacks()?))).collect();
    println!("{} steps, of which {} will be skipped", steps.len(), skipped.len());
    for (step, tool) in &skipped {
        println!("    {}: {}", step.name, tool.missing());
    }
    let (mut outcomes, mut cpu) = (Vec::new(), Duration::ZERO);
    for step in steps {
        println!("==> {}: {}", step.name, step.about);
        let (outcome, report, used) = run_step(root, step, no_skip);
        println!("<== {}: {report}\n", step.name);
        outcomes.push(outcome);
        cpu += used;
    }
    println!("{:.0} CPU seconds", cpu.as_secs_f64());
    println!("{}", count(&outcomes));
    !outcomes.contains(&Outcome::Failed)
}

/// Returns the closing line.
fn count(outcomes: &[Outcome]) -> String {
    let of = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    format!(
        "{} passed, {} failed, {} skipped",
        of(Outcome::Passed),
        of(Outcome::Failed),
        of(Outcome::Skipped)
    )
}

/// Runs a step. Returns the outcome, its description, and the processor time of the step's calls.
fn run_step(root: &Path, step: &Step, no_skip: bool) -> (Outcome, String, Duration) {
    if let Some(tool) = step.lacks() {
        let why = tool.missing();
        return if no_skip && !step.optional {
            (Outcome::Failed, format!("FAILED, nothing may be skipped: {why}"), Duration::ZERO)
        } else {
            (Outcome::Skipped, format!("skipped: {why}"), Duration::ZERO)
        };
    }
    let (start, before) = (Instant::now(), usage::children());
    let mut failed = None;
    for call in &step.calls {
        println!("    {call}");
        // Prints the line before the child's output.
        std::io::stdout().flush().ok();
        let before = usage::children();
        if let Err(why) = run_call(root, call) {
            println!("    {why}");
            failed = Some(call);
            break;
        }
        if step.calls.len() > 1 {
            let cpu = usage::children().saturating_sub(before);
            println!("    {:.1} CPU s", cpu.as_secs_f64());
        }
    }
    let cpu = usage::children().saturating_sub(before);
    let took = format!("{:.1} s, {:.1} CPU s", start.elapsed().as_secs_f64(), cpu.as_secs_f64());
    match failed {
        None => (Outcome::Passed, format!("passed in {took}"), cpu),
        Some(call) => (Outcome::Failed, format!("FAILED after {took}; again with: {call}"), cpu),
    }
}

/// Runs a call. One that runs tests must run at least one: to cargo, a filter that fits no test is
/// not an error.
fn run_call(root: &Path, call: &Call) -> Result<(), String> {
    let mut command = call.command(root);
    if call.runs_tests() {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut passed = 0;
    if let Some(printed) = child.stdout.take() {
        for line in BufReader::new(printed).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            let result =
                line.strip_prefix("test result: ok. ").and_then(|rest| rest.split_once(' '));
            passed += result.and_then(|(count, _)| count.parse::<u32>().ok()).unwrap_or_default();
        }
    }
    match child.wait() {
        Ok(status) if !status.success() => Err(status.to_string()),
        Ok(_) if call.runs_tests() && passed == 0 => Err("expected a test, found none".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Installs the packages of all missing tools, with apt.
///
/// # Errors
///
/// If apt is missing, or an install fails. Steps whose tools are missing are then skipped or fail
/// as without `--install`.
pub fn install_missing(steps: &[Step]) -> Result<(), String> {
    let packages: BTreeSet<&str> = steps
        .iter()
        .flat_map(|step| &step.needs)
        .filter(|tool| tool.find().is_none())
        .filter_map(|tool| tool.package)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let line = packages.iter().copied().collect::<Vec<_>>().join(" ");
    if find_program("apt-get").is_none() {
        return Err(format!(
            "expected apt-get to install {line}, found none; install them by hand"
        ));
    }
    println!("==> installing {line}");
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    apt(&install)
}

fn apt(args: &[&str]) -> Result<(), String> {
    let line = format!("apt-get {}", args.join(" "));
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` ended with {status}; run it as root")),
        Err(error) => Err(format!("cannot run `{line}`: {error}")),
    }
}

/// Returns the files of the workspace at `root`, relative to it: those that git tracks, and new
/// ones that it does not ignore.
///
/// # Errors
///
/// Why git did not list them.
pub fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("expected a git checkout at {}: {why}", root.display()));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let names = names.split_terminator('\0').filter(|name| root.join(name).is_file());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{Probe, Tool};

    #[test]
    fn a_skip_is_a_failure_only_where_nothing_may_be_skipped() {
        let nothing = Tool { name: "nothing", probe: Probe::Path("/nowhere"), package: None };
        let step = |optional| Step {
            name: "step",
            about: "",
            needs: vec![nothing],
            optional,
            by_name: false,
            calls: Vec::new(),
        };
        let outcome = |optional, no_skip| run_step(Path::new("/"), &step(optional), no_skip).0;
        let outcomes = [outcome(false, false), outcome(true, true), outcome(false, true)];
        assert_eq!(outcomes, [Outcome::Skipped, Outcome::Skipped, Outcome::Failed]);
        assert_eq!(count(&outcomes), "0 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_call_that_runs_no_test_fails() {
        let run = |line| run_call(Path::new("/"), &Call::program("echo", line));
        let none = Err("expected a test, found none".to_owned());
        assert_eq!(run("test result: ok. 0 passed; 0 failed; 7 filtered out"), none);
        assert_eq!(run("test result: ok. 3 passed; 0 failed; 4 filtered out"), Ok(()));
        assert_eq!(run("build"), Ok(()));
    }
}
