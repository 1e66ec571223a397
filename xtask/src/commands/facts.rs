//! `cargo xtask facts`: the measured facts in and out of the description's folder.

use crate::facts::measure::headers::Tree;
use crate::facts::measure::{MeasureError, Target, compiler::TARGETS, measure};
use crate::facts::{Facts, FactsError, store};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the compact form lies in the workspace.
pub const FOLDER: &str = "abi-yaml/facts";

/// What `cargo xtask facts` can be told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The directions in which facts can go.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the compact form from JSON tables: all of it, or with --add, these tables beside those
    /// that are there.
    Import {
        /// A folder of JSON tables, at any depth.
        folder: PathBuf,
        /// Keep the other releases and architectures.
        #[arg(long)]
        add: bool,
    },
    /// Write each release and architecture as a JSON table, RELEASE/ARCH.json.
    Export {
        /// Where to.
        folder: PathBuf,
    },
    /// Measure a tree of headers and write its JSON tables, RELEASE/ARCH.json; `import --add` takes
    /// them.
    Measure {
        /// The folder of public headers, or Xen's sources.
        headers: PathBuf,
        /// Which release the headers are.
        #[arg(long, value_parser = super::parse_release)]
        release: crate::document::Release,
        /// Where to.
        #[arg(long)]
        out: PathBuf,
        /// Only this architecture.
        #[arg(long)]
        arch: Option<String>,
        /// The C compiler.
        #[arg(long)]
        cc: Option<String>,
    },
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    let facts = super::workspace_root().join(FOLDER);
    let done = match &arguments.command {
        Command::Import { folder, add } => {
            import(folder, *add, &facts).map_err(|error| error.to_string())
        }
        Command::Export { folder } => export(&facts, folder).map_err(|error| error.to_string()),
        Command::Measure { headers, release, out, arch, cc } => {
            measure_tree(headers, *release, out, arch.as_deref(), cc.as_deref())
                .map_err(|error| error.to_string())
        }
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn import(folder: &Path, add: bool, to: &Path) -> Result<String, FactsError> {
    let mut tables = store::load_tables(folder)?;
    if tables.is_empty() {
        return Err(FactsError::Tables(format!("{} holds no .json file", folder.display())));
    }
    let read = tables.len();
    if add {
        let new: Vec<_> = tables.iter().map(|table| (table.release, table.arch.clone())).collect();
        tables.extend(
            store::load(to)?
                .tables()
                .into_iter()
                .filter(|table| !new.contains(&(table.release, table.arch.clone()))),
        );
    }
    tables.sort_by(|a, b| (a.release, &a.arch).cmp(&(b.release, &b.arch)));
    let facts = Facts::from_tables(&tables)?;
    let changed = store::save(&facts, to)?;
    let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
    Ok(format!(
        "{read} tables read; {} constants, {} structs; changed: {changed}",
        facts.constants.len(),
        facts.structs.len()
    ))
}

fn export(from: &Path, folder: &Path) -> Result<String, FactsError> {
    let tables = store::load(from)?.tables();
    store::save_tables(&tables, folder)?;
    Ok(format!("{} tables written", tables.len()))
}

fn measure_tree(
    headers: &Path,
    release: crate::document::Release,
    out: &Path,
    arch: Option<&str>,
    cc: Option<&str>,
) -> Result<String, Box<dyn std::error::Error>> {
    let tree = Tree::find(headers)?;
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| arch.is_none_or(|arch| arch == target.arch)).collect();
    let mut tables = Vec::new();
    for target in targets {
        let compiler = target.compiler(cc)?;
        println!("{}: {compiler}", target.arch);
        tables.push(measure(&tree, target, &compiler)?.into_table(release, target.arch));
    }
    if tables.is_empty() {
        let remedy = "x86_64, x86 and aarch64 can be measured".to_owned();
        return Err(
            MeasureError::NoCompiler { arch: arch.unwrap_or_default().to_owned(), remedy }.into()
        );
    }
    store::save_tables(&tables, out)?;
    Ok(format!("{} tables written", tables.len()))
}
