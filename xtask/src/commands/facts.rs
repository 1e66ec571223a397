//! `cargo xtask facts`: adds measured facts to the description's folder.

use super::headers::{self, measure_all};
use crate::document::Release;
use crate::headers::facts::Facts;
use crate::headers::store;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `cargo xtask facts`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do with the facts.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure a tree of headers, and write what it holds into abi-yaml/facts in place of what was
    /// known of the same release and architectures.
    Measure {
        /// The folder of public headers, or Xen's sources.
        headers: PathBuf,
        /// The release of the headers.
        #[arg(long, value_parser = super::parse_release)]
        release: Release,
        #[command(flatten)]
        compilers: headers::Compilers,
    },
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Measure { headers, release, compilers } = &arguments.command;
    let facts = super::workspace_root().join(super::FACTS);
    super::finish(measure(headers, *release, compilers, &facts))
}

fn measure(
    folder: &Path,
    release: Release,
    compilers: &headers::Compilers,
    kept: &Path,
) -> Result<bool, String> {
    let measured = measure_all(folder, compilers)?;
    let new: Vec<_> =
        measured.into_iter().map(|(arch, measured)| measured.into_table(release, arch)).collect();
    let kept_facts = store::load(kept).map_err(|error| error.to_string())?;
    let is_new = |arch: &str| new.iter().any(|table| table.arch == arch);
    let mut tables: Vec<_> = kept_facts
        .tables()
        .into_iter()
        .filter(|table| table.release != release || !is_new(&table.arch))
        .collect();
    tables.extend(new);
    tables.sort_by(|a, b| (a.release, &a.arch).cmp(&(b.release, &b.arch)));
    let facts = Facts::from_tables(&tables).map_err(|error| error.to_string())?;
    let changed = store::save(&facts, kept).map_err(|error| error.to_string())?;
    println!(
        "{} constants, {} structs; changed: {}",
        facts.constants.len(),
        facts.structs.len(),
        if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
    );
    Ok(true)
}
