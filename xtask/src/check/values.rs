//! Checks that numbers fit their types, that an enumeration gives each number one name, and that
//! the bit fields of a word are within it and do not overlap.

use super::duplicates::Unique;
use super::report::{Report, fault};
use super::{Context, name_of, spread};
use crate::document::{BitField, Bits, Constant, Enumeration, Primitive, Word};
use crate::layout::Integer;

pub(super) fn check<'d>(context: &Context<'d>, report: &mut Report<'_>) {
    for file in &context.document.files {
        file.constants.iter().for_each(|item| constant(context, report, item));
        for item in &file.enumerations {
            enumeration(context, report, item);
        }
    }
}

fn constant<'d>(context: &Context<'d>, report: &mut Report<'_>, item: &'d Constant) {
    let names = context.symbols();
    for (value, availability, place) in spread(
        &item.value,
        item.head.availability,
        &item.head.place.key("value"),
        context.manifest(),
    ) {
        for cell in names.cells(availability) {
            match names.integer(&item.type_, cell.0, cell.1) {
                Ok(Some(integer)) if integer.holds(*value) => {}
                Ok(Some(integer)) => {
                    report.add_in(cell, availability, too_large(*value, integer, place.clone()));
                }
                Ok(None) => {
                    let fault = fault(
                        item.head.place.key("type"),
                        format!("the type of the constant `{}` is no integer", item.head.name),
                    );
                    report.add_in(cell, item.head.availability, fault);
                }
                Err(_) => {}
            }
        }
    }
}

fn enumeration(context: &Context<'_>, report: &mut Report<'_>, item: &Enumeration) {
    for value in &item.values {
        for arch in item.head.availability.archs.iter() {
            let integer = Integer::of(item.is, context.manifest().arch(arch));
            if !integer.holds(value.value) {
                let cell = (value.head.availability.releases.since, arch);
                let mut all = value.head.availability;
                all.releases.until = all.releases.since;
                report.add_in(
                    cell,
                    all,
                    too_large(value.value, integer, value.head.place.key("value")),
                );
            }
        }
    }
    if item.values.is_empty() {
        let found = fault(name_of(&item.head), format!("`{}` has no values", item.head.name));
        report.add(found.help("name a value, or make it a type"));
    }
    if item.alias {
        let mut numbers: Vec<i128> = item.values.iter().map(|value| value.value).collect();
        numbers.sort_unstable();
        if numbers.windows(2).all(|pair| pair[0] != pair[1]) {
            let found = fault(item.head.place.key("alias"), "no two values are equal");
            report.add(found.help("leave `alias` out"));
        }
        return;
    }
    let mut numbers = Unique::with_verb("value", "have the");
    for value in &item.values {
        numbers.add(
            value.value.to_string(),
            &value.head.name,
            value.head.availability,
            value.head.place.key("value"),
        );
    }
    numbers.check(context, report);
}

fn too_large(
    value: i128,
    integer: Integer,
    place: crate::yaml::Place,
) -> crate::diagnostic::Diagnostic {
    let sign = if integer.signed { "signed" } else { "unsigned" };
    let message = format!("{value} does not fit {} bits, {sign}", integer.bits());
    fault(place, message).label(format!("the type holds {} to {}", integer.min(), integer.max()))
}

/// Returns whether the type can hold bit fields: an unsigned integer of the same width on all
/// architectures.
pub(super) fn is_plain_unsigned(primitive: Primitive) -> bool {
    matches!(primitive, Primitive::U8 | Primitive::U16 | Primitive::U32 | Primitive::U64)
}

pub(super) fn words(context: &Context<'_>, report: &mut Report<'_>) {
    for file in &context.document.files {
        for word in &file.words {
            unsigned(report, word);
            if word.fields.is_empty() {
                let found =
                    fault(name_of(&word.head), format!("`{}` has no fields", word.head.name));
                report.add(found.help("name a field, or make it a type"));
            }
            for field in &word.fields {
                inside(context, report, word, field);
                named_values(report, field);
            }
            overlaps(context, report, word);
        }
    }
}

fn unsigned(report: &mut Report<'_>, word: &Word) {
    if !is_plain_unsigned(word.is) {
        let fault = fault(
            word.head.place.key("is"),
            format!("the word `{}` is no unsigned integer", word.head.name),
        );
        report.add(fault.help("use u8, u16, u32 or u64"));
    }
}

fn inside(context: &Context<'_>, report: &mut Report<'_>, word: &Word, field: &BitField) {
    let widths = word
        .head
        .availability
        .archs
        .iter()
        .map(|arch| Integer::of(word.is, context.manifest().arch(arch)).bits());
    let Some(width) = widths.min().filter(|width| field.bits.high >= *width) else { return };
    let message = format!("bit {} lies beyond the word, which has {width} bits", field.bits.high);
    let fault = fault(field.head.place.key("bits"), message)
        .label(format!("the highest bit is {}", width - 1));
    report.add(fault.related(word.head.place.key("is"), "the width is given here"));
}

fn named_values(report: &mut Report<'_>, field: &BitField) {
    let most = greatest(field.bits);
    for value in field.values.iter().filter(|value| !(0..=i128::from(most)).contains(&value.value))
    {
        let message = format!(
            "{} does not fit the {} of `{}`",
            value.value,
            bits(field.bits),
            field.head.name
        );
        let fault = fault(value.head.place.key("value"), message)
            .label(format!("the field holds 0 to {most}"));
        report.add(fault.related(field.head.place.key("bits"), "its bits are given here"));
    }
}

/// Fields in the order of the text, each against the bits that those before it took in each release
/// and architecture.
fn overlaps(context: &Context<'_>, report: &mut Report<'_>, word: &Word) {
    let mut taken = std::collections::HashMap::new();
    for field in &word.fields {
        for cell in context.symbols().cells(field.head.availability) {
            let owners: &mut [Option<&BitField>; 64] = taken.entry(cell).or_insert([None; 64]);
            let (low, high) =
                (field.bits.low.min(64) as usize, (field.bits.high.min(63) + 1) as usize);
            let Some(own) = owners.get_mut(low..high) else { continue };
            if let Some(other) = own.iter().flatten().next() {
                let message = format!("`{}` overlaps `{}`", field.head.name, other.head.name);
                let fault = fault(field.head.place.key("bits"), message)
                    .label("some of these bits are taken");
                report.add_in(
                    cell,
                    field.head.availability,
                    fault.related(other.head.place.key("bits"), "taken here"),
                );
            }
            own.iter_mut().for_each(|owner| *owner = owner.or(Some(field)));
        }
    }
}

/// Returns the greatest number that some bits hold.
pub(super) fn greatest(bits: Bits) -> u64 {
    let width = (u64::from(bits.high) + 1).saturating_sub(u64::from(bits.low));
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// `one bit` or `3 bits`.
fn bits(bits: Bits) -> String {
    match (u64::from(bits.high) + 1).saturating_sub(u64::from(bits.low)) {
        1 => "one bit".to_owned(),
        width => format!("{width} bits"),
    }
}
