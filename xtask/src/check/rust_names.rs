//! Names that differ in the description must differ once they are written as Rust writes them.

use super::Context;
use super::places::{name_at, name_of};
use super::report::Report;
use super::unique::Unique;
use super::walk::members;
use crate::document::{Availability, Field, File, Head, Place, Struct};

/// Modules that every generated file may have of its own.
const RESERVED: [&str; 3] = ["raw", "command", "layout"];

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for file in &context.document.files {
        types(context, report, file);
        let mut constants = Unique::with_verb("Rust constant", "become the");
        for item in &file.constants {
            constants.add(screaming(&item.head.name), &item.head.name, item.head.availability, name_of(&item.head));
        }
        constants.check(context, report);
        for item in &file.enumerations {
            list(context, report, item.values.iter().map(|value| &value.head), screaming);
        }
        for item in &file.words {
            list(context, report, item.fields.iter().map(|field| &field.head), screaming);
            for field in &item.fields {
                list(context, report, field.values.iter().map(|value| &value.head), screaming);
            }
        }
        for item in &file.encodings {
            list(context, report, item.variants.iter().map(|variant| &variant.head), pascal);
        }
        for set in &file.commands {
            list(context, report, set.list.iter().map(|command| &command.head), pascal);
        }
        for item in &file.structs {
            list(context, report, item.fields.iter().map(|field| &field.head), snake);
        }
    }
}

/// The types and modules of a generated file.
fn types(context: &Context<'_>, report: &mut Report<'_>, file: &File) {
    let mut names = Unique::with_verb("Rust item", "become the");
    let mut add = |key: String, name, availability, place| names.add(key, name, availability, place);
    let heads = file.types.iter().map(|item| &item.head).chain(file.enumerations.iter().map(|item| &item.head));
    for head in heads {
        add(pascal(&head.name), &head.name, head.availability, name_of(head));
    }
    for item in &file.encodings {
        let head = &item.head;
        add(pascal(&head.name), &head.name, head.availability, name_of(head));
        add(pascal(&head.name) + "Variant", &head.name, head.availability, name_of(head));
    }
    for item in &file.structs {
        add(pascal(&item.head.name), &item.head.name, item.head.availability, name_of(&item.head));
        of_struct(item, &mut add);
    }
    for name in RESERVED {
        add(name.to_owned(), name, everywhere(context), Place::root(&file.name));
    }
    for item in &file.words {
        add(snake(&item.head.name), &item.head.name, item.head.availability, name_of(&item.head));
    }
    names.check(context, report);
}

/// The types that are made of the inside of a struct: unions, inner structs, snapshots.
fn of_struct<'d>(item: &'d Struct, add: &mut impl FnMut(String, &'d str, Availability, Place)) {
    let own = pascal(&item.head.name);
    for snapshot in &item.snapshots {
        add(own.clone() + &pascal(&snapshot.name), &snapshot.name, item.head.availability, name_at(&snapshot.place));
    }
    let mut rest: Vec<(String, &Field)> = item.fields.iter().rev().map(|field| (own.clone(), field)).collect();
    while let Some((outer, field)) = rest.pop() {
        let inner = members(field);
        if !inner.is_empty() && outer.len() < 1000 {
            let own = outer + &pascal(&field.head.name);
            rest.extend(inner.iter().rev().map(|member| (own.clone(), member)));
            add(own, &field.head.name, field.head.availability, name_of(&field.head));
        }
    }
}

/// Names that differ in the description; those that do not are told of by another rule.
fn list<'d>(context: &Context<'_>, report: &mut Report<'_>, heads: impl Iterator<Item = &'d Head>, case: fn(&str) -> String) {
    let mut unique = Unique::with_verb("Rust name", "become the");
    for head in heads {
        unique.add(case(&head.name), &head.name, head.availability, name_of(head));
    }
    unique.check(context, report);
}

fn everywhere(context: &Context<'_>) -> Availability {
    let manifest = context.manifest();
    Availability { releases: manifest.all_releases(), honoured_since: None, archs: manifest.all_archs() }
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.strip_suffix("_t").unwrap_or(name).split('_').filter(|word| !word.is_empty())
}

fn pascal(name: &str) -> String {
    words(name)
        .flat_map(|word| {
            word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1).map(|c| c.to_ascii_lowercase()))
        })
        .collect()
}

fn screaming(name: &str) -> String {
    name.to_ascii_uppercase()
}

fn snake(name: &str) -> String {
    name.to_ascii_lowercase()
}
