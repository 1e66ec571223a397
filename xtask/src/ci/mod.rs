//! `cargo xtask test`: every check there is, one after the other, with one line for each and a
//! closing count.

pub mod fuzz;
mod install;
pub mod mutants;
mod outcome;
mod run;
mod step;
mod steps;

use std::path::Path;
use std::process::Command;

pub use install::install_missing;
pub use outcome::{Outcome, Tally};
pub use run::run;
pub use step::{Call, Step};
pub use steps::all;

/// The files of the workspace at `root`, relative to it: those that git tracks, and new ones that
/// it does not ignore.
///
/// # Errors
///
/// Says why git did not list them.
pub fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("expected a git checkout at {}: {why}", root.display()));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let names = names.split_terminator('\0').filter(|name| root.join(name).is_file());
    Ok(names.map(str::to_owned).collect())
}
