//! The guest programs that can be started, and how each is expected to end.

use super::verdict::Verdict;

/// A guest program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What to call it on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The binary of the guest package.
    pub binary: &'static str,
    /// The guest's command line, without commas: the emulator would split it there.
    pub command_line: &'static str,
    /// How it should end.
    pub expected: Expected,
}

/// How a program should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// With success.
    Success,
    /// With an error of its own.
    Failure,
    /// With a panic of its own.
    Panic,
    /// With an exception that nothing handled.
    TripleFault,
    /// Killed by the hypervisor.
    Crash,
    /// Not at all.
    Hang,
    /// Without a word.
    Silence,
}

impl Expected {
    /// Whether this is how it ended.
    #[must_use]
    pub fn matches(self, verdict: &Verdict) -> bool {
        let ended = match verdict {
            Verdict::Success => Self::Success,
            Verdict::GuestFailure(_) => Self::Failure,
            Verdict::GuestPanic(_) => Self::Panic,
            Verdict::TripleFault => Self::TripleFault,
            Verdict::GuestCrash(_) => Self::Crash,
            Verdict::Hang { .. } => Self::Hang,
            Verdict::EndedSilently => Self::Silence,
            Verdict::HypervisorPanic(_) | Verdict::Contradiction(_) | Verdict::Emulator(_) => return false,
        };
        ended == self
    }
}

/// All programs, in the order in which they are shown.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "hello",
        about: "Prints Xen's version, its features and one reading of the clock",
        binary: "hello",
        command_line: "",
        expected: Expected::Success,
    },
    Program {
        name: "vcpus",
        about: "Shows the memory map, starts a second vCPU, and has the two interrupt each other",
        binary: "vcpus",
        command_line: "",
        expected: Expected::Success,
    },
    misbehaviour("panics", "Panics, which must be noticed", Expected::Panic),
    misbehaviour("traps", "Takes an exception, which must be noticed", Expected::Panic),
    misbehaviour("fails", "Ends with an error, which must be noticed", Expected::Failure),
    misbehaviour("faults", "Takes an exception while no handler can run, which must be noticed", Expected::TripleFault),
    misbehaviour("crashes", "Makes Xen destroy the domain, which must be noticed", Expected::Crash),
    misbehaviour("hangs", "Never ends, which must be noticed", Expected::Hang),
    misbehaviour("vanishes", "Restarts without a word, which must be noticed", Expected::Silence),
];

/// A program that ends badly in a given way, to show that verdicts can be trusted: all are one binary, which is told by its command line.
const fn misbehaviour(name: &'static str, about: &'static str, expected: Expected) -> Program {
    Program { name, about, binary: "misbehave", command_line: name, expected }
}

/// The program of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

#[cfg(test)]
mod tests {
    use super::PROGRAMS;

    #[test]
    fn names_are_unique_and_command_lines_survive_the_emulator() {
        for (index, program) in PROGRAMS.iter().enumerate() {
            assert!(PROGRAMS[..index].iter().all(|other| other.name != program.name), "{} is listed twice", program.name);
            assert!(!program.command_line.contains(','), "{} would be split at its comma", program.name);
        }
    }
}
