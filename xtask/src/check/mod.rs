//! Checks the consistency of the description: the rules that concern more than one node of the
//! YAML.
//!
//! One file for each kind of rule. A rule looks at the whole [`Document`] and adds what it finds to
//! a report, in which the same fault of several releases or architectures becomes one diagnostic.
//! No rule needs another to have passed.

mod commands;
mod duplicates;
mod encodings;
mod fields;
mod heads;
mod names;
mod references;
mod report;
mod sizes;
mod snapshots;
mod values;

use crate::diagnostic::Diagnostic;
use crate::document::{
    ArchId, ArchSet, Availability, Document, Field, FieldUse, File, Head, Manifest, PerArch,
    Struct, StructKind,
};
use crate::layout::{Layouts, Symbols};
use crate::yaml::{Place, Step};

/// What every rule looks at.
struct Context<'d> {
    document: &'d Document,
    layouts: &'d Layouts<'d>,
}

impl<'d> Context<'d> {
    fn manifest(&self) -> &'d Manifest {
        &self.document.manifest
    }

    fn symbols(&self) -> &Symbols<'d> {
        self.layouts.symbols()
    }
}

/// Returns all errors in `document`.
#[must_use]
pub fn run(document: &Document) -> Vec<Diagnostic> {
    run_with(document, &Layouts::new(document))
}

/// Does the same as [`run`], with layouts that the caller continues to use.
#[must_use]
pub fn run_with<'d>(document: &'d Document, layouts: &'d Layouts<'d>) -> Vec<Diagnostic> {
    let context = Context { document, layouts };
    let mut report = report::Report::new(&document.manifest);
    let rules = [
        names::identifiers,
        heads::docs,
        heads::check,
        duplicates::check,
        names::check,
        references::check,
        references::aliases,
        sizes::per_arch,
        values::check,
        values::words,
        encodings::check,
        fields::check,
        commands::arguments,
        fields::atomics,
        snapshots::check,
        commands::check,
        sizes::check,
    ];
    for rule in rules {
        rule(&context, &mut report);
    }
    report.finish()
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Type,
    Constant,
    Enumeration,
    Word,
    Encoding,
    Value,
    BitField,
    BitValue,
    Variant,
    Block,
    Argument,
    Field,
    Padding,
    Command,
}

/// An item of any kind.
#[derive(Clone, Copy, Debug)]
struct Named<'d> {
    kind: Kind,
    head: &'d Head,
}

/// Returns every item, inner ones after the one that holds them.
fn items(document: &Document) -> Vec<Named<'_>> {
    let mut all = Vec::new();
    for file in &document.files {
        items_of(file, |kind, head| all.push(Named { kind, head }));
    }
    all
}

fn items_of<'d>(file: &'d File, mut found: impl FnMut(Kind, &'d Head)) {
    for item in &file.types {
        found(Kind::Type, &item.head);
    }
    for item in &file.constants {
        found(Kind::Constant, &item.head);
    }
    file.strings.iter().for_each(|item| found(Kind::Constant, &item.head));
    for item in &file.enumerations {
        found(Kind::Enumeration, &item.head);
        item.values.iter().for_each(|value| found(Kind::Value, &value.head));
    }
    for item in &file.words {
        found(Kind::Word, &item.head);
        for field in &item.fields {
            found(Kind::BitField, &field.head);
            field.values.iter().for_each(|value| found(Kind::BitValue, &value.head));
        }
    }
    for item in &file.encodings {
        found(Kind::Encoding, &item.head);
        item.variants.iter().for_each(|variant| found(Kind::Variant, &variant.head));
    }
    for item in &file.structs {
        found(
            if item.kind == StructKind::Block { Kind::Block } else { Kind::Argument },
            &item.head,
        );
        for field in fields(&item.fields) {
            found(
                if field.use_ == FieldUse::Reserved { Kind::Padding } else { Kind::Field },
                &field.head,
            );
        }
    }
    for set in &file.commands {
        set.list.iter().for_each(|command| found(Kind::Command, &command.head));
    }
}

/// Returns every struct of the description.
fn structs(document: &Document) -> impl Iterator<Item = &Struct> {
    document.files.iter().flat_map(|file| &file.structs)
}

/// Returns the fields and all that lies in them, in the order of the text.
fn fields(outer: &[Field]) -> Vec<&Field> {
    let mut all = Vec::new();
    let mut rest: Vec<&Field> = outer.iter().rev().collect();
    while let Some(field) = rest.pop() {
        all.push(field);
        rest.extend(field.members().iter().rev());
    }
    all
}

/// Returns whether the one exists wherever the other does.
fn covers(outer: Availability, inner: Availability) -> bool {
    let releases = outer.releases.since <= inner.releases.since
        && inner.releases.until <= outer.releases.until;
    releases && outer.archs.and(inner.archs) == inner.archs
}

/// Where an item's name is written: the key in a mapping of items, the value of `name` in a list.
fn name_of(head: &Head) -> Place {
    name_at(&head.place)
}

/// Where the name of the item at `place` is written.
fn name_at(place: &Place) -> Place {
    match place.steps.last() {
        Some(Step::Item(_)) => place.key("name"),
        _ => place.as_key(),
    }
}

/// Returns each value of something that may differ by architecture, with the availability and the
/// text that belong to it. Values for architectures on which the item does not exist are left out.
fn spread<'v, T>(
    value: &'v PerArch<T>,
    availability: Availability,
    place: &Place,
    manifest: &Manifest,
) -> Vec<(&'v T, Availability, Place)> {
    match value {
        PerArch::Same(value) => vec![(value, availability, place.clone())],
        PerArch::Each(values) => {
            let here = values.iter().filter(|(arch, _)| availability.archs.contains(**arch));
            here.map(|(arch, value)| {
                (value, narrowed(availability, *arch), place.key(&manifest.arch(*arch).name))
            })
            .collect()
        }
    }
}

/// Where the value for `arch` is written.
fn for_arch<T>(value: &PerArch<T>, arch: ArchId, place: &Place, manifest: &Manifest) -> Place {
    match value {
        PerArch::Each(values) if values.contains_key(&arch) => place.key(&manifest.arch(arch).name),
        _ => place.clone(),
    }
}

fn narrowed(availability: Availability, arch: ArchId) -> Availability {
    Availability { archs: availability.archs.and(ArchSet::from_iter([arch])), ..availability }
}
