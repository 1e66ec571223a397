//! `cargo xtask mutants`.

use std::process::ExitCode;

use crate::bench::usage;
use crate::ci;
use crate::ci::mutants::{self, Copy};

/// The arguments of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A mutant is a patch in xen-hal/mutants that breaks the HAL on purpose. A copy of the workspace in
target/mutants contains them all and is built once; an environment variable chooses one of them. The
tests of its `Found-by:` lines must fail with it, and must pass without it.")]
pub struct Arguments {
    /// The mutants; by default, all.
    names: Vec<String>,
    /// Weaken each memory ordering in each scenario of xen-hal/orderings instead.
    #[arg(long, conflicts_with_all = ["names", "list"])]
    orderings: bool,
    /// List the mutants and stop.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    super::finish(try_all(arguments))
}

fn try_all(arguments: &Arguments) -> Result<bool, String> {
    let root = super::workspace_root();
    if arguments.orderings {
        let status =
            ci::orderings("test", "--lib -- --ignored --nocapture").command(&root).status();
        return Ok(status.map_err(|error| format!("cannot run cargo: {error}"))?.success());
    }
    let all = mutants::load(&root)?;
    let names: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    super::known("mutant", &arguments.names, &names)?;
    let chosen: Vec<_> = all
        .iter()
        .filter(|mutant| arguments.names.is_empty() || arguments.names.contains(&mutant.name))
        .collect();
    if arguments.list {
        chosen.iter().for_each(|mutant| println!("{:32} {}", mutant.name, mutant.about));
        return Ok(true);
    }
    let mut copy = Copy::new(&root, &super::target_folder(), &chosen)?;
    let (mut finds, mut good) = (Vec::new(), true);
    for (number, mutant) in chosen.iter().enumerate() {
        let before = usage::children();
        let found = copy.try_mutant(number, mutant);
        let seconds = usage::children().saturating_sub(before).as_secs_f32();
        match found {
            Ok(found) => {
                println!("{:32} found in {seconds:.1} CPU s", mutant.name);
                found.iter().for_each(|find| println!("    {}: {}", find.finder, find.message));
                finds.extend(found);
            }
            Err(fault) => {
                good = false;
                println!("{:32} FAILED: {fault}", mutant.name);
            }
        }
    }
    if let Err(fault) = copy.pass_unpatched(&finds) {
        good = false;
        println!("without a mutant: FAILED: {fault}");
    }
    let wanted: usize = chosen.iter().map(|mutant| mutant.found_by.len()).sum();
    println!("{} of {wanted} mistakes found", finds.len());
    Ok(good)
}
