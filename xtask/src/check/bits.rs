//! The bit fields of a word lie in it, beside one another, and hold their named values.

use super::Context;
use super::places::name_of;
use super::report::{Report, fault};
use super::values::is_plain_unsigned;
use crate::document::{BitField, Bits, Word};
use crate::layout::Integer;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
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

/// The greatest number that some bits hold.
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
