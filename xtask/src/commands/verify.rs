//! `cargo xtask verify`.

use super::FACTS;
use super::facts::{self, measure_all};
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Release};
use crate::headers::facts::{Facts, Table};
use crate::headers::verify::{self, Mismatch, Report, Rules, fresh};
use crate::headers::{scope, store};
use crate::yaml::{self, Sources};
use crate::{check, document};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `cargo xtask verify`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Measure these headers (an installed /usr/include/xen, or Xen's sources) and compare with
    /// them.
    #[arg(long, value_name = "DIR")]
    headers: Option<PathBuf>,
    #[command(flatten)]
    compilers: facts::Compilers,
    /// The release of the headers, if the headers do not show it.
    #[arg(long, requires = "headers", value_parser = super::parse_release)]
    release: Option<Release>,
    /// List what the description leaves out, by reason, and every name that the stored facts lack.
    #[arg(long)]
    undescribed: bool,
    /// Write the current counts into the list of what is left out.
    #[arg(long, conflicts_with = "headers")]
    accept: bool,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    super::finish(verify(arguments))
}

fn verify(arguments: &Arguments) -> Result<bool, String> {
    let root = super::workspace_root();
    let sources = yaml::load(&root.join("abi-yaml")).map_err(|error| error.to_string())?;
    let (document, mut wrong) = document::read(&sources);
    if let Some(document) = &document {
        wrong.extend(check::run(document));
    }
    show(&wrong, &sources);
    let Some(document) = document else { return Ok(false) };
    let facts = store::load(&root.join(FACTS)).map_err(|error| error.to_string())?;
    let held = match &arguments.headers {
        Some(folder) => against_headers(&document, &sources, &facts, folder, arguments)?,
        None => against_facts(
            &document,
            &sources,
            &facts,
            &root.join(FACTS).join(verify::FILE),
            arguments,
        )?,
    };
    Ok(held && wrong.is_empty())
}

fn show(diagnostics: &[Diagnostic], sources: &Sources) {
    eprint!("{}", diagnostic::render(diagnostics, sources, std::io::stderr().is_terminal()));
}

fn show_mismatches(mismatches: &[Mismatch], sources: &Sources) {
    let diagnostics: Vec<Diagnostic> = mismatches.iter().map(Mismatch::diagnostic).collect();
    show(&diagnostics, sources);
}

fn against_facts(
    document: &Document,
    sources: &Sources,
    facts: &Facts,
    rules: &Path,
    arguments: &Arguments,
) -> Result<bool, String> {
    let compared = verify::run(document, facts);
    show_mismatches(&compared.mismatches, sources);
    let text =
        std::fs::read_to_string(rules).map_err(|error| format!("{}: {error}", rules.display()))?;
    let mut read = Rules::read(&text)?;
    if arguments.accept {
        let updated = read.updated(&compared);
        std::fs::write(rules, &updated).map_err(|error| format!("{}: {error}", rules.display()))?;
        read = Rules::read(&updated)?;
    }
    let judged = read.judge(&compared);
    print!("{}", verify::undescribed(&judged, arguments.undescribed));
    for stale in &judged.stale {
        eprintln!("error: {}: {stale}", verify::FILE);
    }
    if !judged.stale.is_empty() {
        eprintln!(
            "help: describe what is new, or let `cargo xtask verify --accept` write down the \
             counts that hold now"
        );
    }
    for cell in &compared.unmeasured {
        eprintln!("error: {cell} is in the manifest, but not in the facts");
    }
    for cell in &compared.unlisted {
        eprintln!("error: {cell} is in the facts, but not in the manifest");
    }
    println!("{}", verify::summary(&compared, facts.grid.cells().count()));
    let nothing_new = judged.unexcused.is_empty()
        && judged.stale.is_empty()
        && compared.unmeasured.is_empty()
        && compared.unlisted.is_empty();
    Ok(nothing_new && compared.mismatches.is_empty())
}

fn against_headers(
    document: &Document,
    sources: &Sources,
    facts: &Facts,
    folder: &Path,
    arguments: &Arguments,
) -> Result<bool, String> {
    let measured = measure_all(folder, &arguments.compilers)?;
    let release = match arguments.release {
        Some(release) => release,
        None => fresh::release(
            &measured.iter().map(|(arch, measured)| (*arch, measured)).collect::<Vec<_>>(),
            facts,
        )?,
    };
    if document.manifest.find_release(release).is_none() {
        return Err(format!("the manifest has no release {release}"));
    }
    println!(
        "release: Xen {release}{}",
        if arguments.release.is_some() { "" } else { " by what the headers hold" }
    );
    let tables: Vec<Table> =
        measured.into_iter().map(|(arch, measured)| measured.into_table(release, arch)).collect();
    let mut held = true;
    for table in &tables {
        held &= agrees(table, facts, arguments.undescribed);
    }
    let compared =
        verify::run(document, &Facts::from_tables(&tables).map_err(|error| error.to_string())?);
    show_mismatches(&compared.mismatches, sources);
    names(&compared, arguments.undescribed);
    println!("{}", verify::summary(&compared, tables.len()));
    Ok(held && compared.mismatches.is_empty())
}

fn names(compared: &Report, wanted: bool) {
    if wanted {
        compared
            .undescribed_constants
            .iter()
            .chain(&compared.undescribed_structs)
            .chain(&compared.undescribed_strings)
            .chain(&compared.undescribed_macros)
            .for_each(|name| println!("         {name}"));
    }
}

/// The maximum number of new names that are printed without `--undescribed`.
const MOST_NEW: usize = 40;

/// Returns whether a new table and the stored one have the same value for each name that both have.
/// Prints the names that only the new one has.
fn agrees(table: &Table, facts: &Facts, all: bool) -> bool {
    let Some(agreement) = fresh::compare(table, facts) else {
        println!("{:8} there are no facts of Xen {} to compare with", table.arch, table.release);
        return true;
    };
    let lost = if agreement.lost.is_empty() {
        String::new()
    } else {
        format!(", without {}", scope::list(&agreement.lost))
    };
    println!(
        "{:8} {} names equal the stored facts, {} are new{lost}",
        table.arch,
        agreement.equal,
        agreement.new.len()
    );
    let shown = if all { agreement.new.len() } else { MOST_NEW };
    for name in agreement.new.iter().take(shown) {
        println!("         new: {name}");
    }
    if agreement.new.len() > shown {
        println!("         and {} more; --undescribed names all", agreement.new.len() - shown);
    }
    for different in &agreement.different {
        eprintln!("error: {} differs from the stored facts: {different}", table.arch);
    }
    agreement.different.is_empty()
}
