//! `cargo xtask bump`: brings a new release into the description.

use super::facts::{Compilers, measure_all, put_together};
use super::{finish, workspace_root};
use crate::document::{self, Release};
use crate::headers::bump::{self, Proposal};
use crate::headers::compiler::TARGETS;
use crate::headers::facts::{Facts, Table};
use crate::headers::store;
use crate::headers::tree::Tree;
use crate::headers::verify::{self, Rules};
use crate::yaml;
use similar::TextDiff;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `cargo xtask bump`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The headers are measured for each architecture that has a compiler. Mechanical changes are written \
into the YAML files, with comments and layout as they were; what a person must decide stands under \
the key `judge`, which `cargo xtask regen` refuses with its place.

Examples:
  cargo xtask bump --headers ../xen --release 4.23 --dry-run
  cargo xtask bump --headers ../xen --release 4.23
  cargo xtask bump --facts ../measured --release 4.23 # without a compiler")]
pub struct Arguments {
    /// The folder of public headers, or Xen's sources.
    #[arg(long, value_name = "DIR", required_unless_present = "facts")]
    headers: Option<PathBuf>,
    /// A folder of facts that were measured elsewhere, instead of headers.
    #[arg(long, value_name = "DIR", conflicts_with = "headers")]
    facts: Option<PathBuf>,
    /// The release of the headers, after those of the manifest.
    #[arg(long, value_parser = super::parse_release)]
    release: Release,
    /// Write nothing; print the patch.
    #[arg(long)]
    dry_run: bool,
    /// The folder of the description.
    #[arg(long, value_name = "DIR")]
    abi: Option<PathBuf>,
    #[command(flatten)]
    compilers: Compilers,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(bump(arguments))
}

fn bump(arguments: &Arguments) -> Result<bool, String> {
    let abi = arguments.abi.clone().unwrap_or_else(|| workspace_root().join("abi-yaml"));
    let release = arguments.release;
    if let Some(headers) = &arguments.headers {
        Tree::find(headers).map_err(|error| error.to_string())?;
    }
    let sources = yaml::load(&abi).map_err(|error| error.to_string())?;
    let (document, wrong) = document::read(&sources);
    let document = match document {
        Some(document) if document.manifest.find_release(release).is_some() => {
            println!("bump: the manifest has {release}; nothing changes");
            return Ok(true);
        }
        Some(document) if wrong.is_empty() => document,
        _ => return Err("the description has errors; run `cargo xtask regen`".to_owned()),
    };
    let newest = document.manifest.release(document.manifest.newest());
    if release < newest {
        return Err(format!("expected a release after {newest}, found {release}"));
    }
    let new = tables(arguments)?;
    let kept = store::load(&abi.join("facts")).map_err(|error| error.to_string())?;
    let mut tables: Vec<Table> =
        kept.tables().into_iter().filter(|table| table.release != release).collect();
    tables.extend(new);
    let facts = put_together(&tables)?;
    let rules = abi.join("facts").join(verify::FILE);
    let rules = match fs::read_to_string(&rules) {
        Ok(text) => Rules::read(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Rules::default(),
        Err(error) => return Err(format!("{}: {error}", rules.display())),
    };
    let proposal = bump::propose(&sources, &document, &facts, &rules, release)?;
    if arguments.dry_run {
        for (name, text) in &proposal.texts {
            let old = sources.find(name).map_or("", |file| file.text.as_str());
            let diff = TextDiff::from_lines(old, text.as_str());
            let file = format!("abi-yaml/{name}.yaml");
            print!("{}", diff.unified_diff().context_radius(2).header(&file, &file));
        }
    } else {
        write(&abi, &proposal, &facts)?;
    }
    report(&proposal);
    Ok(true)
}

/// Returns the tables of the new release, from the headers or from other facts.
fn tables(arguments: &Arguments) -> Result<Vec<Table>, String> {
    let Arguments { headers, facts, release, compilers, .. } = arguments;
    let folder = match (headers, facts) {
        (Some(headers), _) => {
            let measured = measure_all(headers, compilers)?.into_iter();
            return Ok(measured.map(|(arch, of)| of.into_table(*release, arch)).collect());
        }
        (None, Some(folder)) => folder,
        (None, None) => return Err("expected `--headers` or `--facts`".to_owned()),
    };
    let facts = store::load(folder).map_err(|error| error.to_string())?.of_release(*release);
    let mut tables = facts.tables();
    tables.retain(|table| compilers.wants(&table.arch));
    for target in TARGETS.iter().filter(|target| compilers.wants(target.arch)) {
        if !tables.iter().any(|table| table.arch == target.arch) {
            println!("skipped: {} has no facts for {}", folder.display(), target.arch);
        }
    }
    if tables.is_empty() {
        return Err(format!("{}: there are no facts of Xen {release}", folder.display()));
    }
    Ok(tables)
}

fn report(proposal: &Proposal) {
    println!("done:");
    proposal.done.iter().for_each(|line| println!("  {line}"));
    if !proposal.left.is_empty() {
        println!("to decide by hand:");
        proposal.left.iter().for_each(|line| println!("  {line}"));
    }
    println!(
        "next: decide what stands under `judge` and remove the key, then `cargo xtask verify` and \
         `cargo xtask regen`"
    );
}

/// Writes everything into a copy of the folder, and exchanges the two in one step. After an
/// interruption, the folder is either unchanged or complete.
fn write(abi: &Path, proposal: &Proposal, facts: &Facts) -> Result<(), String> {
    // Its true path: `.` has no name, and an exchange would replace a link.
    let abi = &abi.canonicalize().map_err(|error| format!("{}: {error}", abi.display()))?;
    let name = abi.file_name().ok_or_else(|| format!("{}: expected a name", abi.display()))?;
    let staged = abi.with_file_name(format!(".{}.bump", name.display()));
    let wrong = |error: std::io::Error| format!("{}: {error}", staged.display());
    if staged.exists() {
        fs::remove_dir_all(&staged).map_err(wrong)?;
    }
    copy(abi, &staged).map_err(wrong)?;
    for (name, text) in &proposal.texts {
        fs::write(staged.join(format!("{name}.yaml")), text).map_err(wrong)?;
    }
    store::save(facts, &staged.join("facts")).map_err(|error| error.to_string())?;
    let exchange = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
    let here = nix::fcntl::AT_FDCWD;
    nix::fcntl::renameat2(here, abi, here, &staged, exchange)
        .map_err(|error| format!("{}: {error}", abi.display()))?;
    fs::remove_dir_all(&staged).map_err(wrong)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
