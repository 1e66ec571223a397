//! Symbols that differ in the description must differ once they are written as Rust writes them.

use super::Context;
use super::places::{name_at, name_of};
use super::report::{Report, fault};
use super::unique::Unique;
use super::walk::members;
use crate::document::{
    Access, Availability, Field, FieldUse, File, Head, Struct, StructKind, VariantKind,
};
use crate::naming::{CONSTANT, FIELD, MODULE, Rule, TYPE, VARIANT, VARIANTS};
use crate::yaml::Place;

/// Modules that every generated file may have of its own, and what it uses of Rust by short names.
const RESERVED: [&str; 10] =
    ["raw", "command", "layout", "Default", "Err", "None", "Ok", "Option", "Result", "Some"];

/// Modules of the crate that are written by hand, and the one that holds the generated ones.
const BY_HAND: [&str; 5] = ["access", "command", "generated", "release", "tests"];

/// Methods that every block has.
const OF_BLOCKS: [&str; 2] = ["from_ptr", "as_ptr"];

/// Methods that every encoding has.
const OF_ENCODINGS: [&str; 3] = ["encode", "decode", "variant"];

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    modules(context, report);
    for file in &context.document.files {
        types(context, report, file);
        let mut constants = Unique::with_verb("Rust constant", "become the");
        for item in &file.constants {
            constants.add(
                CONSTANT.name(&item.head.name),
                &item.head.name,
                item.head.availability,
                name_of(&item.head),
            );
        }
        constants.check(context, report);
        for item in &file.enumerations {
            list(context, report, item.values.iter().map(|value| &value.head), CONSTANT);
        }
        for item in &file.words {
            list(context, report, item.fields.iter().map(|field| &field.head), CONSTANT);
            for field in &item.fields {
                list(context, report, field.values.iter().map(|value| &value.head), CONSTANT);
            }
        }
        for item in &file.encodings {
            list(context, report, item.variants.iter().map(|variant| &variant.head), VARIANT);
            for variant in item
                .variants
                .iter()
                .filter(|variant| matches!(variant.kind, VariantKind::Fields { .. }))
            {
                own_method(report, &FIELD.name(&variant.head.name), &OF_ENCODINGS, || {
                    name_of(&variant.head)
                });
            }
        }
        for set in &file.commands {
            list(context, report, set.list.iter().map(|command| &command.head), TYPE);
        }
        for item in &file.structs {
            list(context, report, item.fields.iter().map(|field| &field.head), FIELD);
            methods(report, item);
        }
    }
}

/// The generated files, which are modules of the crate beside those written by hand.
fn modules(context: &Context<'_>, report: &mut Report<'_>) {
    let mut names = Unique::with_verb("module", "become the");
    for file in &context.document.files {
        let name = MODULE.name(&file.name);
        if BY_HAND.contains(&name.as_str()) {
            let found = fault(
                Place::root(&file.name),
                format!("the crate has a module `{name}` already, which is written by hand"),
            );
            report.add(found.help("give the file another name"));
        }
        names.add(name, &file.name, everywhere(context), Place::root(&file.name));
    }
    names.check(context, report);
}

/// The methods of a block's handle: of each register and of each snapshot. That they differ from
/// one another is another rule.
fn methods(report: &mut Report<'_>, item: &Struct) {
    if item.kind != StructKind::Block {
        return;
    }
    for snapshot in &item.snapshots {
        own_method(report, &FIELD.name(&snapshot.name), &OF_BLOCKS, || name_at(&snapshot.place));
    }
    for field in item.fields.iter().filter(|field| has_method(field)) {
        own_method(report, &FIELD.name(&field.head.name), &OF_BLOCKS, || name_of(&field.head));
    }
}

/// A name that would be that of a method which everything of its kind has.
fn own_method(report: &mut Report<'_>, name: &str, own: &[&str], place: impl Fn() -> Place) {
    if own.contains(&name) {
        let found = fault(
            place(),
            format!("`{name}` is the name of a method that the generated type has already"),
        );
        report.add(
            found.help(format!(
                "choose another name, such as `{name}_`, and give C's name with `c`"
            )),
        );
    }
}

fn has_method(field: &Field) -> bool {
    !matches!(
        field.use_,
        FieldUse::Access(Access::Versioned | Access::Counter) | FieldUse::Reserved
    )
}

/// The types and modules of a generated file.
fn types(context: &Context<'_>, report: &mut Report<'_>, file: &File) {
    let mut names = Unique::with_verb("Rust item", "become the");
    let mut add =
        |key: String, name, availability, place| names.add(key, name, availability, place);
    let heads = file
        .types
        .iter()
        .map(|item| &item.head)
        .chain(file.enumerations.iter().map(|item| &item.head));
    for head in heads {
        add(TYPE.name(&head.name), &head.name, head.availability, name_of(head));
    }
    for item in &file.encodings {
        let head = &item.head;
        add(TYPE.name(&head.name), &head.name, head.availability, name_of(head));
        add(VARIANTS.name(&head.name), &head.name, head.availability, name_of(head));
    }
    for item in &file.structs {
        add(
            TYPE.name(&item.head.name),
            &item.head.name,
            item.head.availability,
            name_of(&item.head),
        );
        of_struct(item, &mut add);
    }
    for name in RESERVED {
        add(name.to_owned(), name, everywhere(context), Place::root(&file.name));
    }
    for item in &file.words {
        add(
            MODULE.name(&item.head.name),
            &item.head.name,
            item.head.availability,
            name_of(&item.head),
        );
    }
    names.check(context, report);
}

/// The types that are made of the inside of a struct: unions, inner structs, snapshots.
fn of_struct<'d>(item: &'d Struct, add: &mut impl FnMut(String, &'d str, Availability, Place)) {
    let own = TYPE.name(&item.head.name);
    for snapshot in &item.snapshots {
        add(
            own.clone() + &TYPE.name(&snapshot.name),
            &snapshot.name,
            item.head.availability,
            name_at(&snapshot.place),
        );
    }
    let mut rest: Vec<(String, &Field)> =
        item.fields.iter().rev().map(|field| (own.clone(), field)).collect();
    while let Some((outer, field)) = rest.pop() {
        let inner = members(field);
        if !inner.is_empty() && outer.len() < 1000 {
            let own = outer + &TYPE.name(&field.head.name);
            rest.extend(inner.iter().rev().map(|member| (own.clone(), member)));
            add(own, &field.head.name, field.head.availability, name_of(&field.head));
        }
    }
}

/// Symbols that differ in the description; those that do not are told of by another rule.
fn list<'d>(
    context: &Context<'_>,
    report: &mut Report<'_>,
    heads: impl Iterator<Item = &'d Head>,
    rule: Rule,
) {
    let mut unique = Unique::with_verb("Rust name", "become the");
    for head in heads {
        unique.add(rule.name(&head.name), &head.name, head.availability, name_of(head));
    }
    unique.check(context, report);
}

fn everywhere(context: &Context<'_>) -> Availability {
    let manifest = context.manifest();
    Availability {
        releases: manifest.all_releases(),
        honoured_since: None,
        archs: manifest.all_archs(),
    }
}
