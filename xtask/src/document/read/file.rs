//! A subject file.

use super::context::Context;
use super::head::{Outer, doc, optional_text};
use super::keys::{Keys, listed};
use super::node::At;
use super::{commands, structs, types};
use crate::document::{File, StructKind};

/// The sections whose items have their names in a mapping or in the item.
pub(super) fn file(context: &Context<'_>, at: &At<'_>, name: &str) -> Option<File> {
    let keys = Keys::open(context.errors, at, "a file's sections")?;
    let doc = doc(context, &keys, false);
    let header = optional_text(context, &keys, "header").unwrap_or_else(|| {
        if !keys.has("header") {
            context
                .errors
                .add(keys.missing("header").help("name the upstream header, such as `xen.h`"));
        }
        String::new()
    });
    let outer = Outer::file(context.manifest, &header);
    let file = File {
        name: name.to_owned(),
        doc,
        types: named(context, &keys, "types", |at, name| types::alias(context, at, name, &outer)),
        constants: listed(context, &keys, "constants", |at| types::constant(context, at, &outer)),
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
    keys.finish(context.errors);
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
