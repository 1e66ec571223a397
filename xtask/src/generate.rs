//! Runs the generator's steps: from the folder of YAML files to the texts of Rust files.

use crate::check;
use crate::codegen::{self, Generated};
use crate::diagnostic::Diagnostic;
use crate::document::{self, Document};
use crate::layout::Layouts;
use crate::yaml::{self, LoadError, Sources};
use std::path::Path;

/// The output of the generator.
#[derive(Debug)]
pub struct Output {
    /// The files of the generated folder.
    pub files: Vec<Generated>,
    /// The number of items of the description.
    pub items: usize,
}

/// The reason why nothing was generated.
#[derive(Debug)]
pub enum Failure {
    /// The description cannot be loaded.
    Load(LoadError),
    /// The description has errors.
    Wrong(Box<Sources>, Vec<Diagnostic>),
}

/// Reads, checks and renders the description in `folder`.
///
/// # Errors
/// If the description cannot be loaded or has errors.
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

/// Checks a description that has been read, and passes it to `then`.
///
/// # Errors
/// If the description has errors, or `then` fails.
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
