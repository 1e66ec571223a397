//! `cargo xtask xen`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::xen::console::Line;
use crate::xen::find::{self, Kit};
use crate::xen::program::{self, PROGRAMS, Program};
use crate::xen::verdict::{self, Verdict};
use crate::xen::{boot, build, stage};

/// How many lines of the console are shown when a run did not end as it should.
const LAST_LINES: usize = 20;

/// What `cargo xtask xen` can be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Found by itself, unless a variable points elsewhere:
  XEN_GUEST_QEMU        the emulator
  XEN_GUEST_HYPERVISOR  the hypervisor's image, packed with gzip or not
  XEN_GUEST_TARGET      the target to build guests for")]
pub struct Arguments {
    /// The guest programs to start.
    #[arg(required_unless_present_any = ["list", "all"])]
    programs: Vec<String>,
    /// Say which programs there are, and stop.
    #[arg(long)]
    list: bool,
    /// Start all programs, one after the other.
    #[arg(long, conflicts_with = "programs")]
    all: bool,
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
        for program in PROGRAMS {
            println!("{:10} {}", program.name, program.about);
        }
        return ExitCode::SUCCESS;
    }
    let programs = match choose(&arguments.programs) {
        Ok(programs) => programs,
        Err(unknown) => return refuse(&format!("there is no program `{unknown}`; `cargo xtask xen --list` names them")),
    };
    let kit = match find::kit() {
        Ok(kit) => kit,
        Err(missing) => return refuse(&missing.to_string()),
    };
    println!("{kit}");
    let wrong = programs.iter().filter(|program| !report(program, arguments, start(program, &kit, arguments))).count();
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refuse(why: &str) -> ExitCode {
    for line in why.lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(2)
}

/// The programs of those names; all of them for no name.
fn choose(names: &[String]) -> Result<Vec<&'static Program>, String> {
    if names.is_empty() {
        return Ok(PROGRAMS.iter().collect());
    }
    names.iter().map(|name| program::named(name).ok_or_else(|| name.clone())).collect()
}

/// A run that came to a verdict.
struct Run {
    verdict: Verdict,
    console: Vec<String>,
    took: Duration,
}

/// Builds and boots a program. An error is a sentence on what kept it from being started.
fn start(program: &Program, kit: &Kit, arguments: &Arguments) -> Result<Run, String> {
    let workspace = super::workspace_root();
    let files = super::target_folder().join("xen");
    let guest = build::build(&workspace, program, &kit.target, &files.join("build"))?;
    let run = stage::stage(&files, program, &kit.hypervisor, &guest)?;
    let (mut console, mut lines) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let ended = boot::boot(&kit.qemu, &run, program, Duration::from_secs(arguments.timeout), |raw| {
        let line = Line::parse(raw);
        show(raw, &line, arguments.verbose);
        let go_on = !verdict::is_last_word(&line);
        console.push(raw.to_owned());
        lines.push(line);
        go_on
    });
    let took = began.elapsed();
    let ended = ended.map_err(|error| format!("{}: {error}", kit.qemu.display()))?;
    let log = run.join(stage::LOG);
    fs::write(&log, console.join("\n")).map_err(|error| format!("{}: {error}", log.display()))?;
    Ok(Run { verdict: verdict::judge(&lines, &ended.end, &ended.complaints), console, took })
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

/// Prints the run's closing line, and says whether it ended as it should.
fn report(program: &Program, arguments: &Arguments, run: Result<Run, String>) -> bool {
    let run = match run {
        Ok(run) => run,
        Err(why) => {
            eprintln!("error: {why}");
            println!("{}: {}", program.name, mark(false));
            return false;
        }
    };
    let good = program.expected.matches(&run.verdict);
    if !good && !arguments.verbose {
        eprintln!("The last lines of the console:");
        for line in &run.console[run.console.len().saturating_sub(LAST_LINES)..] {
            eprintln!("  {line}");
        }
    }
    println!("{}: {}, {} ({:.1} s)", program.name, mark(good), run.verdict, run.took.as_secs_f64());
    good
}

fn mark(good: bool) -> &'static str {
    match (good, std::io::stdout().is_terminal()) {
        (true, true) => "\x1b[32mok\x1b[0m",
        (true, false) => "ok",
        (false, true) => "\x1b[31mFAILED\x1b[0m",
        (false, false) => "FAILED",
    }
}
