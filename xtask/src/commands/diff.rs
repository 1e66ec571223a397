//! `cargo xtask diff`: shows the changes between two states of the ABI.

use super::facts::{Compilers, measure_quietly};
use super::{FACTS, finish, workspace_root};
use crate::document::{self, Document, Release, ReleaseId};
use crate::headers::diff::{self, Consequence, State, show};
use crate::headers::facts::{Facts, Table};
use crate::headers::{store, verify};
use crate::yaml::{self, Sources};
use std::cell::LazyCell;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The arguments of `cargo xtask diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A state is
  4.13            a release of the description
  git:REVISION    the description of a git revision
  .               the description as it is now
  headers:DIR     a tree of public headers, measured now
  facts:DIR       a folder of kept facts, at its newest release; facts:DIR@4.13 at another

A release that is compared with headers or facts is taken from the kept facts.

Examples:
  cargo xtask diff 4.19 4.20
  cargo xtask diff git:HEAD~3 . --fail-on breaking
  cargo xtask diff 4.20 headers:../xen --format markdown")]
pub struct Arguments {
    /// The state before.
    from: String,
    /// The state after.
    to: String,
    /// How to print the changes.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with 1 if a change has this consequence or a worse one.
    #[arg(long, value_enum, value_name = "CONSEQUENCE")]
    fail_on: Option<FailOn>,
    #[command(flatten)]
    compilers: Compilers,
}

/// How to print the changes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

/// The consequences with which the command fails.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FailOn {
    RuntimeCheck,
    Breaking,
}

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(diff(arguments))
}

fn diff(arguments: &Arguments) -> Result<bool, String> {
    let names = [&arguments.from, &arguments.to];
    let described = names.iter().all(|name| is_described(name));
    let current = LazyCell::new(|| {
        let sources = yaml::load(&workspace_root().join("abi-yaml"));
        read(&sources.map_err(|error| error.to_string())?)
    });
    if let Some([from, to]) = releases(&names) {
        // Of one description, only what differs between the releases is looked at.
        let document = current.as_ref().map_err(Clone::clone)?;
        let ids = [release_id(document, from)?, release_id(document, to)?];
        let tables = verify::different(document, ids[0], ids[1]);
        let [from, to] = tables.map(|tables| {
            let label = tables.first().map_or(String::new(), |table| table.release.to_string());
            State { label, tables, parameters: diff::parameters(document) }
        });
        return Ok(conclude(&from, &to, arguments));
    }
    let mut states =
        names.iter().map(|name| state(name, described, &current, &arguments.compilers));
    let (from, to) = (states.next().transpose()?, states.next().transpose()?);
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    Ok(conclude(&from, &to, arguments))
}

/// Returns the releases, if both names are releases.
fn releases(names: &[&String; 2]) -> Option<[Release; 2]> {
    Some([names[0].parse().ok()?, names[1].parse().ok()?])
}

fn release_id(document: &Document, release: Release) -> Result<ReleaseId, String> {
    let id = document.manifest.find_release(release);
    id.ok_or_else(|| format!("the manifest has no release {release}"))
}

/// Prints the changes. Returns whether their consequences are allowed.
fn conclude(from: &State, to: &State, arguments: &Arguments) -> bool {
    let changes = diff::compare(from, to);
    let show = match arguments.format {
        Format::Text => show::text,
        Format::Markdown => show::markdown,
        Format::Json => show::json,
    };
    print!("{}", show(from, to, &changes));
    let limit = arguments.fail_on.map(|limit| match limit {
        FailOn::RuntimeCheck => Consequence::RuntimeCheck,
        FailOn::Breaking => Consequence::Breaking,
    });
    limit.is_none_or(|limit| changes.iter().all(|change| change.consequence < limit))
}

fn is_described(name: &str) -> bool {
    !name.starts_with("headers:") && !name.starts_with("facts:")
}

/// Returns the state that a name means; a release comes from the description if both states do.
fn state<F: FnOnce() -> Result<Document, String>>(
    name: &str,
    described: bool,
    current: &LazyCell<Result<Document, String>, F>,
    compilers: &Compilers,
) -> Result<State, String> {
    let current = || LazyCell::force(current).as_ref().map_err(Clone::clone);
    let (tables, parameters) = if let Some(revision) = name.strip_prefix("git:") {
        let document = read(&at_revision(revision)?).map_err(|why| format!("{name}: {why}"))?;
        (verify::newest(&document), diff::parameters(&document))
    } else if name == "." {
        let document = current()?;
        (verify::newest(document), diff::parameters(document))
    } else if let Some(headers) = name.strip_prefix("headers:") {
        let measured = measure_quietly(Path::new(headers), compilers)?;
        let unknown = Release { major: 0, minor: 0 };
        let tables =
            measured.into_iter().map(|(arch, measured)| measured.into_table(unknown, arch));
        (tables.collect(), diff::parameters(current()?))
    } else if let Some(facts) = name.strip_prefix("facts:") {
        let (folder, release) = match facts.rsplit_once('@') {
            Some((folder, release)) => (folder, Some(super::parse_release(release)?)),
            None => (facts, None),
        };
        let facts = store::load(Path::new(folder)).map_err(|error| error.to_string())?;
        let newest = facts.grid.releases.last().map(|(release, _)| *release);
        let release = release.or(newest).ok_or("there are no facts in it")?;
        (of_release(&facts, release)?, diff::parameters(current()?))
    } else {
        let release = name.parse().map_err(|()| {
            format!(
                "expected a release such as 4.17, git:REVISION, `.`, headers:DIR or facts:DIR, \
                 found `{name}`"
            )
        })?;
        let document = current()?;
        let id = release_id(document, release)?;
        let tables = if described {
            verify::tables(document, id)
        } else {
            let facts = store::load(&workspace_root().join(FACTS));
            of_release(&facts.map_err(|error| error.to_string())?, release)?
        };
        (tables, diff::parameters(document))
    };
    Ok(State { label: name.to_owned(), tables, parameters })
}

fn of_release(facts: &Facts, release: Release) -> Result<Vec<Table>, String> {
    let archs = facts.grid.archs.iter();
    let cells = archs.filter_map(|arch| facts.grid.find(release, arch));
    let tables: Vec<Table> = cells.map(|cell| facts.table(cell)).collect();
    if tables.is_empty() { Err(format!("there are no facts of Xen {release}")) } else { Ok(tables) }
}

/// Reads a description. Only reports the number of its errors, because `regen` shows them.
fn read(sources: &Sources) -> Result<Document, String> {
    match document::read(sources) {
        (Some(document), wrong) if wrong.is_empty() => Ok(document),
        (_, wrong) => {
            let first = wrong.first().map_or("", |wrong| wrong.message.as_str());
            Err(format!("{} errors in the description, first: {first}", wrong.len()))
        }
    }
}

/// Returns the description of a git revision.
fn at_revision(revision: &str) -> Result<Sources, String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(workspace_root()).args(arguments).output();
        let output = output.map_err(|error| format!("cannot run git: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    };
    // Git would read a text that starts with a dash as an option.
    if revision.starts_with('-') {
        return Err(format!("expected a git revision, found `{revision}`"));
    }
    let listed = git(&["ls-tree", "--name-only", revision, "abi-yaml/"])?;
    let mut texts = Vec::new();
    for path in listed.lines().filter(|path| path.ends_with(".yaml")) {
        let name = path.trim_start_matches("abi-yaml/").trim_end_matches(".yaml").to_owned();
        texts.push((name, git(&["show", &format!("{revision}:{path}")])?));
    }
    texts.sort_by_key(|(name, _)| name != "manifest");
    Ok(Sources::from_texts(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))))
}
