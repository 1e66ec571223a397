//! The guest programs that can be started, and how each is expected to end.

use super::verdict::Verdict;

/// Which scenarios there are. The list is plain data: this program generates one of the crates that
/// the scenarios depend on, so it must build without them.
#[path = "../../../examples/conformance/src/list.rs"]
pub mod list;

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
            Verdict::Differs(_)
            | Verdict::Unrecorded
            | Verdict::HypervisorPanic(_)
            | Verdict::Contradiction(_)
            | Verdict::Emulator(_) => {
                return false;
            }
        };
        ended == self
    }
}

/// The binary that runs the scenarios.
const SCENARIOS: &str = "conformance";

impl Program {
    /// Whether it tells a transcript.
    #[must_use]
    pub fn is_scenario(&self) -> bool {
        self.binary == SCENARIOS
    }
}

/// All scenarios.
pub fn scenarios() -> impl Iterator<Item = Program> {
    list::SCENARIOS.iter().filter(|scenario| scenario.runs_on(false)).map(|scenario| Program {
        name: scenario.name,
        about: scenario.about,
        binary: SCENARIOS,
        command_line: scenario.name,
        expected: Expected::Success,
    })
}

/// The programs that are none, in the order in which they are shown.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "hello",
        about: "Prints Xen's version, its features and one reading of the clock",
        binary: "hello",
        command_line: "",
        expected: Expected::Success,
    },
    Program {
        name: "hypercall-page",
        about: "Has Xen fill a hypercall page, and compares its answers with those of the \
         processor's instruction",
        binary: "hypercall-page",
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
    misbehaviour(
        "faults",
        "Takes an exception while no handler can run, which must be noticed",
        Expected::TripleFault,
    ),
    misbehaviour("crashes", "Makes Xen destroy the domain, which must be noticed", Expected::Crash),
    misbehaviour("hangs", "Never ends, which must be noticed", Expected::Hang),
    misbehaviour("vanishes", "Restarts without a word, which must be noticed", Expected::Silence),
];

/// A program that ends badly in a given way, to show that verdicts can be trusted: all are one
/// binary, which is told by its command line.
const fn misbehaviour(name: &'static str, about: &'static str, expected: Expected) -> Program {
    Program { name, about, binary: "misbehave", command_line: name, expected }
}

/// The scenario or other program of that name.
#[must_use]
pub fn named(name: &str) -> Option<Program> {
    all().find(|program| program.name == name)
}

/// The scenarios, and then the other programs.
pub fn all() -> impl Iterator<Item = Program> {
    scenarios().chain(PROGRAMS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::{Program, all};

    #[test]
    fn names_are_unique_and_command_lines_survive_the_emulator() {
        let programs: Vec<Program> = all().collect();
        for (index, program) in programs.iter().enumerate() {
            assert!(
                programs[..index].iter().all(|other| other.name != program.name),
                "{} is listed twice",
                program.name
            );
            assert!(
                !program.command_line.contains(','),
                "{} would be split at its comma",
                program.name
            );
        }
    }
}
