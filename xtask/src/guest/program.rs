//! The guest programs that can be booted, where each runs, and how it is expected to end.

use super::build::{C_KERNEL, EMBASSY, EMBASSY_SHELL, EMBASSY_TCP, FIGURES, RATES, TINY};
use super::domu::DOMAIN;
use super::platform::{Arch, Platform, Route};
use super::transcript::Source;
use super::verdict::Verdict;

/// The list of scenarios. It is plain data: this program generates one of the crates that the
/// scenarios depend on, so it must build without them.
#[path = "../../../examples/conformance/src/list.rs"]
pub mod list;

/// A guest program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The binary of the guest package.
    pub binary: &'static str,
    /// The command line of each of its domains. `DOMAIN+N` stands for the number of the domain with
    /// index N.
    pub command_lines: &'static [&'static str],
    /// What it must print, on Xen's console or its own: the beginnings of lines.
    pub prints: &'static [&'static str],
    /// How it should end.
    pub expected: Expected,
    /// How many times the time limit it may take.
    pub patience: u32,
    /// Where it runs.
    pub place: Place,
    /// Which of its lines are its transcript, if it has one.
    pub transcript: Option<Source>,
}

/// The platforms that a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of them.
    Everywhere,
    /// Those of 64 bits.
    Wide,
    /// Those of x86.
    X86,
    /// Those of Arm.
    Arm,
    /// Those where the guest is x86's dom0 in QEMU.
    Dom0,
    /// Those in QEMU where there is no other domain.
    Alone,
    /// Those where there can be two domains.
    Unprivileged,
    /// Those where a Linux dom0 serves the guest's devices.
    Served,
}

/// Programs that do not run on platforms that their place includes: with a release, only on that.
const LEFT_OUT: [(&str, Arch, Route, Option<&str>, &str); 6] = [
    ("restore", Arch::Aarch64, Route::Domu, None, "Xen on Arm saves no domain"),
    (TEN_RESTORES, Arch::Aarch64, Route::Domu, None, "Xen on Arm saves no domain"),
    (RATES, Arch::Aarch64, Route::Domu, None, "its drivers in C are for x86"),
    (RECONNECT, Arch::X8664, Route::Domu, Some("4.20"), NO_PLUGIN),
    (RECONNECT, Arch::X86, Route::Domu, Some("4.20"), NO_PLUGIN),
    (
        "runstate",
        Arch::X8664,
        Route::Vmx,
        Some("4.20"),
        "Bochs is too slow: a vCPU with run times at a virtual address never gets to run",
    ),
];
const NO_PLUGIN: &str = "Debian 13 has no package with the plugin that oxenstored loads";

impl Place {
    /// True if the platform is one of them.
    fn includes(self, platform: Platform) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Wide => platform.arch != Arch::X86,
            Self::X86 => platform.arch != Arch::Aarch64,
            Self::Arm => platform.arch == Arch::Aarch64,
            Self::Dom0 => platform.route == Route::Dom0,
            Self::Alone => matches!(platform.route, Route::Dom0 | Route::Dom0less),
            Self::Served => platform.route == Route::Domu,
            Self::Unprivileged => matches!(platform.route, Route::Domu | Route::Dom0less),
        }
    }
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
    /// Without a line that says how it went.
    Silence,
}

impl Expected {
    /// Returns whether this is how it ended.
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
            | Verdict::Missing(_)
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
const CONFORMANCE: &str = "conformance";

impl Program {
    /// True if the program runs on the platform.
    #[must_use]
    pub fn runs_on(&self, platform: Platform) -> bool {
        self.place.includes(platform) && self.left_out(platform).is_none()
    }

    /// Returns why the program does not run on a platform that its place includes.
    #[must_use]
    pub fn left_out(&self, platform: Platform) -> Option<&'static str> {
        let mut left_out = LEFT_OUT.iter();
        let found = left_out.find(|(name, arch, route, release, _)| {
            (*name, *arch, *route) == (self.name, platform.arch, platform.route)
                && release.is_none_or(|release| release == platform.release)
        });
        found.map(|(.., why)| *why)
    }

    /// The command lines on a platform where the guest's first domain has the number 1, or where
    /// the number is known only when the domain is created.
    #[must_use]
    pub fn command_lines(&self, platform: Platform) -> Vec<String> {
        self.command_lines.iter().map(|line| with_numbers(line, platform)).collect()
    }
}

/// Puts the numbers of domains into a command line, unless the script of dom0 does.
pub fn with_numbers(line: &str, platform: Platform) -> String {
    if platform.route == Route::Domu {
        return line.to_owned();
    }
    line.replace(&format!("{DOMAIN}0"), "1").replace(&format!("{DOMAIN}1"), "2")
}

/// Returns the command line of each scenario, which is its name.
const fn scenario(scenario: &'static list::Scenario) -> Program {
    Program {
        name: scenario.name,
        about: scenario.about,
        binary: CONFORMANCE,
        command_lines: std::slice::from_ref(&scenario.name),
        prints: &[],
        expected: Expected::Success,
        patience: 1,
        place: match scenario.platforms {
            list::Platforms::All => Place::Everywhere,
            list::Platforms::X86 => Place::X86,
            list::Platforms::Arm => Place::Arm,
        },
        transcript: Some(Source::Marked),
    }
}

/// Returns all scenarios, and the programs that end with success on every platform they run on.
pub fn proofs() -> impl Iterator<Item = Program> {
    let programs = PROGRAMS.iter().copied().filter(|program| {
        program.expected == Expected::Success
            && program.place != Place::Dom0
            && ![LONG_SOAK, TEN_RESTORES, FIGURES, RATES, RECONNECT].contains(&program.name)
    });
    // Only dom0 types into a shell.
    let typed = |program: Program| match program.name {
        EMBASSY_SHELL => Program { place: Place::Served, ..program },
        _ => program,
    };
    list::SCENARIOS.iter().map(scenario).chain(programs.map(typed))
}

const fn program(name: &'static str, place: Place, about: &'static str) -> Program {
    Program {
        name,
        about,
        binary: name,
        command_lines: &[""],
        prints: &[],
        expected: Expected::Success,
        patience: 1,
        place,
        transcript: None,
    }
}

/// Returns a program that a Linux dom0 serves and that has a transcript.
const fn recorded(name: &'static str, transcript: Source, about: &'static str) -> Program {
    Program { transcript: Some(transcript), ..program(name, Place::Served, about) }
}

/// The guest with a console, xenstore and a clean shutdown.
const SHUTDOWN: &str = "shutdown";

/// Guests that are built for size, and the most bytes of its file that the PT_LOAD segments of each
/// may have.
pub const LIMITS: [(&str, u64); 3] =
    [(TINY, 16 * 1024), (SHUTDOWN, 48 * 1024), (EMBASSY, 64 * 1024)];

/// The soak that runs only by its name.
const LONG_SOAK: &str = "soak-long";

const fn soak(
    name: &'static str,
    command_lines: &'static [&'static str],
    patience: u32,
    about: &'static str,
) -> Program {
    Program { binary: "vcpus", command_lines, patience, ..program(name, Place::Everywhere, about) }
}

/// The guest for which dom0 runs another xenstore, in a boot of its own.
const RECONNECT: &str = "reconnect";

/// The cycles of saving that run only by their name.
const TEN_RESTORES: &str = "restore-ten";

const fn restored(
    name: &'static str,
    command_lines: &'static [&'static str],
    patience: u32,
    about: &'static str,
) -> Program {
    Program { binary: "restore", command_lines, patience, ..program(name, Place::Served, about) }
}

/// Returns a program that ends badly in a given way, to show that verdicts can be trusted.
const fn misbehaviour(
    name: &'static &'static str,
    about: &'static str,
    expected: Expected,
) -> Program {
    let command_lines = std::slice::from_ref(name);
    Program { binary: "misbehave", command_lines, expected, ..program(name, Place::Dom0, about) }
}

/// The programs that are not scenarios.
pub const PROGRAMS: &[Program] = &[
    program("hello", Place::Everywhere, "Prints Xen's version, its features and the clock"),
    program(TINY, Place::Everywhere, "Prints a line, waits for one timer event, and powers off"),
    program("port", Place::X86, "Prints, takes an event, and ticks, as in the porting guide"),
    program(
        FIGURES,
        Place::Alone,
        "Measures hypercalls, events, grants and the clock, each beside C; takes gcc",
    ),
    program("vcpus", Place::Everywhere, "Makes two vCPUs interrupt each other"),
    soak("soak", &["soak 5000 1"], 1, "Sends 5,000 events between vCPUs and channels, some masked"),
    soak(
        LONG_SOAK,
        &["soak 1000000 1"],
        20,
        "The same as soak with a million events; takes minutes",
    ),
    program("faults", Place::Everywhere, "Makes hypercalls fail, and checks that nothing is left"),
    program("hypercall-page", Place::X86, "Compares the hypercall page with the instruction"),
    program(C_KERNEL, Place::Wide, "Two tasks of a kernel in C, with a tick and an event"),
    Program {
        prints: &[
            "1000 ticks of 1000 us, 0 early, 0 lost, late by at most ",
            "10000 numbers went through the ring and back",
        ],
        ..program(
            EMBASSY,
            Place::Everywhere,
            "Embassy: a tick, and a ring between two vCPUs' executors",
        )
    },
    program(
        EMBASSY_SHELL,
        Place::Everywhere,
        "The same and a shell, which ends it: typed by --interactive, or by dom0 on the route domu",
    ),
    Program {
        command_lines: &["offer DOMAIN+1", "accept DOMAIN+0"],
        transcript: Some(Source::Marked),
        ..program(
            "peers",
            Place::Unprivileged,
            "Two domains share a granted page and send each other events",
        )
    },
    Program {
        command_lines: &["TYPED+hello;two words;quit"],
        ..recorded("echo", Source::OwnConsole, "Echoes the lines that are typed on its console")
    },
    Program {
        // Only what is typed ends the guest.
        command_lines: &["ls .; cat name TYPED+set data/x 1;cat data/x;perms data;quit"],
        prints: &["> cat name", "store", "> > 1"],
        ..program("store", Place::Served, "Browses xenstore on its console")
    },
    recorded("files", Source::OwnConsole, "Keeps a file on a disk that dom0 provides, in two runs"),
    Program {
        transcript: Some(Source::Marked),
        ..restored("restore", &["1"], 3, "Is saved, restored, migrated and rebooted by xl")
    },
    restored(TEN_RESTORES, &["10"], 10, "The same as restore with ten cycles; takes minutes"),
    recorded(
        "tcp",
        Source::OwnConsole,
        "Answers dom0's pings, and echoes a TCP connection each way",
    ),
    recorded(EMBASSY_TCP, Source::Marked, "The same as tcp over embassy-net"),
    recorded(
        RECONNECT,
        Source::Marked,
        "Restarts the connection to xenstore; dom0 runs oxenstored",
    ),
    program(RATES, Place::Served, "Measures requests a second of devices, beside C; takes gcc"),
    recorded(
        SHUTDOWN,
        Source::OwnConsole,
        "Prints its name from xenstore, and shuts down on request",
    ),
    recorded("xenstore", Source::Marked, "Every operation of xenstore, and its errors"),
    misbehaviour(&"panics", "Panics", Expected::Panic),
    misbehaviour(&"traps", "Takes an exception", Expected::Panic),
    misbehaviour(&"fails", "Ends with an error", Expected::Failure),
    misbehaviour(&"triple-faults", "Takes an unhandled exception", Expected::TripleFault),
    misbehaviour(&"crashes", "Makes Xen destroy the domain", Expected::Crash),
    misbehaviour(&"hangs", "Never ends", Expected::Hang),
    misbehaviour(&"vanishes", "Restarts without reporting a status", Expected::Silence),
];

/// Returns the scenarios, and then the other programs.
pub fn all() -> impl Iterator<Item = Program> {
    list::SCENARIOS.iter().map(scenario).chain(PROGRAMS.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LEFT_OUT, Program, all};
    use crate::guest::platform::PLATFORMS;
    use crate::guest::transcript;

    #[test]
    fn each_program_with_a_transcript_is_recorded_on_each_of_its_platforms() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for program in all().filter(|program| program.transcript.is_some()) {
            for platform in PLATFORMS.iter().filter(|on| program.runs_on(**on)) {
                let path = transcript::path(&workspace, *platform, program.name);
                assert!(path.exists(), "expected the file {}", path.display());
            }
        }
    }

    #[test]
    fn what_is_left_out_would_run_there() {
        for (name, arch, route, ..) in LEFT_OUT {
            let program = all().find(|program| program.name == name).unwrap();
            let mut there = PLATFORMS.iter().filter(|on| (on.arch, on.route) == (arch, route));
            assert!(there.any(|on| program.place.includes(*on) && !program.runs_on(*on)), "{name}");
        }
    }

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
                program.command_lines.iter().all(|line| !line.contains(',')),
                "{} would be split at its comma",
                program.name
            );
        }
    }
}
