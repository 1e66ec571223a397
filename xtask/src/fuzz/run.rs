//! Running a target, and reading what libFuzzer says of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Names the planted mistake to a target.
const PLANTED: &str = "XEN_HAL_PLANTED";

/// The longest input. Each target stops before it has used up a longer one.
const LENGTH: &str = "-max_len=1024";

/// How a target ends for which an input was found that it fails with.
const CRASHED: i32 = 77;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The target's program.
    pub program: &'a Path,
    /// The mistake to plant, if any.
    pub bug: Option<&'a str>,
    /// How long to look.
    pub seconds: u64,
    /// Where inputs are kept that reach something new, and read from at first; without it, the
    /// search begins with nothing.
    pub corpus: Option<&'a Path>,
    /// What the name of an input begins with that the target fails with.
    pub prefix: &'a str,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many inputs were tried.
    pub executions: u64,
    /// How many places in the code were reached.
    pub covered: u64,
    /// How many distinct paths, as libFuzzer tells them apart: places together with how often each
    /// was reached and what was compared there.
    pub paths: u64,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub end: End,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The time is over, and nothing was found.
    Nothing,
    /// An input makes the target fail.
    Crash {
        /// What it said.
        message: String,
        /// Where the input is, if libFuzzer could keep it.
        input: Option<PathBuf>,
    },
    /// It ended in another way: it does not start, or libFuzzer was interrupted.
    Other(String),
}

impl Job<'_> {
    /// Runs it to its end.
    #[must_use]
    pub fn run(&self) -> Found {
        let began = Instant::now();
        let output = self.command().output();
        let took = began.elapsed();
        match output {
            Ok(output) => {
                read(&String::from_utf8_lossy(&output.stderr), output.status.code(), took)
            }
            Err(error) => Found { end: End::Other(error.to_string()), ..read("", Some(0), took) },
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_remove(PLANTED).env("RUST_BACKTRACE", "0");
        if let Some(bug) = self.bug {
            command.env(PLANTED, bug);
        }
        // Long inputs are tried from the start: some mistakes take many steps. Ten seconds for one
        // input are an endless loop.
        command.args([
            LENGTH,
            "-len_control=0",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]);
        command.args([
            format!("-max_total_time={}", self.seconds),
            format!("-artifact_prefix={}", self.prefix),
        ]);
        command.args(self.corpus);
        if self.bug.is_some() {
            // Whether a target sees a mistake is to be the same each time; a look without one is to
            // be another each time.
            command.arg("-seed=1");
        }
        command
    }

    /// The line that runs the target once more with an input.
    #[must_use]
    pub fn replay(&self, input: &Path) -> String {
        let planted = self.bug.map_or_else(String::new, |bug| format!("{PLANTED}={bug} "));
        format!("{planted}{} {}", self.program.display(), input.display())
    }
}

/// Reads what libFuzzer printed.
fn read(printed: &str, code: Option<i32>, took: Duration) -> Found {
    let last = |name: &str| printed.lines().rev().find_map(|line| number_after(line, name));
    let executions = last("stat::number_of_executed_units:").unwrap_or(0);
    let end = match code {
        Some(0) => End::Nothing,
        _ => match printed.lines().find_map(|line| line.split_once("Test unit written to ")) {
            Some((_, input)) => End::Crash { message: message(printed), input: Some(input.into()) },
            None if code == Some(CRASHED) => End::Crash { message: message(printed), input: None },
            None => End::Other(printed.lines().next_back().unwrap_or("it says nothing").to_owned()),
        },
    };
    Found {
        executions,
        covered: last(" cov: ").unwrap_or(0),
        paths: last(" ft: ").unwrap_or(0),
        took,
        end,
    }
}

/// The number that follows a name in a line.
fn number_after(line: &str, name: &str) -> Option<u64> {
    line.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}

/// What the target said when it failed: the place of the panic, and its first line; otherwise what
/// libFuzzer says.
fn message(printed: &str) -> String {
    let mut lines = printed.lines();
    let place = lines.find_map(|line| line.split_once("panicked at "));
    match place {
        Some((_, place)) => format!("{place} {}", lines.next().unwrap_or_default()),
        None => printed
            .lines()
            .find(|line| line.contains("ERROR: libFuzzer"))
            .unwrap_or("it gave no reason")
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(printed: &str, code: i32) -> Found {
        read(printed, Some(code), Duration::ZERO)
    }

    #[test]
    fn a_run_that_finds_nothing_is_counted() {
        let printed = "#2\tINITED cov: 45 ft: 45 corp: 1/1b\n#99\tDONE   cov: 201 ft: 1085 corp: 513/25Kb lim: 733\nstat::number_of_executed_units: 99\n";
        let expected = Found {
            executions: 99,
            covered: 201,
            paths: 1085,
            took: Duration::ZERO,
            end: End::Nothing,
        };
        assert_eq!(found(printed, 0), expected);
    }

    #[test]
    fn a_crash_is_told_with_its_message_and_input() {
        let printed = "#2\tINITED cov: 45 ft: 45 corp: 1/1b\n\nthread 'main' (3) panicked at src/clock.rs:52:5:\nthe clock went back\n\
                       artifact_prefix='x-'; Test unit written to x-crash-1\n";
        let end = End::Crash {
            message: "src/clock.rs:52:5: the clock went back".to_owned(),
            input: Some("x-crash-1".into()),
        };
        assert_eq!(found(printed, 77).end, end);
    }

    #[test]
    fn an_endless_loop_is_a_crash() {
        let printed = "==1== ERROR: libFuzzer: timeout after 10 seconds\nartifact_prefix='x-'; Test unit written to x-timeout-1\n";
        assert!(
            matches!(found(printed, 70).end, End::Crash { message, .. } if message.contains("timeout"))
        );
    }

    #[test]
    fn a_target_that_does_not_start_has_found_nothing() {
        assert_eq!(
            found("there is no mistake `X`\n", 2).end,
            End::Other("there is no mistake `X`".to_owned())
        );
    }
}
