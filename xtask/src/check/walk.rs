//! Lists of everything that rules for many kinds of item go through.

use crate::document::{Availability, Document, Field, FieldUse, File, Head, Struct, StructKind};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
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
pub(super) struct Named<'d> {
    pub(super) kind: Kind,
    pub(super) head: &'d Head,
}

/// Every item, inner ones after the one that holds them.
pub(super) fn items(document: &Document) -> Vec<Named<'_>> {
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

/// Every struct of the description.
pub(super) fn structs(document: &Document) -> impl Iterator<Item = &Struct> {
    document.files.iter().flat_map(|file| &file.structs)
}

/// The fields and all that lies in them, in the order of the text.
pub(super) fn fields(outer: &[Field]) -> Vec<&Field> {
    let mut all = Vec::new();
    let mut rest: Vec<&Field> = outer.iter().rev().collect();
    while let Some(field) = rest.pop() {
        all.push(field);
        rest.extend(field.members().iter().rev());
    }
    all
}

/// Whether the one exists wherever the other does.
pub(super) fn covers(outer: Availability, inner: Availability) -> bool {
    let releases = outer.releases.since <= inner.releases.since
        && inner.releases.until <= outer.releases.until;
    releases && outer.archs.and(inner.archs) == inner.archs
}
