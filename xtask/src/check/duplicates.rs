//! Checks that names of the description, of C and of Rust, and numbers, are unique within a release
//! and an architecture.

use super::report::{Report, fault};
use super::{Context, Kind, Named, items, name_at, name_of, structs};
use crate::document::{Availability, Document, Field, Head, Shape, Struct, VariantKind};
use crate::yaml::Place;
use std::collections::HashMap;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let document = context.document;
    let items = items(document);
    let mut types = Unique::new("type");
    let mut constants = Unique::new("constant");
    for item in &items {
        match item.kind {
            Kind::Type
            | Kind::Enumeration
            | Kind::Word
            | Kind::Encoding
            | Kind::Block
            | Kind::Argument => types.add_head(item.head),
            Kind::Constant => constants.add_head(item.head),
            _ => {}
        }
    }
    types.check(context, report);
    constants.check(context, report);
    inside(context, report);
    command_sets(document, report);
    conventions(document, report);
    let mut c = Unique::with_verb("C constant", "have the name of the");
    items.iter().for_each(|item| c_constant(&mut c, item));
    c_of_bits(document, &mut c);
    c.check(context, report);
}

/// Symbols within an item.
fn inside(context: &Context<'_>, report: &mut Report<'_>) {
    for file in &context.document.files {
        for item in &file.enumerations {
            heads(context, report, "value", item.values.iter().map(|value| &value.head));
        }
        for item in &file.words {
            heads(context, report, "bit field", item.fields.iter().map(|field| &field.head));
            for field in &item.fields {
                heads(context, report, "value", field.values.iter().map(|value| &value.head));
            }
        }
        for item in &file.encodings {
            heads(context, report, "variant", item.variants.iter().map(|variant| &variant.head));
            for variant in &item.variants {
                let VariantKind::Fields { fields, .. } = &variant.kind else { continue };
                let mut unique = Unique::new("field");
                for field in fields {
                    unique.add(
                        field.name.clone(),
                        &field.name,
                        variant.head.availability,
                        name_at(&field.place),
                    );
                }
                unique.check(context, report);
            }
        }
        for set in &file.commands {
            heads(context, report, "command", set.list.iter().map(|command| &command.head));
        }
    }
    for item in structs(context.document) {
        let mut sequences = vec![item.fields.as_slice()];
        while let Some(sequence) = sequences.pop() {
            heads(context, report, "field", sequence.iter().map(|field| &field.head));
            sequences
                .extend(sequence.iter().map(Field::members).filter(|members| !members.is_empty()));
        }
        c_fields(context, report, item);
    }
}

fn heads<'d>(
    context: &Context<'_>,
    report: &mut Report<'_>,
    what: &'static str,
    heads: impl Iterator<Item = &'d Head>,
) {
    let mut unique = Unique::new(what);
    heads.for_each(|head| unique.add_head(head));
    unique.check(context, report);
}

/// C's names of the fields of a struct, among which stand those of an anonymous union.
fn c_fields(context: &Context<'_>, report: &mut Report<'_>, item: &Struct) {
    let mut unique = Unique::with_verb("C field", "have the name of the");
    let mut rest: Vec<&Field> = item.fields.iter().rev().collect();
    while let Some(field) = rest.pop() {
        match &field.shape {
            Shape::Union { members, anonymous: true } => rest.extend(members.iter().rev()),
            _ => unique.add_c(&field.head),
        }
    }
    unique.check(context, report);
}

fn command_sets(document: &Document, report: &mut Report<'_>) {
    let mut known = HashMap::new();
    for set in document.files.iter().flat_map(|file| &file.commands) {
        if let Some(first) = known.insert(&set.hypercall, &set.place) {
            let fault = fault(
                set.place.as_key(),
                format!("the commands of `{}` are listed twice", set.hypercall),
            )
            .label("again here");
            report.add(fault.related(first.as_key(), "first listed here"));
        }
    }
}

fn conventions(document: &Document, report: &mut Report<'_>) {
    let mut known = HashMap::new();
    for convention in document.files.iter().flat_map(|file| &file.conventions) {
        if let Some(first) = known.insert(convention.arch, &convention.place) {
            let name = &document.manifest.arch(convention.arch).name;
            let fault = fault(
                convention.place.as_key(),
                format!("the convention of {name} is described twice"),
            )
            .label("again here");
            report.add(fault.related(first.as_key(), "first described here"));
        }
    }
}

/// C's enumerators and macros share one set of names, over all headers.
fn c_constant<'d>(unique: &mut Unique<'d>, item: &Named<'d>) {
    if let Kind::Constant
    | Kind::Value
    | Kind::BitValue
    | Kind::Command
    | Kind::BitField
    | Kind::Variant = item.kind
    {
        unique.add_c(item.head);
    }
}

fn c_of_bits<'d>(document: &'d Document, unique: &mut Unique<'d>) {
    for field in document.files.iter().flat_map(|file| &file.words).flat_map(|word| &word.fields) {
        if let Some(name) = &field.index_c {
            unique.add(
                name.clone(),
                name,
                field.head.availability,
                field.head.place.key("index_c"),
            );
        }
    }
}

impl<'d> Unique<'d> {
    fn add_head(&mut self, head: &'d Head) {
        self.add(head.name.clone(), &head.name, head.availability, name_of(head));
    }

    /// C's name, from the release on whose headers have it.
    fn add_c(&mut self, head: &'d Head) {
        if let Some(name) = &head.c {
            let mut releases = head.availability.releases;
            releases.since = head.named_since.unwrap_or(releases.since).max(releases.since);
            self.add(
                name.clone(),
                name,
                Availability { releases, ..head.availability },
                name_of(head),
            );
        }
    }
}

/// Things that must have different keys wherever they exist together.
#[derive(Debug)]
pub(super) struct Unique<'d> {
    what: &'static str,
    verb: &'static str,
    order: Vec<String>,
    by_key: HashMap<String, Vec<Entry<'d>>>,
}

#[derive(Debug)]
struct Entry<'d> {
    name: &'d str,
    availability: Availability,
    place: Place,
}

impl<'d> Unique<'d> {
    /// A set of things whose keys are names of their own: each is a `what`.
    pub(super) fn new(what: &'static str) -> Self {
        Self::with_verb(what, "are the")
    }

    /// A set of things whose keys are something else that they have, or become: a number, a name in
    /// another language.
    pub(super) fn with_verb(what: &'static str, verb: &'static str) -> Self {
        Self { what, verb, order: Vec::new(), by_key: HashMap::new() }
    }

    /// Adds the thing called `name`, which is told from others by `key`.
    pub(super) fn add(
        &mut self,
        key: String,
        name: &'d str,
        availability: Availability,
        place: Place,
    ) {
        let same = self.by_key.entry(key).or_insert_with_key(|key| {
            self.order.push(key.clone());
            Vec::new()
        });
        same.push(Entry { name, availability, place });
    }

    /// Tells of each thing whose key another has.
    pub(super) fn check(&self, context: &Context<'_>, report: &mut Report<'_>) {
        for key in &self.order {
            let same = &self.by_key[key];
            if same.len() > 1 {
                self.compare(context, report, key, same);
            }
        }
    }

    /// Puts each into the cells where it exists, so that the cost does not grow with the square of
    /// how many there are.
    fn compare(
        &self,
        context: &Context<'_>,
        report: &mut Report<'_>,
        key: &str,
        same: &[Entry<'_>],
    ) {
        let mut first = HashMap::new();
        for entry in same {
            for cell in context.symbols().cells(entry.availability) {
                let known: &Entry<'_> = first.entry(cell).or_insert(entry);
                if std::ptr::eq(known, entry) || known.place == entry.place {
                    continue;
                }
                let message = if key == entry.name && key == known.name {
                    format!("the {} `{key}` is described twice", self.what)
                } else {
                    format!(
                        "`{}` and `{}` both {} {} `{key}`",
                        known.name, entry.name, self.verb, self.what
                    )
                };
                let found = fault(entry.place.clone(), message)
                    .label("again here")
                    .related(known.place.clone(), "first described here");
                report.add_clash(cell, entry.availability, &known.place, found);
            }
        }
    }
}
