//! Constants: numbers of commands, values of enumerations, masks and indices of bit fields, tags of
//! encodings; and names of integers and of arrays that C makes structs of.

use super::Findings;
use super::cells::{Cells, Here};
use crate::document::{
    BitField, Command, Document, Head, PerArch, Primitive, TypeAlias, Value, Variant, VariantKind,
    Word,
};
use crate::headers::facts::{Column, Facts};
use crate::headers::scope;
use crate::layout::{Integer, Layouts};
use crate::yaml::Place;
use std::collections::BTreeMap;

/// That a C constant has a value.
#[derive(Clone, Debug)]
pub(super) struct Claim<'d> {
    /// The item that says so.
    pub(super) head: &'d Head,
    /// The text that says which value.
    pub(super) place: Place,
    /// The last key of that text.
    pub(super) key: &'static str,
    /// The value.
    pub(super) value: PerArch<i128>,
    /// How many bits of the value count. In a word the highest bit may make a C constant negative.
    pub(super) bits: Option<u32>,
}

impl Claim<'_> {
    /// Returns the value that the headers must have here; `None` where they must have none.
    #[must_use]
    pub(super) fn value(&self, here: Here) -> Option<i128> {
        self.value.get(here.arch).copied().filter(|_| here.names(self.head))
    }

    /// Returns whether a measured value is the claimed one.
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
    fn add(&mut self, head: &'d Head, key: &'static str, value: PerArch<i128>) {
        self.add_bits(head, key, value, None);
    }

    fn add_bits(
        &mut self,
        head: &'d Head,
        key: &'static str,
        value: PerArch<i128>,
        bits: Option<u32>,
    ) {
        match &head.c {
            Some(c) => self.constants.entry(c).or_default().push(Claim {
                head,
                place: head.place.key(key),
                key,
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
            let claim = Claim {
                head: &field.head,
                place: field.head.place.key("bits"),
                key: "bits",
                value,
                bits: None,
            };
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

/// Compares every claim, in every cell.
pub(super) fn compare(
    claims: &BTreeMap<&str, Vec<Claim<'_>>>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for (name, claims) in claims {
        let measured = facts.constants.get(*name);
        for here in cells.iter() {
            one(name, claims, measured, here, facts, findings);
        }
    }
}

fn one(
    name: &str,
    claims: &[Claim<'_>],
    measured: Option<&Column<i128>>,
    here: Here,
    facts: &Facts,
    findings: &mut Findings,
) {
    let fact = measured.and_then(|column| column.get(here.cell));
    let mut claimed = false;
    for claim in claims {
        let Some(value) = claim.value(here) else { continue };
        claimed = true;
        findings.comparisons.constants += 1;
        match fact {
            Some(fact) if claim.holds(value, fact) => {}
            Some(fact) => findings.add(
                &claim.place,
                format!("`{name}` is not {}", number(value)),
                format!("{} in the headers", number(fact)),
                here.cell,
            ),
            None => findings.add(
                &claim.head.place.key("name"),
                format!("the headers have no `{name}`"),
                known(facts, measured),
                here.cell,
            ),
        }
    }
    if claimed {
        return;
    }
    match (fact, claims.first()) {
        (Some(_), Some(claim)) => {
            let message = format!("the headers have `{name}` where the description has it not");
            findings.add(&here.blame(claim.head), message, known(facts, measured), here.cell);
        }
        _ => findings.comparisons.absences += 1,
    }
}

/// Where the headers have a name, as a label.
fn known(facts: &Facts, measured: Option<&Column<i128>>) -> String {
    match measured {
        Some(column) => format!(
            "the headers have it in {}",
            scope::describe(&facts.grid, &column.cells().collect::<Vec<_>>())
        ),
        None => "the headers never have it".to_owned(),
    }
}

fn number(value: i128) -> String {
    if value < 10 { value.to_string() } else { format!("{value} ({value:#x})") }
}

/// Compares the size and the existence of each name of an integer or an array that is a struct in
/// C.
pub(super) fn compare_aliases(
    document: &Document,
    layouts: &Layouts<'_>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for alias in document.files.iter().flat_map(|file| &file.types) {
        let Some(measured) = alias.head.c.as_ref().and_then(|c| facts.structs.get(c)) else {
            continue;
        };
        for here in cells.iter() {
            let fact = measured.size.get(here.cell);
            let size = here.names(&alias.head).then(|| alias_size(alias, layouts, here)).flatten();
            let name = &alias.head.name;
            match (size, fact) {
                (Some(size), Some(fact)) if size == fact => findings.comparisons.sizes += 1,
                (None, None) => findings.comparisons.absences += 1,
                (Some(size), Some(fact)) => {
                    let message = format!("`{name}` is not {size} bytes long");
                    findings.add(
                        &alias.head.place.as_key(),
                        message,
                        format!("{fact} bytes in the headers"),
                        here.cell,
                    );
                }
                (described, _) => {
                    let has = if described.is_some() { "have no" } else { "have" };
                    let (message, label) = (
                        format!("the headers {has} `{name}`"),
                        "the description says otherwise".to_owned(),
                    );
                    findings.add(&alias.head.place.as_key(), message, label, here.cell);
                }
            }
        }
    }
}

fn alias_size(alias: &TypeAlias, layouts: &Layouts<'_>, here: Here) -> Option<u64> {
    let names = layouts.symbols();
    let meaning = names.meaning(alias.is.get(here.arch)?, here.release, here.arch).ok()?;
    let element = Integer::of(meaning.basis.primitive()?, names.manifest().arch(here.arch));
    let own = match &alias.count {
        Some(count) => names.count(count.get(here.arch)?, here.release, here.arch).ok()??,
        None => 1,
    };
    Some(u64::from(element.size) * meaning.count.unwrap_or(1) * own)
}
