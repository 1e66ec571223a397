//! How a run ended: the console and the emulator's exit status must agree.

use std::fmt;

use super::console::Line;

/// The status of an emulator that a guest ended with success: twice the value written to its exit
/// device, and one.
const STATUS_SUCCESS: i32 = 0x10 << 1 | 1;
/// The same for a guest that reports an error.
const STATUS_FAILURE: i32 = 0x11 << 1 | 1;
/// The same for a guest that panicked.
const STATUS_PANIC: i32 = 0x12 << 1 | 1;

/// What dom0 prints before the reason if its check of a guest fails.
const DOM0_FAILURE: &str = "dom0: failure: ";

/// How the emulator ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that this program did not send.
    Killed,
    /// This program stopped it at the time limit, in seconds.
    TimedOut(u64),
    /// This program stopped it after the last line that the console can show.
    Stopped,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest and the status report success.
    Success,
    /// Success, but the transcript differs from the recorded one; the first such line, from 1.
    Differs(usize),
    /// Success, but there is no recorded transcript.
    Unrecorded,
    /// Success, but the guest did not print a line that begins like this.
    Missing(&'static str),
    /// The guest ended with an error of its own.
    GuestFailure(String),
    /// The guest panicked.
    GuestPanic(String),
    /// The guest took a triple fault.
    TripleFault,
    /// The hypervisor destroyed the guest.
    GuestCrash(String),
    /// The hypervisor itself panicked.
    HypervisorPanic(String),
    /// The guest did not end before the time limit.
    Hang {
        /// The limit in seconds.
        seconds: u64,
        /// The guest's last line, if it wrote any.
        last: Option<String>,
    },
    /// The machine stopped or restarted, and the guest had not reported a status.
    EndedSilently,
    /// Console and exit status do not agree.
    Contradiction(String),
    /// The emulator did not run.
    Emulator(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => write!(f, "success"),
            Self::Differs(line) => {
                write!(f, "the transcript differs from the recorded one at line {line}")
            }
            Self::Unrecorded => {
                write!(f, "there is no recorded transcript; record one with `--record`")
            }
            Self::Missing(start) => {
                write!(f, "expected a line that begins with `{start}`, found none")
            }
            Self::GuestFailure(why) => write!(f, "the guest failed: {why}"),
            Self::GuestPanic(what) => write!(f, "the guest panicked {what}"),
            Self::TripleFault => {
                write!(f, "the guest could not handle an exception (triple fault)")
            }
            Self::GuestCrash(why) => write!(f, "Xen destroyed the guest: {why}"),
            Self::HypervisorPanic(why) => write!(f, "Xen panicked: {why}"),
            Self::Hang { seconds, last: Some(last) } => {
                write!(f, "expected an end within {seconds} s; the guest's last line was `{last}`")
            }
            Self::Hang { seconds, last: None } => {
                write!(f, "expected an end within {seconds} s, found no line from the guest")
            }
            Self::EndedSilently => {
                write!(f, "the machine stopped, and the guest reported no status")
            }
            Self::Contradiction(what) => write!(f, "console and exit status disagree: {what}"),
            Self::Emulator(what) => write!(f, "the emulator failed: {what}"),
        }
    }
}

/// What the console shows about the end. The first field that is set decides.
#[derive(Default)]
struct ConsoleReport {
    hypervisor_panic: Option<String>,
    guest_crash: Option<String>,
    triple_fault: bool,
    guest_panic: Option<String>,
    guest_failure: Option<String>,
    success: bool,
    /// True if the console has a line.
    has_lines: bool,
    last: Option<String>,
}

impl ConsoleReport {
    fn read(lines: &[Line]) -> Self {
        let mut report = Self { has_lines: !lines.is_empty(), ..Self::default() };
        for (index, line) in lines.iter().enumerate() {
            match line {
                Line::Guest(_, text) => report.guest(text),
                Line::Hypervisor(text) => report.hypervisor(text, &lines[index + 1..]),
                Line::Other(text) => {
                    if let Some(why) = text.strip_prefix(DOM0_FAILURE) {
                        report.guest_failure.get_or_insert(why.to_owned());
                    }
                }
            }
        }
        report
    }

    fn guest(&mut self, text: &str) {
        if let Some(said) = text.strip_prefix("guest: ") {
            if said == "success" {
                self.success = true;
            } else if let Some(why) = said.strip_prefix("failure: ") {
                self.guest_failure.get_or_insert(why.to_owned());
            } else if let Some(what) = said.strip_prefix("panic ") {
                self.guest_panic.get_or_insert(what.to_owned());
            }
        }
        self.last = Some(text.to_owned());
    }

    fn hypervisor(&mut self, text: &str, after: &[Line]) {
        if text.starts_with("Panic on CPU") {
            // The reason is on the next line.
            let why = after.iter().find_map(|line| match line {
                Line::Hypervisor(text) if !text.is_empty() => Some(text.clone()),
                _ => None,
            });
            self.hypervisor_panic.get_or_insert(why.unwrap_or_else(|| text.to_owned()));
        } else if text.contains("Triple fault") {
            self.triple_fault = true;
        } else if text.starts_with("domain_crash called")
            || text.starts_with("Domain ") && text.contains(" crashed on cpu")
        {
            self.guest_crash.get_or_insert(text.trim_end_matches(':').to_owned());
        }
    }
}

/// Returns true if no line of the guest can follow this one: Xen waits five seconds before it
/// restarts the machine, or for ever.
#[must_use]
pub fn is_last_word(line: &Line) -> bool {
    let Line::Hypervisor(text) = line else { return false };
    text.starts_with("Reboot in five seconds")
        || text.starts_with("Hardware Dom0 crashed")
        || text.starts_with("Hardware Dom0 halted")
}

/// Returns the end of Bochs, whose exit status does not depend on the guest: the line number of a
/// BIOS panic is the status that the guest wrote.
#[must_use]
pub fn bochs_end(end: End, output: &str) -> End {
    const PANIC: &str = "VGABIOS panic at vgabios.c, line ";
    let line = output.split(PANIC).nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()));
    let status = line.and_then(|mut words| words.next()?.parse::<i32>().ok());
    status.map_or(end, |status| End::Exited(status << 1 | 1))
}

/// Returns the end of a guest that `xl` created, by the reason that it prints for each of the
/// guest's domains.
#[must_use]
pub fn xl_end(lines: &[Line]) -> Option<End> {
    const REASON: &str = " has shut down, reason code ";
    let reasons = lines.iter().filter_map(|line| {
        let Line::Other(text) = line else { return None };
        let (_, rest) = text.split_once(REASON)?;
        rest.split(' ').next()?.parse::<i32>().ok()
    });
    // 0 is a power-off, 1 a reboot, 3 a crash.
    Some(match reasons.max()? {
        0 => End::Exited(STATUS_SUCCESS),
        1 => End::Exited(0),
        _ => End::Exited(STATUS_FAILURE),
    })
}

/// Judges a run that ended with success by the lines that the guest must have printed.
#[must_use]
pub fn judge_lines(lines: &[Line], starts: &[&'static str]) -> Verdict {
    let printed = |start: &&str| {
        lines.iter().any(|line| match line {
            Line::Guest(_, text) => text.starts_with(start),
            line => line.own_console().is_some_and(|text| text.starts_with(start)),
        })
    };
    let missing = starts.iter().find(|start| !printed(start));
    missing.map_or(Verdict::Success, |start| Verdict::Missing(start))
}

/// Judges a run by the console's lines, the emulator's end, and the emulator's error stream.
#[must_use]
pub fn judge(lines: &[Line], end: &End, complaints: &str) -> Verdict {
    let report = ConsoleReport::read(lines);
    if let Some(why) = report.hypervisor_panic {
        return Verdict::HypervisorPanic(why);
    }
    if let Some(why) = report.guest_crash {
        return Verdict::GuestCrash(why);
    }
    if report.triple_fault {
        return Verdict::TripleFault;
    }
    if let Some(what) = report.guest_panic {
        return Verdict::GuestPanic(what);
    }
    if let Some(why) = report.guest_failure {
        return Verdict::GuestFailure(why);
    }
    match *end {
        End::Exited(STATUS_SUCCESS) if report.success => Verdict::Success,
        End::Exited(STATUS_SUCCESS) => Verdict::Contradiction(
            "the exit status reports success, and the console does not".to_owned(),
        ),
        End::Exited(STATUS_FAILURE) => Verdict::GuestFailure(
            "its exit status reports a failure, and its console no reason".to_owned(),
        ),
        End::Exited(STATUS_PANIC) => Verdict::GuestPanic("at an unknown place".to_owned()),
        End::TimedOut(seconds) if !report.success => Verdict::Hang { seconds, last: report.last },
        End::Exited(_) | End::Killed if !report.has_lines => {
            Verdict::Emulator(last_line(complaints))
        }
        End::Killed => Verdict::Emulator("it was killed".to_owned()),
        _ if report.success => Verdict::Contradiction(format!(
            "the console reports success, and the emulator ended with another status ({end:?})"
        )),
        End::Exited(0) | End::Stopped => Verdict::EndedSilently,
        End::Exited(status) => {
            Verdict::Emulator(format!("status {status}; {}", last_line(complaints)))
        }
        End::TimedOut(seconds) => Verdict::Hang { seconds, last: report.last },
    }
}

/// Judges the run of a user's own image, for which one report of success is enough: the line on the
/// console or the exit status.
#[must_use]
pub fn judge_image(lines: &[Line], end: &End, complaints: &str) -> Verdict {
    const CRASH: &str = "Hardware Dom0 crashed";
    let is_crash = |line: &Line| matches!(line, Line::Hypervisor(text) if text.starts_with(CRASH));
    match (judge(lines, end, complaints), end) {
        (
            Verdict::Contradiction(_),
            End::Exited(0 | STATUS_SUCCESS) | End::Stopped | End::TimedOut(_),
        ) if !lines.iter().any(is_crash) => Verdict::Success,
        (verdict, _) => verdict,
    }
}

/// Returns the last line of the emulator's error stream, which has the reason for its end.
fn last_line(complaints: &str) -> String {
    complaints
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("its error stream is empty")
        .to_owned()
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
