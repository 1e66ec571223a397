//! Coverage-guided fuzzing of the HAL: building the targets of `xen-hal/fuzz` with libFuzzer,
//! running one, and reading what libFuzzer prints.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::tools;

/// The targets: each is a module and a program of `xen-hal/fuzz`.
pub const TARGETS: [&str; 7] =
    ["answers", "bytes", "clock", "devices", "dispatch", "drivers", "revoke"];

/// Makes the compiler count which code an input reaches and record what it compares. These are the
/// flags of cargo-fuzz.
pub const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Makes the compiler check each address, with a runtime that comes with the toolchain.
pub const ADDRESSES: &str = "-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer";

/// The targets leak the pages of which the HAL keeps ownership.
const ASAN: (&str, &str) = ("ASAN_OPTIONS", "detect_leaks=0");

/// The maximum length of an input. No target reads more.
const MAX_LENGTH: &str = "-max_len=1024";

/// The exit code of libFuzzer after an input that crashes the target.
const CRASHED: i32 = 77;

/// The head of the table that [`Found::row`] prints.
pub const HEAD: &str = "target    executions    cov     ft   seconds  verdict";

/// Builds targets of the workspace at `root` into `folder`, with flags of rustc and more arguments
/// of cargo; returns the folder of the programs.
///
/// # Errors
///
/// What is missing or failed.
pub fn build(
    root: &Path,
    folder: &Path,
    targets: &[&str],
    flags: &str,
    args: &[String],
) -> Result<PathBuf, String> {
    if tools::GXX.find().is_none() {
        return Err(tools::GXX.missing());
    }
    let (host, mut cargo) = cargo(root, folder, flags, "build")?;
    cargo.args(targets.iter().flat_map(|target| ["--bin", *target])).args(args);
    if let Some(library) = tools::LIBFUZZER.find() {
        // Otherwise it is compiled, which takes longer than all the rest.
        cargo.env("CUSTOM_LIBFUZZER_PATH", library);
    }
    let output = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if output.status.success() {
        Ok(folder.join(host).join("release"))
    } else {
        let why = String::from_utf8_lossy(&output.stderr);
        Err(format!("the fuzz targets do not build:\n{why}"))
    }
}

/// Runs the targets on fixed inputs, which reach every part of the HAL; returns whether none
/// crashes.
///
/// # Errors
///
/// If cargo cannot be run.
pub fn fixed_inputs(root: &Path, folder: &Path) -> Result<bool, String> {
    let (_, mut cargo) = cargo(root, folder, &format!("{COVERAGE} {ADDRESSES}"), "test")?;
    // Without optimisation, because the few inputs take less time than the optimisation.
    cargo.args(["--lib", "--no-default-features"]);
    cargo.args(["--config", "profile.release.package.xen-hal-fuzz.opt-level=0"]);
    let status = cargo.env(ASAN.0, ASAN.1).status();
    Ok(status.map_err(|error| format!("cannot run cargo: {error}"))?.success())
}

/// Returns a call of cargo for the fuzz targets of the workspace at `root`, and the target triple.
fn cargo(
    root: &Path,
    folder: &Path,
    flags: &str,
    command: &str,
) -> Result<(String, Command), String> {
    let host = host()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With an explicit target, build scripts are not instrumented.
    cargo.args([command, "--quiet", "--release", "--locked", "--target", &host, "--target-dir"]);
    cargo.arg(folder).current_dir(root.join("xen-hal/fuzz"));
    cargo.env("RUSTFLAGS", flags).env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Sanitizers need it, or a nightly toolchain.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    Ok((host, cargo))
}

/// Returns the target triple of this machine.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(&rustc)
        .arg("-vV")
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "expected a line `host: ...` from `rustc -vV`, found none".to_owned())
}

/// A search for inputs that crash a target.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The end of the search.
    pub limit: Limit,
    /// The folder from which inputs are read first, and in which those that reach new code are
    /// kept. Without it the search starts with nothing and with a fixed seed.
    pub corpus: Option<&'a Path>,
    /// The start of the path of an input that crashes the target.
    pub prefix: &'a str,
}

/// The end of a search.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// This number of seconds.
    Seconds(u64),
    /// This number of inputs.
    Runs(u64),
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of inputs that were tried.
    pub executions: u64,
    /// The number of places in the code that were reached.
    pub covered: u64,
    /// The number of features: places, together with how often each was reached and what was
    /// compared there.
    pub features: u64,
    /// The wall-clock time.
    pub took: Duration,
    /// How it ended.
    pub end: End,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// No input crashed the target within the limit.
    Nothing,
    /// An input crashes the target.
    Crash {
        /// The panic's place and message.
        message: String,
        /// The path of the input, if libFuzzer wrote it.
        input: Option<PathBuf>,
    },
    /// It ended in another way: it did not start, or libFuzzer was interrupted.
    Other(String),
}

impl Job<'_> {
    /// Runs a target's program to its end.
    #[must_use]
    pub fn run(&self, program: &mut Command) -> Found {
        // Long inputs are tried from the start, because some mistakes need many steps. An input
        // that takes ten seconds counts as an endless loop.
        program.args([
            MAX_LENGTH,
            "-len_control=0",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]);
        program.arg(match self.limit {
            Limit::Seconds(seconds) => format!("-max_total_time={seconds}"),
            Limit::Runs(runs) => format!("-runs={runs}"),
        });
        program.arg(format!("-artifact_prefix={}", self.prefix));
        match self.corpus {
            Some(corpus) => program.arg(corpus),
            None => program.arg("-seed=1"),
        };
        run(program)
    }
}

/// Runs a target's program once with an input.
#[must_use]
pub fn replay(program: &mut Command, input: &Path) -> Found {
    run(program.arg(input))
}

fn run(command: &mut Command) -> Found {
    let start = Instant::now();
    let output = command.env("RUST_BACKTRACE", "0").env(ASAN.0, ASAN.1).output();
    let took = start.elapsed();
    match output {
        Ok(output) => read(&String::from_utf8_lossy(&output.stderr), output.status.code(), took),
        Err(error) => Found { end: End::Other(error.to_string()), ..read("", Some(0), took) },
    }
}

impl Found {
    /// Returns the row of the table for a target that must not crash.
    #[must_use]
    pub fn row(&self, target: &str) -> String {
        let verdict = match &self.end {
            End::Nothing => "ok".to_owned(),
            End::Crash { .. } => "FAILED, see below".to_owned(),
            End::Other(why) => format!("FAILED, {why}"),
        };
        let Self { executions, covered, features, took, .. } = self;
        let seconds = took.as_secs_f64();
        format!("{target:9} {executions:>10} {covered:>6} {features:>6} {seconds:>9.1}  {verdict}")
    }
}

/// Reads what libFuzzer printed.
fn read(printed: &str, code: Option<i32>, took: Duration) -> Found {
    let last = |name: &str| printed.lines().rev().find_map(|line| number_after(line, name));
    let input =
        || Some(printed.lines().find_map(|line| line.split_once("Test unit written to "))?.1);
    let end = match (code, input()) {
        (Some(0), _) => End::Nothing,
        (_, Some(input)) => End::Crash { message: message(printed), input: Some(input.into()) },
        (Some(CRASHED), None) => End::Crash { message: message(printed), input: None },
        _ => End::Other(printed.lines().next_back().unwrap_or("it printed nothing").to_owned()),
    };
    Found {
        executions: last("stat::number_of_executed_units:").unwrap_or(0),
        covered: last(" cov: ").unwrap_or(0),
        features: last(" ft: ").unwrap_or(0),
        took,
        end,
    }
}

/// Returns the number that follows a name in a line.
fn number_after(line: &str, name: &str) -> Option<u64> {
    line.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}

/// Returns the place and the first line of the target's panic; otherwise the error of libFuzzer or
/// of the address sanitizer.
fn message(printed: &str) -> String {
    let mut lines = printed.lines();
    let place = lines.find_map(|line| line.split_once("panicked at "));
    match place {
        Some((_, place)) => format!("{place} {}", lines.next().unwrap_or_default()),
        None => printed
            .lines()
            .find(|line| line.contains("ERROR: "))
            .unwrap_or("it gave no reason")
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::workspace_root;

    fn found(printed: &str, code: i32) -> Found {
        read(printed, Some(code), Duration::ZERO)
    }

    #[test]
    fn every_program_is_listed() {
        let folder = std::fs::read_dir(workspace_root().join("xen-hal/fuzz/fuzz_targets")).unwrap();
        let mut programs: Vec<_> = folder
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        programs.sort();
        assert_eq!(programs, TARGETS);
    }

    #[test]
    fn a_run_that_finds_nothing_is_counted() {
        let printed = "#2\tINITED cov: 45 ft: 45 corp: 1/1b\n\
            #99\tDONE   cov: 201 ft: 1085 corp: 513/25Kb lim: 733\n\
            stat::number_of_executed_units: 99\n";
        let expected = Found {
            executions: 99,
            covered: 201,
            features: 1085,
            took: Duration::ZERO,
            end: End::Nothing,
        };
        assert_eq!(found(printed, 0), expected);
        assert!(expected.row("clock").ends_with("ok"));
    }

    #[test]
    fn a_crash_has_its_message_and_input() {
        let printed = "#2\tINITED cov: 45 ft: 45 corp: 1/1b\n\n\
            thread 'main' (3) panicked at src/clock.rs:52:5:\nthe clock went back\n\
            artifact_prefix='x-'; Test unit written to x-crash-1\n";
        let end = End::Crash {
            message: "src/clock.rs:52:5: the clock went back".to_owned(),
            input: Some("x-crash-1".into()),
        };
        assert_eq!(found(printed, 77).end, end);
        assert!(found(printed, 77).row("clock").contains("FAILED"));
    }

    #[test]
    fn an_endless_loop_is_a_crash() {
        let printed = "==1== ERROR: libFuzzer: timeout after 10 seconds\n\
            artifact_prefix='x-'; Test unit written to x-timeout-1\n";
        let crash = found(printed, 70).end;
        assert!(matches!(crash, End::Crash { message, .. } if message.contains("timeout")));
    }

    #[test]
    fn a_wrong_address_is_a_crash() {
        let printed = "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1\n\
            artifact_prefix='x-'; Test unit written to x-crash-1\n";
        let crash = found(printed, 1).end;
        assert!(matches!(crash, End::Crash { message, .. } if message.contains("overflow")));
    }

    #[test]
    fn a_target_that_does_not_start_has_found_nothing() {
        let found = found("cannot open the corpus\n", 2);
        assert_eq!(found.end, End::Other("cannot open the corpus".to_owned()));
        assert!(found.row("clock").contains("FAILED"));
    }
}
