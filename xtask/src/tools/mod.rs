//! Programs and files that are not part of the workspace: whether they are here, and which package
//! brings them.

pub mod known;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that a step needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What to call it in messages.
    pub name: &'static str,
    /// How it is recognised.
    pub probe: Probe,
    /// The Debian package that brings it, where one does.
    pub package: Option<&'static str>,
}

/// How a tool is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A program on the search path.
    Program(&'static str),
    /// A file or a folder at a fixed place.
    Path(&'static str),
    /// A file in `folder` whose name starts and ends so, such as `xen-4.17-amd64.gz`.
    Pattern {
        /// Where to look.
        folder: &'static str,
        /// What the name starts with.
        prefix: &'static str,
        /// What it ends with.
        suffix: &'static str,
    },
    /// A subcommand of cargo that answers `--version`.
    Cargo(&'static str),
}

impl Tool {
    /// Where the tool is, if it is here.
    #[must_use]
    pub fn find(&self) -> Option<PathBuf> {
        match self.probe {
            Probe::Program(name) => find_program(name),
            Probe::Path(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
            Probe::Pattern { folder, prefix, suffix } => {
                newest_match(Path::new(folder), prefix, suffix)
            }
            Probe::Cargo(name) => {
                let answer = Command::new("cargo").args([name, "--version"]).output().ok()?;
                answer.status.success().then(|| PathBuf::from("cargo"))
            }
        }
    }

    /// A sentence for somebody who lacks the tool.
    #[must_use]
    pub fn missing(&self) -> String {
        match self.package {
            Some(package) => {
                format!("{} is not here; `apt-get install {package}` brings it", self.name)
            }
            None => format!("{} is not here", self.name),
        }
    }
}

/// The first file of that name in the folders of `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Of the files in `folder` whose names match, the one that sorts last.
fn newest_match(folder: &Path, prefix: &str, suffix: &str) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with(prefix) && name.ends_with(suffix)).max()?;
    Some(folder.join(newest))
}
