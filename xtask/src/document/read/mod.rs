//! From the YAML to the document: what a node of the text shows by itself is judged here, and
//! everything else by `check`.
//!
//! All errors of all files are collected. Where a part had to be left out of the document there is
//! none, because later steps would only report the consequences; what can be replaced (a text, an
//! unknown access) is, and later steps see the rest.

mod commands;
mod context;
mod head;
mod manifest;
mod node;
mod structs;
#[cfg(test)]
mod tests;
mod text;
mod typerefs;
mod types;

use crate::diagnostic::Diagnostic;
use crate::document::{Document, File, StructKind, language};
use crate::yaml::{self, SourceText, Sources, Tree};
use context::{Context, Errors, Keys, listed};
use head::{Outer, doc, optional_text};
use node::At;

/// Returns the document, unless a part of it had to be left out, and everything that is wrong with
/// the text.
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
        let files =
            manifest.files.iter().filter_map(|name| file(&context, &root(name)?, name)).collect();
        Some(Document { manifest, files })
    });
    let (errors, complete) = errors.into_parts();
    (document.filter(|_| complete), errors)
}

/// Returns the file as YAML; what is wrong with it as such is reported.
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

/// The sections whose items have their names in a mapping or in the item.
fn file(context: &Context<'_>, at: &At<'_>, name: &str) -> Option<File> {
    let keys = Keys::open(context.errors, at, &language::FILE)?;
    let doc = doc(context, &keys, false);
    let header = optional_text(context, &keys, "header").unwrap_or_else(|| {
        if !keys.has("header") {
            keys.missing(context.errors, "header", "name the upstream header, such as `xen.h`");
        }
        String::new()
    });
    let feature = keys
        .get("feature")
        .and_then(|at| context.errors.need(at.choice("a feature", &language::FEATURES)))
        .map(str::to_owned);
    let outer = Outer::file(context.manifest, &header);
    let file = File {
        name: name.to_owned(),
        doc,
        feature,
        types: named(context, &keys, "types", |at, name| types::alias(context, at, name, &outer)),
        constants: listed(context, &keys, "constants", |at| types::constant(context, at, &outer)),
        strings: listed(context, &keys, "strings", |at| types::string(context, at, &outer)),
        enumerations: named(context, &keys, "enumerations", |at, name| {
            types::enumeration(context, at, name, &outer)
        }),
        words: named(context, &keys, "words", |at, name| types::word(context, at, name, &outer)),
        encodings: named(context, &keys, "encodings", |at, name| {
            types::encoding(context, at, name, &outer)
        }),
        conventions: named(context, &keys, "conventions", |at, name| {
            commands::convention(context, at, name)
        }),
        structs: all_structs(context, &keys, &outer),
        commands: named(context, &keys, "commands", |at, name| {
            commands::set(context, at, name, &outer)
        }),
    };
    Some(file)
}

/// Blocks and arguments, the section that comes first in the file first.
fn all_structs(
    context: &Context<'_>,
    keys: &Keys<'_>,
    outer: &Outer,
) -> Vec<crate::document::Struct> {
    let section = |key, kind| {
        named(context, keys, key, |at, name| structs::struct_(context, at, name, kind, outer))
    };
    let start = |key| keys.get(key).map_or(usize::MAX, |at| at.node.span.start);
    let blocks_first = start("blocks") <= start("arguments");
    let (blocks, arguments) =
        (section("blocks", StructKind::Block), section("arguments", StructKind::Argument));
    let (mut first, second) = if blocks_first { (blocks, arguments) } else { (arguments, blocks) };
    first.extend(second);
    first
}

/// A section whose items are the values of a mapping.
fn named<T>(
    context: &Context<'_>,
    keys: &Keys<'_>,
    section: &'static str,
    one: impl Fn(&At<'_>, &str) -> Option<T>,
) -> Vec<T> {
    let Some(at) = keys.get(section) else { return Vec::new() };
    let Some(mapping) = context.errors.need(at.mapping("a mapping from names to items")) else {
        return Vec::new();
    };
    mapping.entries.iter().filter_map(|entry| one(&at.entry(entry), &entry.key)).collect()
}
