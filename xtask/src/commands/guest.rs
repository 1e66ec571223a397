//! `cargo xtask guest`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::bench::usage;
use crate::diagnostic::nearest;
use crate::guest::build;
use crate::guest::emulator::Options;
use crate::guest::platform::{self, Arch, PLATFORMS, Platform};
use crate::guest::program::{self, Program};
use crate::guest::random::{self, Comparison};
use crate::guest::session::Session;
use crate::guest::tally::Tally;

/// The options of `cargo xtask guest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --arch, --route and --release, a program runs on the first platform that supports it, and
--all runs everything on every platform.

These variables select other files than those found on the machine:
  XEN_GUEST_QEMU        the emulator
  XEN_GUEST_HYPERVISOR  the hypervisor's image, compressed with gzip or not")]
pub struct Arguments {
    /// The scenarios or programs to boot.
    #[arg(required_unless_present_any = ["list", "all", "image"], value_name = "NAME")]
    programs: Vec<String>,
    /// List the platforms, scenarios and programs.
    #[arg(long)]
    list: bool,
    /// Boot all scenarios and programs, and print the matrix of results and times. The route vmx
    /// with Xen 4.20 must be named.
    #[arg(long, conflicts_with = "programs")]
    all: bool,
    /// Boot this ELF file, or this Image for Arm. The exit status is 0 if the image reports
    /// success, and 1 if it reports a failure, crashes, or does not report before the time limit.
    /// It reports success by the line `guest: success` on Xen's console, or by the value 0x10 in
    /// the emulator's exit device (examples/guests/BOOTING.md).
    #[arg(long, value_name = "PATH", conflicts_with_all = ["programs", "all"])]
    image: Option<PathBuf>,
    /// The command line of the image.
    #[arg(long, value_name = "WORDS", default_value = "", requires = "image")]
    command_line: String,
    /// The architecture: x86_64, x86 or aarch64.
    #[arg(long)]
    arch: Option<String>,
    /// How the program becomes a guest: dom0, vmx, domu or dom0less.
    #[arg(long)]
    route: Option<String>,
    /// The release of Xen: 4.17 or 4.20.
    #[arg(long)]
    release: Option<String>,
    /// Further options for Xen.
    #[arg(long, value_name = "OPTIONS", default_value = "", allow_hyphen_values = true)]
    xen_args: String,
    /// The processor model of the emulator.
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// The number of vCPUs of each guest.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4))]
    vcpus: u32,
    /// The version of Arm's interrupt controller.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=3))]
    gic: u32,
    /// Print the emulator's command line instead of running it.
    #[arg(long)]
    dry_run: bool,
    /// The number of runs. Further runs follow even after a failure.
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    repeat: u32,
    /// The number of platforms that boot at the same time. With several, each platform's lines are
    /// printed when it finishes. The default is 2, or 1 on a machine with one processor. Programs
    /// that measure, --interactive and --dry-run take one platform at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Record the output as the new expected transcripts.
    #[arg(long, conflicts_with = "repeat")]
    record: bool,
    /// Keep each run's console in a file, even if the run passes.
    #[arg(long)]
    keep_logs: bool,
    /// The first seed of the program `random`.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// The number of calls of the program `random`.
    #[arg(
        long,
        default_value_t = 2000,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    calls: u32,
    /// Run the committed cases of the program `random` instead of seeds; with --record, record
    /// Xen's answers.
    #[arg(long)]
    cases: bool,
    /// Type standard input into the guest's console.
    #[arg(long, conflicts_with = "all")]
    interactive: bool,
    /// The time limit of a program in seconds; on the route domu, it has 60 more. The programs that
    /// take long have several times as much.
    #[arg(
        long,
        default_value_t = 60,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000),
    )]
    timeout: u64,
    /// Show Xen's lines too.
    #[arg(long)]
    verbose: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        print!("{}", listing());
        return ExitCode::SUCCESS;
    }
    super::finish(boot(arguments))
}

fn boot(arguments: &Arguments) -> Result<bool, String> {
    let began = Instant::now();
    let platforms = platform::choose(
        arguments.arch.as_deref(),
        arguments.route.as_deref(),
        arguments.release.as_deref(),
    )?;
    let session = Session {
        workspace: super::workspace_root(),
        files: super::target_folder().join("guest"),
        target: super::target_folder(),
        options: Options {
            xen_args: arguments.xen_args.clone(),
            cpu: arguments.cpu.clone(),
            vcpus: arguments.vcpus,
            gic: arguments.gic,
            interactive: arguments.interactive,
        },
        timeout: arguments.timeout,
        record: arguments.record,
        keep_logs: arguments.keep_logs,
        verbose: arguments.verbose,
        dry_run: arguments.dry_run,
        quiet: arguments.all || arguments.programs == [random::NAME],
        jobs: jobs(arguments),
    };
    std::fs::create_dir_all(&session.files)
        .map_err(|error| format!("{}: {error}", session.files.display()))?;
    if let Some(image) = &arguments.image {
        let arch = build::arch_of(image)?;
        let platform = platforms.iter().find(|platform| platform.arch == arch);
        let platform = platform.ok_or_else(|| {
            format!("the image is for {}, which no chosen platform has", arch.name())
        })?;
        if arch != Arch::Aarch64 {
            build::expect_pvh_entry(image)?;
        }
        return session.run_image(*platform, image.clone(), &arguments.command_line);
    }
    if arguments.programs == [random::NAME] {
        return run_random(arguments, &session, &platforms);
    }
    if arguments.cases {
        return Err(format!("`--cases` is an option of the program `{}`", random::NAME));
    }
    let plan = plan(arguments, &choose(&arguments.programs)?, &platforms)?;
    let mut tally = Tally::default();
    let result = session.run(&plan, arguments.repeat, &mut tally);
    if arguments.all {
        println!("\n{}", tally.matrix());
    }
    if tally.runs() > 1 {
        for score in tally.scores().iter().filter(|score| !score.is_good()) {
            println!("{} on {}: FAILED, {}", score.name, score.platform, score.verdict);
        }
        let cpu = usage::children();
        println!(
            "{tally}, in {:.1} s and {:.1} CPU s with builds",
            began.elapsed().as_secs_f64(),
            cpu.as_secs_f64()
        );
    }
    result?;
    Ok(tally.is_good())
}

/// Returns what boots on each platform. Without a platform, a program runs on the first one that
/// supports it.
fn plan(
    arguments: &Arguments,
    programs: &[Program],
    platforms: &[Platform],
) -> Result<BTreeMap<Platform, Vec<Program>>, String> {
    let is_default =
        arguments.arch.is_none() && arguments.route.is_none() && arguments.release.is_none();
    let mut plan: BTreeMap<Platform, Vec<Program>> = BTreeMap::new();
    for program in programs {
        if is_default && !arguments.all {
            plan.entry(first_place(program)).or_default().push(*program);
            continue;
        }
        if !arguments.all {
            expect_place(program, platforms, arguments)?;
        }
        let is_chosen =
            |on: &&Platform| program.runs_on(**on) && !(is_default && on.is_only_by_name());
        for platform in platforms.iter().filter(is_chosen) {
            plan.entry(*platform).or_default().push(*program);
        }
    }
    Ok(plan)
}

/// Compares random programs, or runs the committed cases.
fn run_random(
    arguments: &Arguments,
    session: &Session,
    platforms: &[Platform],
) -> Result<bool, String> {
    if arguments.dry_run {
        return Err(format!("`{}` has no dry run", random::NAME));
    }
    let mut all_agree = true;
    let is_default = arguments.route.is_none() && arguments.arch.is_none();
    for platform in &platforms[..if is_default { 1 } else { platforms.len() }] {
        let comparison = Comparison::new(session, *platform)?;
        let seed = |number: u32| arguments.seed.wrapping_add(number.into());
        all_agree &= if arguments.cases {
            comparison.run_cases()?
        } else {
            let seeds: Vec<u64> = (0..arguments.repeat).map(seed).collect();
            comparison.run(&seeds, arguments.calls)?
        };
    }
    Ok(all_agree)
}

/// Returns the number of platforms that boot at the same time.
fn jobs(arguments: &Arguments) -> usize {
    let measures =
        arguments.programs.iter().any(|name| [build::FIGURES, build::RATES].contains(&&**name));
    if arguments.interactive || arguments.dry_run || measures {
        return 1;
    }
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.map_or_else(|| processors().min(2), |jobs| jobs as usize)
}

/// Returns the first platform that supports the program.
fn first_place(program: &Program) -> Platform {
    let fits = |platform: &&Platform| program.runs_on(**platform);
    PLATFORMS.iter().find(fits).copied().unwrap_or(PLATFORMS[0])
}

/// Refuses a program that runs on none of the chosen platforms.
fn expect_place(
    program: &Program,
    platforms: &[Platform],
    arguments: &Arguments,
) -> Result<(), String> {
    if platforms.iter().any(|platform| program.runs_on(*platform)) {
        return Ok(());
    }
    // Only what was chosen is named, so that the alternatives are values of the same options.
    let name = |platform: &Platform| {
        let Platform { arch, route, release } = platform;
        let arch = arguments.arch.as_ref().map(|_| arch.name());
        let route = arguments.route.as_ref().map(|_| route.name());
        let release = arguments.release.as_ref().map(|_| *release);
        arch.into_iter().chain(route).chain(release).collect::<Vec<_>>().join("-")
    };
    let mut places: Vec<String> = Vec::new();
    for place in PLATFORMS.iter().filter(|platform| program.runs_on(**platform)).map(name) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let last = places.pop().unwrap_or_default();
    let places = if places.is_empty() { last } else { format!("{} and {last}", places.join(", ")) };
    let asked = platforms.first().map(name).unwrap_or_default();
    let why = platforms.iter().find_map(|platform| program.left_out(*platform));
    let why = why.map(|why| format!(", because {why}")).unwrap_or_default();
    Err(format!("`{}` does not run on {asked}{why}; it runs on {places}", program.name))
}

/// Returns the platforms and the programs, one a line.
fn listing() -> String {
    let platforms = PLATFORMS.iter().map(|platform| (platform.to_string(), platform.route.about()));
    let programs = program::all().map(|program| (program.name.to_owned(), program.about));
    let line = |(name, about): (String, &str)| format!("  {name:24} {about}\n");
    format!(
        "Platforms, as ARCH-ROUTE-RELEASE; choose one with --arch, --route and --release:\n\
         {}Scenarios and programs:\n{}",
        platforms.map(line).collect::<String>(),
        programs.chain([(random::NAME.to_owned(), random::ABOUT)]).map(line).collect::<String>(),
    )
}

/// Returns the programs of those names; the scenarios and proving programs for no name.
fn choose(names: &[String]) -> Result<Vec<Program>, String> {
    if names.is_empty() {
        return Ok(program::proofs().collect());
    }
    if names.iter().any(|name| name == random::NAME) {
        return Err(format!("`{}` runs alone, without other programs", random::NAME));
    }
    let named = |name: &String| {
        program::all().find(|program| program.name == *name).ok_or_else(|| {
            let known = program::all().map(|program| program.name);
            match nearest(name, known.chain([random::NAME])) {
                Some(meant) => format!("unknown program `{name}`; did you mean `{meant}`?"),
                None => format!("unknown program `{name}`; --list names them"),
            }
        })
    };
    names.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::{Arguments, choose, expect_place, jobs, listing, plan};
    use crate::guest::platform;
    use clap::{Args, FromArgMatches};

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let command = Arguments::augment_args(clap::Command::new("guest").no_binary_name(true));
        Arguments::from_arg_matches(&command.try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn what_would_boot_nothing_is_refused() {
        for line in [
            "hello --repeat 0",
            "hello --timeout 0",
            "hello --vcpus 0",
            "hello --jobs 0",
            "random --calls 0",
        ] {
            assert!(parse(line).unwrap_err().to_string().contains("invalid value '0'"), "{line}");
        }
        for (line, expected) in [
            ("c-kernel --arch x86", "does not run on x86; it runs on x86_64 and aarch64"),
            ("arm-fifo --arch x86_64", "does not run on x86_64; it runs on aarch64"),
            ("peers --route dom0", "does not run on dom0; it runs on domu and dom0less"),
            (
                "peers --arch x86 --route vmx",
                "does not run on x86-vmx; it runs on x86_64-domu, x86-domu, \
                 aarch64-domu and aarch64-dom0less",
            ),
            (
                "restore --arch aarch64",
                "does not run on aarch64, because Xen on Arm saves no domain; it runs on x86_64 \
                 and x86",
            ),
            ("arm-fifo --release 4.20", "does not run on 4.20; it runs on 4.17"),
            ("c-kernel --release 4.20", ""),
        ] {
            let line = parse(line).unwrap();
            let [arch, route, release] = [&line.arch, &line.route, &line.release];
            let chosen = platform::choose(arch.as_deref(), route.as_deref(), release.as_deref());
            let program = choose(&line.programs).unwrap()[0];
            let why = expect_place(&program, &chosen.unwrap(), &line).err().unwrap_or_default();
            let name = if expected.is_empty() { "" } else { program.name };
            assert_eq!(why, format!("`{name}` {expected}").replace("`` ", ""));
        }
    }

    #[test]
    fn the_matrix_leaves_out_what_must_be_named() {
        for (line, by_name) in
            [("--all", 0), ("--all --route vmx", 2), ("--all --release 4.20 --route vmx", 2)]
        {
            let line = parse(line).unwrap();
            let [arch, route, release] = [&line.arch, &line.route, &line.release];
            let platforms =
                platform::choose(arch.as_deref(), route.as_deref(), release.as_deref()).unwrap();
            let plan = plan(&line, &choose(&line.programs).unwrap(), &platforms).unwrap();
            assert_eq!(plan.keys().filter(|on| on.is_only_by_name()).count(), by_name);
            let left_out = if by_name == 0 { 2 } else { 0 };
            assert_eq!(plan.len() + left_out, platforms.len());
        }
    }

    #[test]
    fn what_disturbs_another_platform_boots_alone() {
        for (line, expected) in [
            ("hello --jobs 3", 3..=3),
            ("hello", 1..=2),
            ("hello figures --jobs 3", 1..=1),
            ("hello --jobs 3 --interactive", 1..=1),
            ("hello --jobs 3 --dry-run", 1..=1),
        ] {
            assert!(expected.contains(&jobs(&parse(line).unwrap())), "{line}");
        }
    }

    #[test]
    fn the_list_says_how_a_platform_is_chosen() {
        let list = listing();
        assert!(list.starts_with("Platforms, as ARCH-ROUTE-RELEASE; choose one with --arch, "));
        assert!(list.contains("\n  x86_64-domu-4.20 ") && list.contains("\n  random "), "{list}");
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        for (name, meant) in [("grnat", "grant"), ("ranodm", "random")] {
            let why = choose(&[name.to_owned()]).unwrap_err();
            assert_eq!(why, format!("unknown program `{name}`; did you mean `{meant}`?"));
        }
        assert!(choose(&["nothing-like-it".to_owned()]).unwrap_err().contains("--list"));
    }
}
