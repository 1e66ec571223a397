//! From the YAML to the document: what a node of the text shows by itself is judged here, and
//! everything else by `check`.
//!
//! All errors of all files are collected. Where a part had to be left out of the document there is
//! none, because later steps would only report the consequences; what can be replaced (a text, an
//! unknown access) is, and later steps see the rest.

mod commands;
mod context;
mod file;
mod head;
mod keys;
mod manifest;
mod node;
mod structs;
#[cfg(test)]
mod tests;
mod text;
mod typerefs;
mod types;

use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::yaml::{self, SourceText, Sources, Tree};
use context::{Context, Errors};
use node::At;

/// The document, unless a part of it had to be left out, and everything that is wrong with the
/// text.
#[must_use]
pub fn document(sources: &Sources) -> (Option<Document>, Vec<Diagnostic>) {
    let errors = Errors::default();
    let trees: Vec<Option<Tree<'_>>> =
        sources.files.iter().map(|source| tree(source, &errors)).collect();
    let root = |name: &str| {
        let index = sources.files.iter().position(|source| source.name == name)?;
        Some(At::root(&sources.files[index].name, trees[index].as_ref()?.root.as_ref()?))
    };
    let document = root("manifest").and_then(|at| {
        let (manifest, places) = manifest::manifest(&errors, &at)?;
        manifest::compare(&errors, &manifest, &places, sources);
        let context = Context { errors: &errors, manifest: &manifest };
        let files = manifest
            .files
            .iter()
            .filter_map(|name| file::file(&context, &root(name)?, name))
            .collect();
        Some(Document { manifest, files })
    });
    let (errors, complete) = errors.into_parts();
    (document.filter(|_| complete), errors)
}

/// The file as YAML; what is wrong with it as such is reported.
fn tree<'s>(source: &'s SourceText, errors: &Errors) -> Option<Tree<'s>> {
    if let Some(fault) = &source.fault {
        errors.unreadable(source, fault);
        return None;
    }
    let tree = yaml::read(&source.text);
    for fault in &tree.faults {
        errors.fault(source, fault, tree.root.is_some());
    }
    Some(tree)
}
