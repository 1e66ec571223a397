//! Measures a child process: its processor time, and the instructions of functions.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The times of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// The processor time, user and system, of the command and of the children that it waited for.
    pub cpu: Duration,
    /// The wall-clock time.
    pub wall: Duration,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, wall: self.wall + other.wall }
    }
}

/// Runs a command to its end, discards its output, and returns its times.
///
/// # Errors
///
/// The command could not be started, or did not succeed.
pub fn measure(command: &mut Command) -> Result<Usage, String> {
    let before = children();
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?} could not be started: {error}"))?;
    let wall = start.elapsed();
    if !output.status.success() {
        return Err(format!(
            "{command:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(Usage { cpu: children().saturating_sub(before), wall })
}

/// Returns the median times of `count` runs.
///
/// # Errors
///
/// The error of a run.
pub fn median(
    count: usize,
    mut run: impl FnMut() -> Result<Usage, String>,
) -> Result<Usage, String> {
    let mut runs = (0..count).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by_key(|usage| usage.cpu);
    Ok(runs.get(count / 2).copied().unwrap_or_default())
}

/// Returns the processor time, user and system, of all children so far that were waited for.
#[must_use]
pub fn children() -> Duration {
    // It fails only for an argument that Linux does not support. Linux supports this one.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage
        .map_or(Duration::ZERO, |usage| duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
}

/// Returns the instructions of a regen of `abi`: all, and then those of each of `functions` with
/// what it calls.
///
/// # Errors
///
/// The run failed, or its record does not have a function.
pub(super) fn instructions(
    valgrind: &Path,
    this: &Path,
    abi: &Path,
    folder: &Path,
    functions: &[&str],
) -> Result<Vec<u64>, String> {
    let record = folder.join("callgrind.out");
    let options = ["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"];
    let mut command = Command::new(valgrind);
    command.args(options).arg(format!("--callgrind-out-file={}", record.display()));
    measure(
        command.arg(this).arg("regen").arg("--abi").arg(abi).arg("--out").arg(folder.join("out")),
    )?;
    let text = std::fs::read_to_string(&record)
        .map_err(|error| format!("{}: {error}", record.display()))?;
    let all = text.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    let mut found = vec![all.ok_or("valgrind's record has no summary")?];
    for function in functions {
        found.push(
            inclusive(&text, function)
                .ok_or_else(|| format!("valgrind's record does not have `{function}`"))?,
        );
    }
    Ok(found)
}

/// Returns the total cost of a function's calls in the text of a record.
fn inclusive(record: &str, function: &str) -> Option<u64> {
    let mut lines = record.lines();
    let mut sum = None;
    while let Some(line) = lines.next() {
        if line.strip_prefix("cfn=") == Some(function) {
            // A line with the number of calls, then a line with a position and the cost.
            let cost = lines.by_ref().find(|line| line.starts_with("calls=")).and(lines.next());
            let cost: u64 = cost?.split_ascii_whitespace().last()?.parse().ok()?;
            sum = Some(sum.unwrap_or(0) + cost);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::inclusive;

    #[test]
    fn calls_of_a_function_are_added() {
        let record = "fn=main\n10 5\ncfi=a.rs\ncfn=a::one\ncalls=1 3\n11 70\ncfn=a::two\n\
         calls=2 3\n12 200\ncfn=a::one\ncalls=4 3\n13 7\n";
        assert_eq!(inclusive(record, "a::one"), Some(77));
        assert_eq!(inclusive(record, "a::two"), Some(200));
        assert_eq!(inclusive(record, "a::three"), None);
    }
}
