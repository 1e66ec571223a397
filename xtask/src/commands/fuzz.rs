//! `cargo xtask fuzz`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::fuzz::build::build;
use crate::fuzz::row::{HEAD, row};
use crate::fuzz::run::{End, Job};
use crate::fuzz::target::{self, Target};

/// How many seconds a planted mistake may take to be found. Most take less than one.
const BOUND: u64 = 30;

/// What `cargo xtask fuzz` can be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Inputs that reach something new are kept in target/fuzz/corpus, and the next run goes on from there; inputs that
make a target fail are kept in target/fuzz/crashes. A long look: cargo xtask fuzz --seconds 3600")]
pub struct Arguments {
    /// The targets; without names, all of them.
    targets: Vec<String>,
    /// How many seconds to run each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    match fuzz(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn fuzz(arguments: &Arguments) -> Result<bool, String> {
    let unknown = |name| {
        format!(
            "there is no target `{name}`; there are {}",
            target::TARGETS.map(|target| target.name).join(", ")
        )
    };
    let targets = target::choose(&arguments.targets).map_err(unknown)?;
    let folder = super::target_folder().join("fuzz");
    let programs = build(&super::workspace_root(), &folder.join("build"))?;
    let session = Session { programs, folder, seconds: arguments.seconds };
    println!("{HEAD}");
    let mut good = true;
    for target in &targets {
        good &= session.look(target)?;
    }
    for target in &targets {
        for bug in target.bugs {
            good &= session.find(target, bug)?;
        }
    }
    Ok(good)
}

/// What all runs have in common.
struct Session {
    programs: PathBuf,
    folder: PathBuf,
    seconds: u64,
}

impl Session {
    /// Runs a target, which is to find nothing.
    fn look(&self, target: &Target) -> Result<bool, String> {
        let corpus = self.made(&format!("corpus/{}", target.name))?;
        let prefix = format!("{}/{}-", self.made("crashes")?.display(), target.name);
        let program = self.programs.join(target.name);
        let job = Job {
            program: &program,
            bug: None,
            seconds: self.seconds,
            corpus: Some(&corpus),
            prefix: &prefix,
        };
        Ok(report(target, &job))
    }

    /// Runs a target on a HAL with a mistake, which it is to find.
    fn find(&self, target: &Target, bug: &str) -> Result<bool, String> {
        let prefix = format!("{}/{bug}-", self.made("planted")?.display());
        let program = self.programs.join(target.name);
        let job = Job {
            program: &program,
            bug: Some(bug),
            seconds: BOUND,
            corpus: None,
            prefix: &prefix,
        };
        Ok(report(target, &job))
    }

    /// A folder below the session's.
    fn made(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }
}

/// Runs a job and prints its row; says whether it is good. An input that is not wanted is shown
/// with all that is known of it, and one for a planted mistake is done with.
fn report(target: &Target, job: &Job<'_>) -> bool {
    let found = job.run();
    let (row, good) = row(target.name, job.bug, &found);
    println!("{row}");
    let End::Crash { message, input: Some(input) } = &found.end else { return good };
    if job.bug.is_some() {
        forget(input);
    } else {
        println!("  {message}\n  again with: {}", job.replay(input));
    }
    good
}

fn forget(input: &Path) {
    // It can be found again in seconds; that it stays is no harm.
    let _ = fs::remove_file(input);
}
