//! What the description says about constants: one claim for each C name that it uses.

use super::cells::Here;
use crate::document::{BitField, Command, Document, Head, PerArch, Place, Value, Variant, VariantKind, Word};
use std::collections::BTreeMap;

/// That a C constant has a value.
#[derive(Clone, Debug)]
pub(super) struct Claim<'d> {
    /// The item that says so.
    pub(super) head: &'d Head,
    /// The text that says which value.
    pub(super) place: Place,
    /// The value.
    pub(super) value: PerArch<i128>,
}

impl Claim<'_> {
    /// The value that the headers must have here; `None` where they must have none.
    #[must_use]
    pub(super) fn value(&self, here: Here) -> Option<i128> {
        self.value.get(here.arch).copied().filter(|_| here.names(self.head))
    }
}

/// Every claim about a constant.
#[derive(Debug, Default)]
pub(super) struct Claims<'d> {
    /// By C name; there may be several for one, in different releases or on different architectures.
    pub(super) constants: BTreeMap<&'d str, Vec<Claim<'d>>>,
    /// Items for which the headers have no name.
    pub(super) unnamed: Vec<Place>,
}

/// Collects the claims about constants.
#[must_use]
pub(super) fn collect(document: &Document) -> Claims<'_> {
    let mut claims = Claims::default();
    for file in &document.files {
        for constant in &file.constants {
            claims.add(&constant.head, "value", constant.value.clone());
        }
        for value in file.enumerations.iter().flat_map(|item| &item.values) {
            claims.value(value, 0);
        }
        file.words.iter().for_each(|word| claims.word(word));
        for variant in file.encodings.iter().flat_map(|item| &item.variants) {
            claims.variant(variant);
        }
        for command in file.commands.iter().flat_map(|set| &set.list) {
            claims.command(command);
        }
    }
    claims
}

impl<'d> Claims<'d> {
    fn add(&mut self, head: &'d Head, key: &str, value: PerArch<i128>) {
        match &head.c {
            Some(c) => self.named(c, head, key, value),
            None => self.unnamed.push(head.place.key("name")),
        }
    }

    fn named(&mut self, c: &'d str, head: &'d Head, key: &str, value: PerArch<i128>) {
        self.constants.entry(c).or_default().push(Claim { head, place: head.place.key(key), value });
    }

    fn value(&mut self, value: &'d Value, shift: u32) {
        self.add(&value.head, "value", PerArch::Same(value.value << shift));
    }

    fn word(&mut self, word: &'d Word) {
        word.fields.iter().for_each(|field| self.bits(field));
    }

    fn bits(&mut self, field: &'d BitField) {
        if let Some(index) = &field.index_c {
            self.named(index, &field.head, "bits", PerArch::Same(i128::from(field.bits.low)));
        }
        if field.head.c.is_some() || field.index_c.is_none() {
            self.add(&field.head, "bits", PerArch::Same(i128::from(field.bits.mask())));
        }
        field.values.iter().for_each(|value| self.value(value, field.bits.low));
    }

    fn variant(&mut self, variant: &'d Variant) {
        let (key, value) = match &variant.kind {
            VariantKind::Value(value) => ("value", *value),
            VariantKind::Fields { tag, .. } => ("tag", *tag),
        };
        self.add(&variant.head, key, PerArch::Same(i128::from(value)));
    }

    fn command(&mut self, command: &'d Command) {
        self.add(&command.head, "number", PerArch::Same(i128::from(command.number)));
    }
}
