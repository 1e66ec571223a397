//! Brings the generated folder up to date: everything is known before anything is written.
//!
//! [`Plan::new`] compares what was rendered with what is on the disk, [`apply()`] carries the plan
//! out, and [`diff`] shows it.

mod apply;
mod diff;
mod lock;
mod plan;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use diff::diff;
pub use lock::Lock;
pub use plan::{Change, Plan};

use crate::check;
use crate::diagnostic::Diagnostic;
use crate::parse;
use crate::render::{self, Generated};
use crate::resolve::Layouts;
use crate::source::{self, LoadError, Sources};
use std::path::{Path, PathBuf};

/// What a description becomes.
#[derive(Debug)]
pub struct Output {
    /// The files of the generated folder.
    pub files: Vec<Generated>,
    /// How many items of the description are in them.
    pub items: usize,
}

/// Why nothing was generated.
#[derive(Debug)]
pub enum Failure {
    /// There is no description.
    Load(LoadError),
    /// It is wrong.
    Wrong(Box<Sources>, Vec<Diagnostic>),
}

/// Why the generated folder could not be brought up to date.
#[derive(Debug)]
pub enum RegenError {
    /// The system refused to do something with a path.
    Io {
        /// What was to be done, as in "cannot read".
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file is in the way that somebody wrote by hand.
    Foreign(PathBuf),
    /// Something went wrong, and putting things back did so as well.
    NotUndone {
        /// What went wrong first.
        first: Box<RegenError>,
        /// What went wrong while the old files were put back.
        then: Box<RegenError>,
    },
}

impl RegenError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { what, path, error }
    }
}

impl std::fmt::Display for RegenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { what, path, error } => {
                write!(out, "cannot {what} `{}`: {error}", path.display())
            }
            Self::Foreign(path) => {
                write!(
                    out,
                    "`{}` was not made by `cargo xtask regen`, and so is not overwritten: move it away",
                    path.display()
                )
            }
            Self::NotUndone { first, then } => {
                write!(
                    out,
                    "{first}; and then, while the old files were put back: {then}; run `cargo xtask regen` once that is mended"
                )
            }
        }
    }
}

impl std::error::Error for RegenError {}

/// Reads, checks and renders the description in `folder`.
///
/// # Errors
/// When there is none, or it is wrong.
pub fn generate(folder: &Path) -> Result<Output, Failure> {
    generate_from(source::load(folder).map_err(Failure::Load)?)
}

/// Checks and renders a description that has been read.
///
/// # Errors
/// When it is wrong.
pub fn generate_from(sources: Sources) -> Result<Output, Failure> {
    let (document, mut wrong) = parse::document(&sources);
    let Some(document) = document else { return Err(Failure::Wrong(Box::new(sources), wrong)) };
    let layouts = Layouts::new(&document);
    wrong.extend(check::run_with(&document, &layouts));
    if !wrong.is_empty() {
        return Err(Failure::Wrong(Box::new(sources), wrong));
    }
    match render::render(&document, &layouts) {
        Ok(files) => Ok(Output { files, items: render::items(&document) }),
        Err(wrong) => Err(Failure::Wrong(Box::new(sources), wrong)),
    }
}
