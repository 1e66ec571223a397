//! `cargo xtask fuzz`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::ci::fuzz::{ADDRESSES, COVERAGE, End, HEAD, Job, Limit, TARGETS, build, fixed_inputs};

/// The arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Inputs that reach new code are kept in target/fuzz/corpus, and the next run continues from there.
Inputs that crash a target are kept in target/fuzz/crashes.
For a long run: cargo xtask fuzz --seconds 3600")]
pub struct Arguments {
    /// The targets, which first run on fixed inputs; by default, all.
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// The run time of each target in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The number of inputs for each target, instead of a time.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    super::finish(fuzz(arguments))
}

fn fuzz(arguments: &Arguments) -> Result<bool, String> {
    let mut targets: Vec<&str> = arguments.targets.iter().map(String::as_str).collect();
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    let folder = super::target_folder().join("fuzz");
    let made = |name: String| -> Result<PathBuf, String> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    };
    let (root, build_folder) = (super::workspace_root(), folder.join("build"));
    let flags = format!("{COVERAGE} {ADDRESSES}");
    let programs = build(&root, &build_folder, &targets, &flags, &[])?;
    let mut good = !arguments.targets.is_empty() || fixed_inputs(&root, &build_folder)?;
    println!("{HEAD}");
    let limit = arguments.runs.map_or(Limit::Seconds(arguments.seconds), Limit::Runs);
    for target in targets {
        let corpus = made(format!("corpus/{target}"))?;
        let prefix = format!("{}/{target}-", made("crashes".to_owned())?.display());
        let program = programs.join(target);
        let job = Job { limit, corpus: Some(&corpus), prefix: &prefix };
        let found = job.run(&mut Command::new(&program));
        println!("{}", found.row(target));
        good &= found.end == End::Nothing;
        if let End::Crash { message, input: Some(input) } = &found.end {
            println!("  {message}\n  again with: {} {}", program.display(), input.display());
        }
    }
    Ok(good)
}
