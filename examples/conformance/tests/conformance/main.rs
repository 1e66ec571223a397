//! Tests that the simulator answers as real Xen does. With the profile of each recorded platform,
//! every scenario must print the recorded transcript, line for line.

// The control domain serves devices on x86 only.
#[cfg(target_arch = "x86_64")]
mod devices;
mod machine;
mod platforms;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conformance::list::SCENARIOS;
use conformance::transcript::{Address, Time, Transcript};
use xen_hal::event::Port;
use xen_hal::hypercall::Errno;
use xen_pac::base::Domid;
use xen_sim::{FaultRates, Machine, Profile};

/// A platform whose transcripts were recorded, and the simulator's profile of it.
#[derive(Clone, Copy, Debug)]
struct Platform {
    /// The folder of its transcripts.
    name: &'static str,
}

impl Platform {
    fn profile(self) -> Profile {
        platforms::of(self.name).expect("the simulator has a profile of each platform")
    }
}

const fn platform(name: &'static str) -> Platform {
    Platform { name }
}

const X86_DOM0: Platform = platform("x86_64-dom0-4.17");
const PLATFORMS: [Platform; 14] = [
    X86_DOM0,
    platform("x86_64-vmx-4.17"),
    platform("x86_64-vmx-4.20"),
    platform("x86_64-dom0-4.20"),
    platform("x86_64-domu-4.17"),
    platform("x86_64-domu-4.20"),
    platform("aarch64-domu-4.17"),
    platform("aarch64-dom0less-4.17"),
    platform("x86-dom0-4.17"),
    platform("x86-vmx-4.17"),
    platform("x86-vmx-4.20"),
    platform("x86-dom0-4.20"),
    platform("x86-domu-4.17"),
    platform("x86-domu-4.20"),
];

/// The start of the names of the platforms of 32-bit x86. The simulator runs their scenarios as
/// 64-bit code, and answers as Xen's compatibility layer does.
const X86: &str = "x86-";

/// The start of the names of the platforms of Arm.
const ARM: &str = "aarch64-";

/// Lines that the simulator cannot print, by the start of the platform's name, the scenario's name
/// and the start of the line, and why. An entry that is not needed is an error.
const LEFT_OUT: [(&str, &str, &str, &str); 10] = [
    ("x86_64-vmx-", "hvm-params", "X87_FIP_WIDTH read", "it depends on the processor"),
    ("x86-vmx-", "hvm-params", "X87_FIP_WIDTH read", "the same"),
    (ARM, "arm-shared", "vCPU 1 has a block", "the page has the host's layout"),
    (ARM, "arm-hvm", "9 read", "the host's architecture names parameter 9"),
    (ARM, "arm-hvm", "VIRIDIAN read", "the same"),
    ("aarch64-domu-4.17", "arm-hvm", "callback:", "the host's architecture has no such callback"),
    (ARM, "arm-limits", "pages: has", "a domain here has at most 1024 pages"),
    (X86, "memory", "pages more than at first", "no number of 32 bits is a frame that cannot be"),
    (X86, "shared-info", "at a frame that cannot be", "the same"),
    (X86, "version", "virtual start", "Xen answers by the width of the domain"),
];

/// Scenarios that the simulator cannot run, and why.
const NOT_SIMULATED: [(&str, &str); 1] = [("arm-fifo", "the FIFO form of event channels")];

/// What a scenario prints on the simulator.
fn printed(on: &Platform, name: &'static str, seed: u64, rates: FaultRates) -> Vec<String> {
    let machine = Machine::new(on.profile(), seed).expect("there is memory for a machine");
    let program = move |machine| conformance::run(name, &machine);
    let (mut lines, failure) = platforms::run(machine.fault_rates(rates), &on.profile(), program);
    lines.extend(failure);
    lines
}

/// What it printed on real Xen; `None` if it was not recorded there.
fn recorded(on: &Platform, name: &str) -> Option<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(on.name);
    let text = fs::read_to_string(folder.join(name).with_extension("txt")).ok()?;
    Some(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}

/// Returns the lines of a transcript that the simulator can print.
fn comparable(on: &Platform, name: &str, lines: Vec<String>) -> Vec<String> {
    let is_left_out = |line: &String| {
        let mut entries = LEFT_OUT.iter();
        entries.any(|(at, of, start, _)| {
            on.name.starts_with(at) && *of == name && line.starts_with(start)
        })
    };
    lines.into_iter().filter(|line| !is_left_out(line)).collect()
}

fn compare(
    on: &Platform,
    name: &'static str,
    seed: u64,
    rates: FaultRates,
) -> Result<usize, String> {
    let Some(recorded) = recorded(on, name) else { return Ok(0) };
    if NOT_SIMULATED.iter().any(|(scenario, _)| *scenario == name) {
        return Ok(0);
    }
    let recorded = comparable(on, name, recorded);
    let printed = comparable(on, name, printed(on, name, seed, rates));
    assert!(!recorded.is_empty(), "{name} has a transcript");
    if printed == recorded {
        return Ok(1);
    }
    let length = printed.len().max(recorded.len());
    let line = |lines: &[String], at: usize| {
        lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned())
    };
    let differences = (0..length).filter(|at| line(&printed, *at) != line(&recorded, *at));
    let shown: Vec<_> = differences
        .map(|at| format!("- {}\n+ {}", line(&recorded, at), line(&printed, at)))
        .collect();
    Err(format!("{}: {name}, seed {seed}:\n{}", on.name, shown.join("\n")))
}

#[test]
fn every_scenario_prints_what_was_recorded_on_real_xen() {
    for on in &PLATFORMS {
        let expected = match on.name {
            // All but `runstate`.
            "x86_64-vmx-4.20" => 20,
            name if name.starts_with(ARM) => 19,
            _ => 21,
        };
        let results = SCENARIOS.iter().map(|of| compare(on, of.name, 1, FaultRates::new()));
        let (compared, differences): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        let differences: Vec<_> = differences.into_iter().filter_map(Result::err).collect();
        assert!(differences.is_empty(), "{}", differences.join("\n\n"));
        let count: usize = compared.into_iter().filter_map(Result::ok).sum();
        assert_eq!(count, expected, "scenarios of {}", on.name);
    }
}

/// A transcript does not depend on the interleaving of vCPUs.
#[test]
fn no_seed_makes_a_difference() {
    let often = FaultRates { preempt_accesses: 4, clock_updates: 3, ..FaultRates::new() };
    for on in PLATFORMS.iter().filter(|on| !on.name.starts_with(X86)) {
        let seeds = if on.name == X86_DOM0.name { 2..10 } else { 2..4 };
        for scenario in SCENARIOS {
            for seed in seeds.clone() {
                if let Err(difference) = compare(on, scenario.name, seed, often) {
                    panic!("{difference}");
                }
            }
        }
    }
}

/// Reduced random programs, which `cargo xtask guest random` writes: the steps of each follow its
/// name, and the lines that real Xen printed follow the steps.
#[test]
fn every_case_of_a_random_program_prints_what_was_recorded_on_real_xen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut platforms = 0;
    for file in fs::read_dir(folder).expect("there are cases") {
        let path = file.expect("the folder can be read").path();
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let profile = platforms::of(&name).expect("the simulator has a profile of each platform");
        let text = fs::read_to_string(&path).expect("the file can be read");
        for case in text.split("\n## ").skip(1) {
            let recorded: Vec<String> = case
                .lines()
                .skip(1)
                .filter(|line| !line.is_empty() && !line.starts_with("> "))
                .map(str::to_owned)
                .collect();
            let steps: Vec<&str> =
                case.lines().filter_map(|line| line.strip_prefix("> ")).collect();
            assert!(!recorded.is_empty() && !steps.is_empty(), "{name}: {case}");
            let plan = format!("{} case={}", platforms::words(&name), steps.join("/"));
            let (printed, failure) = platforms::run_random(&profile, plan);
            assert_eq!((printed, failure), (recorded, None), "{name}: {case}");
        }
        platforms += 1;
    }
    assert!(platforms > 0, "there are cases");
}

/// Commands of the HAL that a row of the random table draws by their numbers.
const DRAWN_BY_NUMBER: [(&str, &[&str]); 6] = [
    (
        "version_op",
        &[
            "Extraversion",
            "CompileInfo",
            "Capabilities",
            "Changeset",
            "PlatformParameters",
            "Pagesize",
            "GuestHandle",
            "Commandline",
            "BuildId",
            "Extraversion2",
            "Capabilities2",
            "Changeset2",
            "Commandline2",
        ],
    ),
    ("features", &["Version", "GetFeatures"]),
    ("memory_op", &["MaximumRamPage", "MemoryMap"]),
    ("vcpu_op", &["RegisterRunstatePhysArea", "RegisterVcpuTimePhysArea"]),
    ("hvm_op", &["FlushTlbs"]),
    ("console_io", &["Read", "Write"]),
];

/// Commands of the HAL that no random program has, and why.
const NOT_DRAWN: [(&str, &str); 4] = [
    ("Block", "the vCPU sleeps until an event comes"),
    ("GetTime", "times differ from run to run"),
    ("Shutdown", "it ends the domain"),
    ("ShutdownCode", "it changes only how the domain ends"),
];

/// Returns the names that follow `before` in the Rust sources of a folder, up to `after`.
fn names_in(folder: &Path, before: &str, after: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            names.extend(names_in(&path, before, after));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the file can be read");
            let found = text.match_indices(before).filter_map(|(at, _)| {
                let rest = &text[at + before.len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
                let is_name = rest.starts_with(|c: char| c.is_ascii_uppercase());
                (is_name && rest[end..].starts_with(after)).then(|| rest[..end].to_owned())
            });
            names.extend(found);
        }
    }
    names
}

#[test]
fn random_programs_have_every_command_of_the_hal_or_a_reason_is_given() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_hal = names_in(&root.join("../../xen-hal/src"), "command::", "");
    assert!(of_hal.contains("AllocUnbound") && of_hal.len() > 50, "{of_hal:?}");
    let mut drawn = names_in(&root.join("src/random"), "::", "::NUMBER");
    let table = fs::read_to_string(root.join("src/random/table.rs")).expect("there is a table");
    for (row, names) in DRAWN_BY_NUMBER {
        assert!(table.contains(&format!("\"{row}\",")), "the table has a row {row}");
        for name in names {
            let is_needed = of_hal.contains(*name) && drawn.insert((*name).to_owned());
            assert!(is_needed, "the row {row} needs no {name}");
        }
    }
    for (name, _) in NOT_DRAWN {
        assert!(of_hal.contains(name) && drawn.insert(name.to_owned()), "{name} needs its reason");
    }
    // The trait of all commands.
    drawn.insert("Command".to_owned());
    let missing: Vec<_> = of_hal.difference(&drawn).collect();
    assert!(missing.is_empty(), "neither drawn nor left out: {missing:?}");
}

#[test]
fn every_exception_is_needed_and_the_comparison_notices_a_difference() {
    assert_eq!(compare(&X86_DOM0, "version", 1, FaultRates::new()), Ok(1));
    let version = printed(&X86_DOM0, "version", 1, FaultRates::new());
    assert_ne!(Some(version), recorded(&X86_DOM0, "console"));
    let platform =
        |name: &str| PLATFORMS.iter().find(|on| on.name.starts_with(name)).expect("a platform");
    for (name, scenario, start, _) in LEFT_OUT {
        let of = |lines: Vec<String>| lines.into_iter().find(|line| line.starts_with(start));
        let on = platform(name);
        let there = recorded(on, scenario).and_then(of);
        assert_ne!(of(printed(on, scenario, 1, FaultRates::new())), there, "{name} {scenario}");
    }
}

#[test]
fn lines_are_made_of_tokens() {
    let lines: RefCell<Vec<String>> = RefCell::default();
    let sink = |line: std::fmt::Arguments<'_>| lines.borrow_mut().push(line.to_string());
    let transcript = Transcript::new(Domid(7), &sink);
    conformance::line!(transcript, "closing", Port(3), Err::<(), _>(Errno::EINVAL));
    conformance::line!(transcript, "bound", Ok::<_, Errno>(Port(4)), true, Ok::<(), Errno>(()));
    conformance::line!(transcript, "to", Domid(7), "and", Domid(8));
    conformance::line!(transcript, "at", Address(0xffff_u64), Address(0_u64), "after", Time);
    assert_eq!(
        lines.into_inner(),
        [
            "closing port 3 EINVAL",
            "bound port 4 yes ok",
            "to this domain and domain 8",
            "at <addr> <null> after <time>"
        ]
    );
}
