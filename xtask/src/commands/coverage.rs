//! `cargo xtask coverage`: counts how much of the headers is described.

use super::facts::{Compilers, measure_quietly};
use super::{finish, workspace_root};
use crate::document::{self, Release};
use crate::headers::facts::{Facts, Table};
use crate::headers::store;
use crate::headers::verify::{self, Rules};
use crate::yaml;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `cargo xtask coverage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For each header: described / for guests, of the newest release of the facts. What is omitted has a \
reason in abi-yaml/facts/undescribed.txt; `cargo xtask verify --undescribed` prints the names. A \
macro that is code is always omitted with a reason.")]
pub struct Arguments {
    /// Measure these headers, instead of reading the stored facts.
    #[arg(long, value_name = "DIR")]
    headers: Option<PathBuf>,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
    #[command(flatten)]
    compilers: Compilers,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(coverage(arguments))
}

fn coverage(arguments: &Arguments) -> Result<bool, String> {
    let abi = arguments.abi.clone().unwrap_or_else(|| workspace_root().join("abi-yaml"));
    let sources = yaml::load(&abi).map_err(|error| error.to_string())?;
    let (document, wrong) = document::read(&sources);
    let document = document.filter(|_| wrong.is_empty());
    let document = document.ok_or("the description has errors; run `cargo xtask regen`")?;
    let facts = match &arguments.headers {
        Some(folder) => {
            let unknown = Release { major: 0, minor: 0 };
            let measured = measure_quietly(folder, &arguments.compilers)?.into_iter();
            let tables = measured.map(|(arch, measured)| measured.into_table(unknown, arch));
            Facts::from_tables(&tables.collect::<Vec<Table>>())
        }
        None => store::load(&abi.join("facts")),
    };
    let facts = facts.map_err(|error| error.to_string())?;
    let rules = abi.join("facts").join(verify::FILE);
    let text =
        std::fs::read_to_string(&rules).map_err(|error| format!("{}: {error}", rules.display()))?;
    let rules = Rules::read(&text)?;
    let report = verify::run(&document, &facts);
    for arch in facts.grid.archs.iter().filter(|arch| arguments.compilers.wants(arch)) {
        match verify::coverage(&document, &facts, &rules, &report, arch) {
            Some(rows) => println!("{}", verify::coverage_table(arch, &rows)),
            None => println!("{arch} was not measured\n"),
        }
    }
    Ok(true)
}
