//! The checks: the tools that each needs, and the commands that it runs.

use crate::guest::build::{BUILD_CORE, C_KERNEL, CORE_TOOLS, EMBASSY_TCP, FIGURES};
use crate::guest::platform::{Arch, PLATFORMS, Platform, Route};
use crate::guest::{emulator, program};
use crate::tools::{self, Tool};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The platforms on which guests boot.
const X86_64: Platform = Platform { arch: Arch::X8664, route: Route::Dom0, release: "4.17" };
const VMX: Platform = Platform { route: Route::Vmx, ..X86_64 };
const X86: Platform = Platform { arch: Arch::X86, ..X86_64 };
const AARCH64: Platform = Platform { arch: Arch::Aarch64, route: Route::Dom0less, release: "4.17" };

/// Builds the standard library without backtraces.
const STD: &str = "-Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind";

/// Builds the core library for 32-bit x86.
const X86_CORE: &str = "-Zbuild-std=core -Zbuild-std-features=compiler-builtins-mem \
    --target i686-unknown-linux-gnu";

/// Turns optimisation off for code that is only checked.
const LINT: &str = "--config .cargo/lint.toml";

/// The C library, whose modules clippy lints with the tests that include them.
const C_LIBRARY: &str = "--locked --manifest-path xen-hal/capi/Cargo.toml \
    --config xen-hal/capi/check.toml";

/// The features of the HAL.
const FEATURES: [&str; 12] = [
    "blk",
    "block-device-driver",
    "critical-section",
    "defmt",
    "embassy-executor",
    "embassy-net-driver",
    "embassy-time-driver",
    "embedded-hal",
    "embedded-io",
    "embedded-io-async",
    "log",
    "net",
];

/// Combinations in which no feature hides what another lacks. A feature that others imply also
/// comes without them, and devices come without `async` and without each other. Features that share
/// a combination have no item in common. The tests turn on all of them.
const COMBINATIONS: [&str; 6] = [
    "blk,embassy-time-driver,log",
    "net,embassy-executor,embedded-hal",
    "embedded-io,defmt,critical-section",
    "embedded-io-async",
    "block-device-driver",
    "embassy-net-driver",
];

/// Returns every step, cheap ones first.
#[must_use]
pub fn all() -> Vec<Step> {
    [sources(), proofs(), units(), guests(), optional()].concat()
}

fn sources() -> Vec<Step> {
    vec![
        step(
            "format",
            "the code is formatted by rustfmt",
            &[tools::FMT],
            vec![
                Call::cargo("fmt --all --check"),
                // With `--all`, also packages outside the workspace that a package depends on.
                Call::cargo("fmt --all --check").inside("examples/guests"),
                Call::cargo("fmt --check").inside("xen-hal/capi"),
                Call::cargo("fmt --all --check").inside("xen-hal/bench"),
                Call::cargo("fmt --check").inside("xen-hal/fuzz"),
                Call::cargo("fmt --check").inside("xen-hal/orderings"),
            ],
        ),
        step(
            "tree",
            "lines have at most 100 columns, links lead somewhere, no modules import in a circle",
            &[],
            vec![Call::cargo("test --quiet --workspace --test tree")],
        ),
        spelling(),
        step(
            "clippy",
            "no warning from the compiler or from clippy",
            &[tools::CLIPPY],
            vec![
                Call::cargo(&format!("clippy {LINT} --workspace --all-targets -- -D warnings")),
                // The workspace's example turns on `simulated`. These crates are built alone, as
                // guests build them.
                Call::cargo(&format!(
                    "clippy {LINT} --package xen-pac --package xen-hal -- -D warnings"
                )),
                Call::cargo("clippy --bins --target x86_64-unknown-linux-gnu -- -D warnings")
                    .inside("examples/guests")
                    .env("CARGO_TARGET_DIR", "../../target"),
                // Without libFuzzer, which needs a C++ compiler.
                Call::cargo(
                    "clippy --quiet --locked --all-targets --no-default-features -- -D warnings",
                )
                .inside("xen-hal/fuzz")
                .env("CARGO_TARGET_DIR", "../../target"),
                orderings("clippy", "--quiet --lib --tests"),
                Call::cargo("clippy --quiet --locked -- -D warnings")
                    .inside("xen-hal/capi")
                    .env("CARGO_TARGET_DIR", "../../target"),
            ]
            .into_iter()
            .chain(COMBINATIONS.map(combination))
            .collect(),
        ),
        step(
            "test",
            "unit and integration tests",
            &[],
            vec![
                // The simulator's tests run its examples.
                Call::cargo("build --workspace --examples"),
                Call::cargo("test --workspace --lib --bins --tests"),
            ],
        ),
        step(
            "twins",
            "hot paths give the same results as in C, and hypercalls need no more instructions",
            &[tools::GCC],
            vec![
                Call::cargo("test --quiet --locked --tests")
                    .inside("xen-hal/bench")
                    .env("CARGO_TARGET_DIR", "../../target"),
            ],
        ),
        step(
            "fuzz",
            "for arbitrary data of Xen and peers, the HAL does not panic or access foreign memory",
            &[tools::GXX, tools::LIBFUZZER],
            vec![Call::xtask("fuzz --runs 5000")],
        ),
        step(
            "mutants",
            "the tests that must find a deliberate mistake in the HAL find it",
            &[tools::GXX, tools::LIBFUZZER],
            vec![Call::xtask("mutants")],
        ),
        step(
            "orderings",
            "each memory ordering of the HAL is needed, or has a reason, on a model of Armv8",
            &[],
            vec![orderings("test", "--quiet --lib")],
        ),
        step(
            "doctest",
            "the examples in the documentation compile and run",
            &[],
            vec![Call::cargo("test --workspace --doc")],
        ),
        step(
            "doc",
            "the documentation builds without a warning",
            &[],
            vec![
                Call::cargo("doc --workspace --no-deps --all-features")
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ],
        ),
    ]
}

/// Returns a call of a cargo command that tests or lints the memory orderings. With `--target`, the
/// flags do not concern the host's packages, which other steps have built.
#[must_use]
pub fn orderings(command: &str, options: &str) -> Call {
    Call::cargo(&format!("{command} --locked --target x86_64-unknown-linux-gnu {options}"))
        .inside("xen-hal/orderings")
        .env("CARGO_TARGET_DIR", "../../target")
        .env("RUSTFLAGS", "--cfg orderings -D warnings")
}

/// Returns the step that checks for known misspellings. Of the ignored words, `acess`,
/// `argumens`, `bloks`, `fromat`, `nam` and `tipe` are mistakes in tests, and the others are names.
fn spelling() -> Step {
    let skip = ".git,target,*.lock,*.snap,LICENSE-*,diagnostics,facts,corpus";
    let words = "acess,argumens,bloks,crate,extraversion,fromat,inflight,inout,nam,sring,statics,\
        tipe,upto";
    let call = Call::program("codespell", &format!("--quiet-level 3 --skip {skip} -L {words}"));
    step("spelling", "no text has a known misspelling", &[tools::CODESPELL], vec![call])
}

fn proofs() -> Vec<Step> {
    vec![
        step(
            "regen",
            "xen-pac and the C headers are generated from the current description and library",
            &[],
            vec![Call::xtask("regen --check"), Call::xtask("header --check")],
        ),
        step(
            "reference",
            "the schema refuses what the reader refuses; the reference's links and search work",
            &[tools::JSONSCHEMA, tools::CHROMIUM],
            vec![
                Call::cargo("test --quiet --workspace --lib schema::tests -- --ignored"),
                Call::xtask("reference --check"),
            ],
        ),
        step(
            "package",
            "the crates can be packaged in order, each with the ones before it",
            &[],
            vec![Call::cargo(
                "package --quiet --no-verify --allow-dirty -p xen-pac -p xen-hal -p xen-sim",
            )],
        ),
        step(
            "c-header",
            "the C headers compile for each architecture; one encodes and calls as described",
            &[tools::GCC, tools::GXX, tools::GCC_AARCH64],
            vec![Call::cargo("test --quiet --workspace --test c_header -- --ignored")],
        ),
        step(
            "verify",
            "the description agrees with what was measured in every release",
            &[],
            vec![Call::xtask("verify")],
        ),
        step(
            "headers",
            "the description agrees with installed headers, measured now by a C compiler for each \
             architecture",
            &[tools::XEN_HEADERS, tools::GCC, tools::GCC_AARCH64],
            vec![Call::xtask("verify --headers /usr/include/xen --release 4.17")],
        ),
        threads(),
        cross_x86(),
        cross_aarch64(),
        hypercalls_x86(),
    ]
}

fn guests() -> Vec<Step> {
    vec![
        step(
            "examples",
            "the examples run: xen-pac with a thread in place of Xen, guests on the simulator",
            &[],
            // With the features of the whole workspace, for which the tests have built them.
            [
                "host --features xen-pac/simulated",
                "features",
                "lost-wakeup",
                "ping-pong",
                "clock",
                "tick",
                "ipi",
                "files",
                "tcp",
                "embassy-tcp",
                "simulated",
            ]
            .map(|program| Call::cargo(&format!("run --quiet --example {program}")))
            .to_vec(),
        ),
        step(
            "guests-x86_64",
            "on real Xen, AMD and Intel, every scenario prints its transcript; a random program",
            &[
                emulator::needs(X86_64),
                emulator::needs(VMX),
                CORE_TOOLS,
                &[tools::GCC, tools::MAKE],
            ]
            .concat(),
            vec![boot(X86_64, "--all"), boot(VMX, "ipi"), boot(X86_64, "random --calls 1500")],
        ),
        step(
            "guests-x86",
            "there, on real Xen, scenarios print their transcripts, and no event is lost",
            &[emulator::needs(X86), CORE_TOOLS].concat(),
            vec![boot(X86, "version event-masks ipi grant soak tiny")],
        ),
        guests_aarch64(),
        Step {
            by_name: true,
            ..step(
                "scenarios-aarch64",
                "there, on real Xen, scenarios print their transcripts, and no event is lost",
                &[emulator::needs(AARCH64), CORE_TOOLS, &[tools::GCC_AARCH64, tools::MAKE]]
                    .concat(),
                vec![boot(AARCH64, "version event-masks arm-vcpu arm-edge soak peers c-kernel")],
            )
        },
    ]
}

/// Returns the call that boots programs on a platform.
fn boot(platform: Platform, programs: &str) -> Call {
    let Platform { arch, route, release } = platform;
    let (arch, route) = (arch.name(), route.name());
    Call::xtask(&format!("guest {programs} --arch {arch} --route {route} --release {release}"))
}

/// Returns the step that builds and lints the guests that run on aarch64 and boots one. It
/// downloads a hypervisor.
fn guests_aarch64() -> Step {
    let on_arm = PLATFORMS.iter().filter(|platform| platform.arch == AARCH64.arch);
    let guests =
        program::all().filter(|program| on_arm.clone().any(|platform| program.runs_on(*platform)));
    // `figures` needs a feature, and the kernel in C is no binary of cargo.
    let binaries: BTreeSet<&str> = guests
        .map(|program| program.binary)
        .filter(|binary| ![C_KERNEL, FIGURES].contains(binary))
        .collect();
    let bins: Vec<String> = binaries.iter().map(|name| format!("--bin {name}")).collect();
    // Not only checked: the guest that boots uses the dependencies that this builds.
    let build = Call::cargo(&format!(
        "build --quiet {} --features {EMBASSY_TCP} --target aarch64-unknown-none-softfloat {}",
        bins.join(" "),
        BUILD_CORE.join(" ")
    ));
    let build = clippy_of_debian(build).inside("examples/guests");
    step(
        "guests-aarch64",
        "the guests that run there build without a warning; a transcript, and no event is lost",
        &[emulator::needs(AARCH64), CORE_TOOLS, &[tools::RUST_WEB_CLIPPY]].concat(),
        vec![
            build.env("CARGO_TARGET_DIR", "../../target/cross"),
            boot(AARCH64, "version soak tiny"),
        ],
    )
}

fn optional() -> Vec<Step> {
    let miri = step(
        "miri",
        "no undefined behaviour in xen-pac's tests",
        &[tools::MIRI],
        vec![Call::cargo("miri test --package xen-pac")],
    );
    vec![Step { optional: true, ..miri }]
}

/// Returns the step in which two threads use the registers and bytes of shared memory under
/// ThreadSanitizer. The simulator needs no such check: all vCPUs of a machine run on one thread.
///
/// The standard library is not instrumented. The program starts and joins its threads through the C
/// library, whose functions the runtime intercepts, and shares nothing else with them. The test
/// harness shares more, so this step does not use it.
fn threads() -> Step {
    let run = Call::cargo(
        "run --quiet -Zprofile-rustflags --config .cargo/tsan.toml --example host \
         --features xen-pac/simulated",
    );
    let run = run.env("RUSTC_BOOTSTRAP", "1");
    step("tsan", "no two threads race on registers or bytes", &[], vec![run])
}

/// Returns the packages that run on bare machines, with all features. A feature has no package in
/// front: cargo takes `xen-hal/net` for a feature of the dependency that the HAL's tests have on
/// the HAL, and turns nothing on.
fn crates() -> String {
    format!("--package xen-pac --package xen-hal --features {}", FEATURES.join(","))
}

/// Returns the step that lints and documents the crates for another architecture. The compiler then
/// evaluates the layout assertions of that architecture. `call` makes a call of cargo for it.
fn cross(name: &'static str, needs: &[Tool], call: impl Fn(&str) -> Call) -> Step {
    let lint = clippy_of_debian(call(&format!("check {}", crates())));
    let doc = call(&format!("doc --no-deps {}", crates()))
        .env("RUSTDOC", "/usr/bin/rustdoc")
        .env("RUSTDOCFLAGS", "-D warnings");
    step(
        name,
        "clippy and rustdoc have no warning there, and every layout assertion holds",
        &[&[tools::RUSTC_WEB, tools::RUST_WEB_SRC, tools::RUST_WEB_CLIPPY], needs].concat(),
        vec![lint, doc],
    )
}

fn cross_x86() -> Step {
    cross("cross-x86", &[], |line| bare_x86(&format!("{line} {X86_CORE}")))
}

/// Returns the step for aarch64, which also compiles the simulator, for aarch64 Linux hosts, and
/// the C library. It uses the standard library of the unit tests.
fn cross_aarch64() -> Step {
    let call = |line: &str| hosted("aarch64-unknown-linux-gnu", line);
    let mut step = cross("cross-aarch64", &[], call);
    // As an rlib, because a static library needs a panic handler for unwinding.
    let library = call(&format!("rustc {C_LIBRARY} --profile check --crate-type rlib"))
        .env("CARGO_PROFILE_DEV_PANIC", "unwind");
    // With the features of the first call, so that both share the procedural macros.
    let simulator = call(&format!("check --package xen-sim {}", crates()));
    step.calls.extend([simulator, library]);
    step
}

/// Returns the steps that run the unit tests on the other architectures. The longest trials are
/// left out for their time: the code is not optimised, and emulated on aarch64.
fn units() -> Vec<Step> {
    const LONG: [&str; 6] = [
        "sources::",
        "snapshots_are_never_torn",
        "each_part_of_the_protocol_is_needed",
        "no_end_sleeps_while_it_should_work",
        "it_does_what_three_sets_do",
        "a_rebasing_hypervisor_does_not_bend_time",
    ];
    let units = |name, target: &str, more: &str, needs: &[Tool]| {
        let skip: String = LONG.iter().map(|test| format!(" --skip {test}")).collect();
        let test = "test --quiet --package xen-pac --package xen-hal --lib --test layout";
        let call = hosted(target, &format!("{test} {more} --{skip}"));
        let needs = [&[tools::RUSTC_WEB, tools::RUST_WEB_SRC], needs].concat();
        step(name, "unit tests of the crates pass there", &needs, vec![call])
    };
    let x86 = [tools::GCC_I686, tools::LIBC_I686];
    let aarch64 = [tools::GCC_AARCH64, tools::LIBC_AARCH64, tools::QEMU_USER];
    vec![
        units("units-x86", "i686-unknown-linux-gnu", "", &x86),
        // With a test that runs on the simulator.
        units("units-aarch64", "aarch64-unknown-linux-gnu", "--test installed", &aarch64),
    ]
}

/// Returns a call of cargo for a target with the standard library, which is built first. All calls
/// for a target have the same flags and profile, so that the library is built once.
fn hosted(target: &str, line: &str) -> Call {
    let (line, arguments) = line.split_once(" -- ").unwrap_or((line, ""));
    let line = format!("{line} {STD} {LINT} --target {target} -- {arguments}");
    cross_call(line.trim_end_matches(" -- "))
        // Linked statically, a program needs no loader of its architecture.
        .env("RUSTFLAGS", "-D warnings -C target-feature=+crt-static")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER", "i686-linux-gnu-gcc")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64")
}

/// Returns the step that runs the hypercall sequences of 32-bit x86 in a process that also acts as
/// Xen, and compares their instructions with those of C.
fn hypercalls_x86() -> Step {
    let run = |options| {
        let line = format!("run --quiet --locked {options} --package xen-hal-bench-x86 {X86_CORE}");
        bare_x86(&line).inside("xen-hal/bench").env("CARGO_TARGET_DIR", "../../target/cross")
    };
    // Unoptimised code leaves the compiler the fewest registers. Hypercalls must still find theirs.
    let unoptimised = "--config profile.dev.package.xen-hal.opt-level=0 \
        --config profile.dev.package.xen-hal-bench-x86.opt-level=0";
    step(
        "hypercalls-x86",
        "on 32-bit x86, hypercalls preserve registers and need no more instructions than in C",
        &[tools::GCC, tools::RUSTC_WEB, tools::RUST_WEB_SRC],
        vec![
            run(unoptimised),
            run(""),
            Call::cargo("test --quiet --locked --test hypercall -- --ignored")
                .inside("xen-hal/bench")
                .env("CARGO_TARGET_DIR", "../../target"),
        ],
    )
}

/// Returns a call of cargo in which Debian's clippy checks the workspace's crates: that compiler's
/// library source is installed.
fn clippy_of_debian(call: Call) -> Call {
    call.env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_WORKSPACE_WRAPPER", tools::CLIPPY_DRIVER)
        .env("CLIPPY_ARGS", "-Dwarnings")
}

/// Returns a call of cargo for another architecture, with the compiler whose library source is
/// installed.
fn cross_call(line: &str) -> Call {
    Call::cargo(line)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", "target/cross")
}

/// Returns a call for 32-bit x86 without an operating system. The steps share the core library.
fn bare_x86(line: &str) -> Call {
    cross_call(line)
        .env("RUSTFLAGS", "-D warnings")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
}

/// Lints the HAL with some features.
fn combination(features: &str) -> Call {
    Call::cargo(&format!(
        "clippy --quiet {LINT} --package xen-hal --features {features} -- -D warnings"
    ))
}

fn step(name: &'static str, about: &'static str, needs: &[Tool], calls: Vec<Call>) -> Step {
    Step { name, about, needs: needs.to_vec(), optional: false, by_name: false, calls }
}

/// A check.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name on the command line.
    pub name: &'static str,
    /// The property that the check shows.
    pub about: &'static str,
    /// The tools that it needs.
    pub needs: Vec<Tool>,
    /// Whether the step may be skipped even with `--no-skip`.
    pub optional: bool,
    /// Whether the step runs only if it is named.
    pub by_name: bool,
    /// The commands, all of which must succeed.
    pub calls: Vec<Call>,
}

/// A call of a program.
#[derive(Clone, Debug)]
pub struct Call {
    program: &'static str,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    folder: Option<&'static str>,
}

impl Step {
    /// Returns the first tool that the machine lacks.
    #[must_use]
    pub fn lacks(&self) -> Option<Tool> {
        self.needs.iter().find(|tool| tool.find().is_none()).copied()
    }
}

impl Call {
    /// Creates a call of cargo with the words of `line`.
    #[must_use]
    pub fn cargo(line: &str) -> Self {
        Self::program("cargo", line)
    }

    /// Creates a call of another program with the words of `line`.
    #[must_use]
    pub fn program(program: &'static str, line: &str) -> Self {
        let args = line.split_whitespace().map(str::to_owned).collect();
        Self { program, args, env: Vec::new(), folder: None }
    }

    /// Creates a call of this program with the words of `line`.
    #[must_use]
    pub fn xtask(line: &str) -> Self {
        Self::cargo(&format!("run --quiet --package xtask -- {line}"))
    }

    /// Returns the call with an environment variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
        self
    }

    /// Returns the call made in a folder of the workspace.
    #[must_use]
    pub fn inside(mut self, folder: &'static str) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Returns whether the call is one of `cargo test`.
    pub(super) fn runs_tests(&self) -> bool {
        self.args.iter().take(2).any(|word| word == "test")
    }

    /// Returns the call as a command, for a workspace at `root`. Uses the cargo that runs this
    /// program, so that a step uses the same toolchain.
    #[must_use]
    pub fn command(&self, root: &Path) -> Command {
        let own = std::env::var_os("CARGO").filter(|_| self.program == "cargo");
        let mut command = Command::new(own.unwrap_or_else(|| self.program.into()));
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
            .current_dir(self.folder.map_or_else(|| root.to_owned(), |folder| root.join(folder)));
        command
    }
}

impl std::fmt::Display for Call {
    /// Returns the line to type in a shell.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(folder) = self.folder {
            write!(out, "cd {folder} && ")?;
        }
        for (name, value) in &self.env {
            write!(out, "{name}='{value}' ")?;
        }
        write!(out, "{} {}", self.program, self.args.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn names_are_unique() {
        let steps = super::all();
        let names: BTreeSet<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), steps.len());
    }

    #[test]
    fn each_feature_is_linted_with_few_others() {
        let mut linted: Vec<_> =
            super::COMBINATIONS.iter().flat_map(|features| features.split(',')).collect();
        linted.sort_unstable();
        assert_eq!(linted, super::FEATURES);
    }

    #[test]
    fn the_features_are_on_where_the_crates_are_built_for_other_machines() {
        let tree = format!("tree --prefix none --edges normal {}", super::crates());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = super::Call::cargo(&tree).command(&root).output().expect("cargo can be run");
        let packages = String::from_utf8_lossy(&output.stdout);
        assert!(packages.contains("\nsmoltcp v"), "{output:?}");
    }

    #[test]
    fn only_miri_may_be_missing() {
        let optional: Vec<_> =
            super::all().into_iter().filter(|step| step.optional).map(|step| step.name).collect();
        assert_eq!(optional, ["miri"]);
    }
}
