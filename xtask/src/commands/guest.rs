//! `cargo xtask guest`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::guest::console::Line;
use crate::guest::find::{self, Kit};
use crate::guest::program::{self, Program};
use crate::guest::route::{self, Route};
use crate::guest::tally::{Ending, Tally};
use crate::guest::transcript::{self, Transcript};
use crate::guest::verdict::{self, Verdict};
use crate::guest::{boot, build, stage};

/// How many lines of the console are shown when a run did not end as it should.
const LAST_LINES: usize = 20;

/// What `cargo xtask guest` can be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Found by itself, unless a variable points elsewhere:
  XEN_GUEST_QEMU        the emulator
  XEN_GUEST_HYPERVISOR  the hypervisor's image, packed with gzip or not
  XEN_GUEST_TARGET      the target to build guests for")]
pub struct Arguments {
    /// The scenarios or other guest programs to start.
    #[arg(required_unless_present_any = ["list", "all"], value_name = "NAME")]
    programs: Vec<String>,
    /// Say which scenarios and programs there are, and stop.
    #[arg(long)]
    list: bool,
    /// Start all scenarios, one after the other.
    #[arg(long, conflicts_with = "programs")]
    all: bool,
    /// Start them that many times in a row, whatever becomes of a run.
    #[arg(long, default_value = "1", value_name = "N")]
    repeat: NonZeroU32,
    /// Keep what the scenarios tell as what they have to tell from now on.
    #[arg(long, conflicts_with = "repeat")]
    record: bool,
    /// Keep each run's console in a file also when all went well.
    #[arg(long)]
    keep_logs: bool,
    /// The architecture to run on.
    #[arg(long)]
    arch: Option<String>,
    /// The letter of the way to become a guest there.
    #[arg(long, value_name = "LETTER")]
    route: Option<String>,
    /// How many seconds a run may take.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
    /// Show Xen's own lines too.
    #[arg(long)]
    verbose: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    let session = match Session::prepare(arguments) {
        Ok(session) => session,
        Err(why) => return refuse(&why),
    };
    let programs = match choose(&arguments.programs) {
        Ok(programs) => programs,
        Err(unknown) => {
            return refuse(&format!(
                "there is no scenario or program `{unknown}`; `cargo xtask guest --list` names them"
            ));
        }
    };
    println!("{}, {}", session.kit, session.route);
    let binaries = match build_all(&programs, &session) {
        Ok(binaries) => binaries,
        Err(why) => return refuse(&why),
    };
    let mut tally = Tally::default();
    let rounds = arguments.repeat.get();
    for round in 1..=rounds {
        let round = (rounds > 1).then_some(round);
        if let Some(round) = round {
            println!("Round {round} of {rounds}:");
        }
        programs.iter().for_each(|program| {
            tally.add(program.name, session.run(program, &binaries[program.binary], round))
        });
    }
    if tally.runs() > 1 {
        summarize(&tally);
    }
    if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    println!("Scenarios:");
    program::scenarios().for_each(|program| println!("  {:16} {}", program.name, program.about));
    println!("Other programs:");
    program::PROGRAMS
        .iter()
        .for_each(|program| println!("  {:16} {}", program.name, program.about));
}

fn refuse(why: &str) -> ExitCode {
    for line in why.lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(2)
}

/// The programs of those names; all scenarios for no name.
fn choose(names: &[String]) -> Result<Vec<Program>, String> {
    if names.is_empty() {
        return Ok(program::scenarios().collect());
    }
    names.iter().map(|name| program::named(name).ok_or_else(|| name.clone())).collect()
}

/// Builds what the programs need, each binary once.
fn build_all(
    programs: &[Program],
    session: &Session<'_>,
) -> Result<BTreeMap<&'static str, PathBuf>, String> {
    let mut binaries = BTreeMap::new();
    for program in programs {
        if !binaries.contains_key(program.binary) {
            let built = build::build(
                &session.workspace,
                program,
                &session.kit.target,
                &session.files.join("build"),
            )?;
            binaries.insert(program.binary, built);
        }
    }
    Ok(binaries)
}

/// What all runs of a command have in common.
struct Session<'a> {
    arguments: &'a Arguments,
    kit: Kit,
    route: Route,
    workspace: PathBuf,
    files: PathBuf,
}

/// A run that came to a verdict.
struct Run {
    verdict: Verdict,
    lines: Vec<Line>,
    console: Vec<String>,
    took: Duration,
    log: PathBuf,
}

impl<'a> Session<'a> {
    fn prepare(arguments: &'a Arguments) -> Result<Self, String> {
        let route = route::choose(arguments.arch.as_deref(), arguments.route.as_deref())?;
        let kit = find::kit().map_err(|missing| missing.to_string())?;
        Ok(Self {
            arguments,
            kit,
            route,
            workspace: super::workspace_root(),
            files: super::target_folder().join("guest"),
        })
    }

    /// Runs a program and reports on it.
    fn run(&self, program: &Program, guest: &Path, round: Option<u32>) -> Ending {
        println!("{}:", program.name);
        let began = Instant::now();
        let ending = self.start(program, guest, round).and_then(|run| self.judge(program, run));
        let ending = ending.unwrap_or_else(|why| Ending {
            good: false,
            verdict: why,
            took: began.elapsed(),
        });
        println!(
            "{}: {}, {} ({:.1} s)",
            program.name,
            mark(ending.good),
            ending.verdict,
            ending.took.as_secs_f64()
        );
        ending
    }

    /// Holds a run against what was expected of it, and shows and keeps what is needed to see why
    /// it was not so.
    fn judge(&self, program: &Program, mut run: Run) -> Result<Ending, String> {
        if program.is_scenario() && run.verdict == Verdict::Success {
            run.verdict = self.compare(program, &run.lines)?;
        }
        let good = program.expected.matches(&run.verdict);
        self.keep(&run, run.verdict != Verdict::Success)?;
        if !good
            && !self.arguments.verbose
            && !matches!(run.verdict, Verdict::Differs(_) | Verdict::Unrecorded)
        {
            show_last(&run.console);
        }
        Ok(Ending { good, verdict: run.verdict.to_string(), took: run.took })
    }

    /// Boots a program. An error is a sentence on what kept it from being started.
    fn start(&self, program: &Program, guest: &Path, round: Option<u32>) -> Result<Run, String> {
        let run = stage::stage(&self.files, program, &self.kit.hypervisor, guest)?;
        let log = run.join(stage::log(round));
        let (mut console, mut lines) = (Vec::new(), Vec::new());
        let began = Instant::now();
        let limit = Duration::from_secs(self.arguments.timeout);
        let ended = boot::boot(&self.kit.qemu, &run, program, limit, |raw| {
            let line = Line::parse(raw);
            show(raw, &line, self.arguments.verbose);
            let go_on = !verdict::is_last_word(&line);
            console.push(raw.to_owned());
            lines.push(line);
            go_on
        });
        let took = began.elapsed();
        let ended = ended.map_err(|error| format!("{}: {error}", self.kit.qemu.display()))?;
        let verdict = verdict::judge(&lines, &ended.end, &ended.complaints);
        Ok(Run { verdict, lines, console, took, log })
    }

    /// Keeps the console of a run that ended badly, or of any if told so; what an earlier run left
    /// goes.
    fn keep(&self, Run { log, console, .. }: &Run, bad: bool) -> Result<(), String> {
        let explain = |error| format!("{}: {error}", log.display());
        if bad || self.arguments.keep_logs {
            fs::write(log, console.join("\n")).map_err(explain)?;
            println!("  the console is in {}", log.display());
        } else if log.exists() {
            fs::remove_file(log).map_err(explain)?;
        }
        Ok(())
    }

    /// Compares what a scenario told with what was recorded, or records it.
    fn compare(&self, program: &Program, lines: &[Line]) -> Result<Verdict, String> {
        let path = transcript::path(&self.workspace, &self.route, program.name);
        let explain = |error| format!("{}: {error}", path.display());
        let told = Transcript::hear(lines);
        let recorded = Transcript::read(&path).map_err(explain)?;
        let verdict = told.judge(recorded.as_ref());
        if let (Some(recorded), Verdict::Differs(_)) = (&recorded, &verdict) {
            println!(
                "  recorded on Xen {}, and now:",
                recorded.hypervisor.as_deref().unwrap_or("of an unknown version")
            );
            told.diff(recorded).lines().for_each(|line| println!("  {line}"));
        }
        if self.arguments.record {
            told.write(&path).map_err(explain)?;
            return Ok(Verdict::Success);
        }
        Ok(verdict)
    }
}

/// Shows a line of the console as it comes: the guest's always.
fn show(raw: &str, line: &Line, verbose: bool) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to tell when the output is closed; the run goes on to its verdict.
    let _ = match line {
        Line::Guest(_, text) => writeln!(out, "  {text}"),
        _ if verbose => writeln!(out, "  {raw}"),
        _ => Ok(()),
    };
}

fn show_last(console: &[String]) {
    eprintln!("The last lines of the console:");
    for line in &console[console.len().saturating_sub(LAST_LINES)..] {
        eprintln!("  {line}");
    }
}

/// Prints the closing table.
fn summarize(tally: &Tally) {
    println!();
    for score in tally.scores() {
        let (mark, slowest) = (mark(score.is_good()), score.slowest.as_secs_f64());
        if score.runs == 1 {
            println!("{:16} {mark:6} {slowest:5.1} s  {}", score.name, score.verdict);
        } else {
            println!(
                "{:16} {mark:6} {:3} of {}, slowest {slowest:5.1} s  {}",
                score.name, score.good, score.runs, score.verdict
            );
        }
    }
    println!("{tally}");
}

fn mark(good: bool) -> &'static str {
    match (good, std::io::stdout().is_terminal()) {
        (true, true) => "\x1b[32mok\x1b[0m",
        (true, false) => "ok",
        (false, true) => "\x1b[31mFAILED\x1b[0m",
        (false, false) => "FAILED",
    }
}
