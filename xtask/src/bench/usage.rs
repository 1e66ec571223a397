//! What a child process used of the processor.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What a command cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, user and system, of it and of the children that it waited for.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, wall: self.wall + other.wall }
    }
}

/// Runs a command to its end, its output thrown away, and says what it cost.
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

/// The median of what `count` runs of the same thing cost.
///
/// # Errors
///
/// As the runs have them.
pub fn median(
    count: usize,
    mut run: impl FnMut() -> Result<Usage, String>,
) -> Result<Usage, String> {
    let mut runs = (0..count).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by_key(|usage| usage.cpu);
    Ok(runs.get(count / 2).copied().unwrap_or_default())
}

/// Processor time, user and system, of all children so far that were waited for.
#[must_use]
pub fn children() -> Duration {
    // It fails for arguments that Linux does not know, of which this is none.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage
        .map_or(Duration::ZERO, |usage| duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
}
