//! The generator's steps in a row: from the folder of YAML files to the texts of Rust files.

use crate::check;
use crate::codegen::{self, Generated};
use crate::diagnostic::Diagnostic;
use crate::document::{self, Document};
use crate::layout::Layouts;
use crate::yaml::{self, LoadError, Sources};
use std::path::Path;

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

/// Reads, checks and renders the description in `folder`.
///
/// # Errors
/// When there is none, or it is wrong.
pub fn from_folder(folder: &Path) -> Result<Output, Failure> {
    from_sources(yaml::load(folder).map_err(Failure::Load)?)
}

/// Checks and renders a description that has been read.
///
/// # Errors
/// When it is wrong.
pub fn from_sources(sources: Sources) -> Result<Output, Failure> {
    checked(sources, |document, layouts| {
        let files = codegen::generate(document, layouts)?;
        Ok(Output { files, items: codegen::items(document) })
    })
}

/// Checks a description that has been read, and gives it to `then`.
///
/// # Errors
/// When it is wrong, or `then` fails.
pub fn checked<T>(
    sources: Sources,
    then: impl for<'d> FnOnce(&'d Document, &Layouts<'d>) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, Failure> {
    let (document, mut wrong) = document::read(&sources);
    let Some(document) = document else { return Err(Failure::Wrong(Box::new(sources), wrong)) };
    let layouts = Layouts::new(&document);
    wrong.extend(check::run_with(&document, &layouts));
    let made = if wrong.is_empty() { then(&document, &layouts) } else { Err(wrong) };
    made.map_err(|wrong| Failure::Wrong(Box::new(sources), wrong))
}
