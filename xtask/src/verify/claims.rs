//! What the description says about constants: one claim for each C name that it uses.

use super::cells::Here;
use crate::document::{
    BitField, Command, Document, Head, PerArch, Place, Primitive, Value, Variant, VariantKind, Word,
};
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
    /// How many bits of the value count. In a word the highest bit may make a C constant negative.
    pub(super) bits: Option<u32>,
}

impl Claim<'_> {
    /// The value that the headers must have here; `None` where they must have none.
    #[must_use]
    pub(super) fn value(&self, here: Here) -> Option<i128> {
        self.value.get(here.arch).copied().filter(|_| here.names(self.head))
    }

    /// Whether a measured value is the claimed one.
    pub(super) fn holds(&self, value: i128, fact: i128) -> bool {
        match self.bits {
            Some(bits) => (value - fact) % (1_i128 << bits) == 0,
            None => value == fact,
        }
    }
}

/// Every claim about a constant.
#[derive(Debug, Default)]
pub(super) struct Claims<'d> {
    /// By C name; there may be several for one, in different releases or on different
    /// architectures.
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
            claims.value(value);
        }
        for word in &file.words {
            word.fields.iter().for_each(|field| claims.bits(word, field));
        }
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
        self.add_bits(head, key, value, None);
    }

    fn add_bits(&mut self, head: &'d Head, key: &str, value: PerArch<i128>, bits: Option<u32>) {
        match &head.c {
            Some(c) => self.constants.entry(c).or_default().push(Claim {
                head,
                place: head.place.key(key),
                value,
                bits,
            }),
            None => self.unnamed.push(head.place.key("name")),
        }
    }

    fn value(&mut self, value: &'d Value) {
        self.add(&value.head, "value", PerArch::Same(value.value));
    }

    fn bits(&mut self, word: &'d Word, field: &'d BitField) {
        if let Some(index) = &field.index_c {
            let value = PerArch::Same(i128::from(field.bits.low));
            let claim =
                Claim { head: &field.head, place: field.head.place.key("bits"), value, bits: None };
            self.constants.entry(index).or_default().push(claim);
        }
        if field.head.c.is_some() || field.index_c.is_none() {
            self.add_bits(
                &field.head,
                "bits",
                PerArch::Same(i128::from(field.bits.mask())),
                width(word.is),
            );
        }
        for value in &field.values {
            self.add_bits(
                &value.head,
                "value",
                PerArch::Same(value.value << field.bits.low),
                width(word.is),
            );
        }
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

/// How many bits a word has on every architecture.
fn width(of: Primitive) -> Option<u32> {
    match of {
        Primitive::U8 | Primitive::I8 | Primitive::Char => Some(8),
        Primitive::U16 | Primitive::I16 => Some(16),
        Primitive::U32 | Primitive::I32 => Some(32),
        Primitive::U64 | Primitive::I64 => Some(64),
        Primitive::Ulong => None,
    }
}
