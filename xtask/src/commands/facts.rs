//! `cargo xtask facts`: adds measured facts to the folder of the description. Other commands
//! measure headers with it too.

use crate::document::Release;
use crate::headers::compiler::TARGETS;
use crate::headers::facts::{Facts, Table};
use crate::headers::measure::{Measured, measure};
use crate::headers::store;
use crate::headers::tree::Tree;
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
    /// Measure a tree of headers, and replace the facts of the same release and architectures in
    /// abi-yaml/facts.
    Measure {
        /// The folder of public headers, or Xen's sources.
        headers: PathBuf,
        /// The release of the headers.
        #[arg(long, value_parser = super::parse_release)]
        release: Release,
        /// The folder of the description.
        #[arg(long, value_name = "DIR")]
        abi: Option<PathBuf>,
        #[command(flatten)]
        compilers: Compilers,
    },
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Measure { headers, release, abi, compilers } = &arguments.command;
    let abi = abi.clone().unwrap_or_else(|| super::workspace_root().join("abi-yaml"));
    super::finish(keep(headers, *release, compilers, &abi.join("facts")))
}

fn keep(
    folder: &Path,
    release: Release,
    compilers: &Compilers,
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
    let facts = put_together(&tables)?;
    let changed = store::save(&facts, kept).map_err(|error| error.to_string())?;
    println!(
        "{} constants, {} structs; changed: {}",
        facts.constants.len(),
        facts.structs.len(),
        if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
    );
    Ok(true)
}

/// Merges tables. The members of structs get the order that later runs keep.
pub(super) fn put_together(tables: &[Table]) -> Result<Facts, String> {
    let facts = Facts::from_tables(tables).map_err(|error| error.to_string())?;
    Facts::from_tables(&facts.tables()).map_err(|error| error.to_string())
}

/// How to measure headers.
#[derive(Debug, clap::Args)]
pub struct Compilers {
    /// The C compiler; by default, the first one found for each architecture.
    #[arg(long)]
    cc: Option<String>,
    /// Measure for this architecture only.
    #[arg(long, value_parser = TARGETS.map(|target| target.arch))]
    arch: Option<String>,
}

impl Compilers {
    /// Returns whether the architecture is selected.
    pub(super) fn wants(&self, arch: &str) -> bool {
        self.arch.as_deref().is_none_or(|wanted| wanted == arch)
    }
}

/// Measures headers for each selected architecture that has a compiler. Prints the compilers, and
/// the architectures without one.
pub(super) fn measure_all(
    folder: &Path,
    compilers: &Compilers,
) -> Result<Vec<(&'static str, Measured)>, String> {
    measure_each(folder, compilers, |line| println!("{line}"))
}

/// Does the same without printing.
pub(super) fn measure_quietly(
    folder: &Path,
    compilers: &Compilers,
) -> Result<Vec<(&'static str, Measured)>, String> {
    measure_each(folder, compilers, |_| {})
}

fn measure_each(
    folder: &Path,
    compilers: &Compilers,
    say: impl Fn(String),
) -> Result<Vec<(&'static str, Measured)>, String> {
    let tree = Tree::find(folder).map_err(|error| error.to_string())?;
    say(format!("headers: {}", tree.root.display()));
    let Compilers { cc, arch } = compilers;
    let mut all = Vec::new();
    for target in
        TARGETS.iter().filter(|target| arch.as_ref().is_none_or(|arch| arch == target.arch))
    {
        let compiler = match target.compiler(cc.as_deref()) {
            Ok(compiler) => compiler,
            Err(missing) if arch.is_none() => {
                say(format!("{:8} skipped: {missing}", target.arch));
                continue;
            }
            Err(missing) => return Err(missing.to_string()),
        };
        let measured = measure(&tree, target, &compiler).map_err(|error| error.to_string())?;
        say(format!(
            "{:8} `{compiler}` read {} headers ({} are not for guests): {} constants, {} structs",
            target.arch,
            measured.headers.len(),
            measured.skipped.len(),
            measured.constants.len(),
            measured.structs.len()
        ));
        all.push((target.arch, measured));
    }
    if all.is_empty() { Err("no architecture could be measured".to_owned()) } else { Ok(all) }
}
