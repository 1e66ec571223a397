//! Checks that the forms of an encoding are distinct, and that their examples are correct.

use super::duplicates::Unique;
use super::report::{Report, fault};
use super::values::{greatest, is_plain_unsigned};
use super::{Context, name_of};
use crate::document::{Bits, Encoding, Variant, VariantField, VariantKind};
use crate::layout::Integer;
use crate::yaml::Place;
use std::collections::BTreeMap;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for encoding in context.document.files.iter().flat_map(|file| &file.encodings) {
        if !is_plain_unsigned(encoding.is) {
            let fault = fault(
                encoding.head.place.key("is"),
                format!("the encoding `{}` is no unsigned integer", encoding.head.name),
            );
            report.add(fault.help("use u8, u16, u32 or u64"));
        }
        if encoding.variants.is_empty() {
            let name = &encoding.head.name;
            report.add(fault(name_of(&encoding.head), format!("`{name}` has no forms")));
        }
        let Some(width) = width(context, encoding) else { continue };
        inside(report, encoding.tag, encoding.head.place.key("tag"), width);
        for variant in &encoding.variants {
            self::variant(report, encoding, variant, width);
        }
        tags(context, report, encoding);
        whole_values(report, encoding);
    }
}

/// How many bits the whole has, on the architecture with the fewest.
fn width(context: &Context<'_>, encoding: &Encoding) -> Option<u32> {
    encoding
        .head
        .availability
        .archs
        .iter()
        .map(|arch| Integer::of(encoding.is, context.manifest().arch(arch)).bits())
        .min()
}

fn inside(report: &mut Report<'_>, bits: Bits, place: Place, width: u32) {
    if bits.high >= width {
        let fault = fault(
            place,
            format!("bit {} lies beyond the value, which has {width} bits", bits.high),
        );
        report.add(fault.label(format!("the highest bit is {}", width - 1)));
    }
}

fn variant(report: &mut Report<'_>, encoding: &Encoding, variant: &Variant, width: u32) {
    match &variant.kind {
        VariantKind::Value(value) => {
            if *value > greatest(Bits { high: width - 1, low: 0 }) {
                let place = variant.head.place.key("value");
                report.add(fault(place, format!("{value:#x} does not fit {width} bits")));
            }
        }
        VariantKind::Fields { tag, fields, example } => {
            if *tag > greatest(encoding.tag) {
                let fault = fault(
                    variant.head.place.key("tag"),
                    format!("the tag {tag} does not fit its bits"),
                );
                let most = format!("they hold 0 to {}", greatest(encoding.tag));
                report.add(
                    fault
                        .label(most)
                        .related(encoding.head.place.key("tag"), "the tag's bits are given here"),
                );
            }
            for (index, field) in fields.iter().enumerate() {
                inside(report, field.bits, field.place.key("bits"), width);
                apart(report, encoding, field, &fields[..index]);
                limits(report, field);
            }
            if let Some((whole, parts)) = example {
                self::example(report, encoding, variant, (*tag, fields), (*whole, parts));
            }
        }
    }
}

fn apart(
    report: &mut Report<'_>,
    encoding: &Encoding,
    field: &VariantField,
    before: &[VariantField],
) {
    let overlapping = |message: String, place: Place| {
        fault(field.place.key("bits"), message)
            .label("some of these bits are taken")
            .related(place, "taken here")
    };
    if overlap(field.bits, encoding.tag) {
        report.add(overlapping(
            format!("`{}` overlaps the tag", field.name),
            encoding.head.place.key("tag"),
        ));
    }
    if let Some(other) = before.iter().find(|other| overlap(field.bits, other.bits)) {
        report.add(overlapping(
            format!("`{}` overlaps `{}`", field.name, other.name),
            other.place.key("bits"),
        ));
    }
}

fn overlap(a: Bits, b: Bits) -> bool {
    a.low <= b.high && b.low <= a.high
}

fn limits(report: &mut Report<'_>, field: &VariantField) {
    if field.min > field.max {
        let fault = fault(
            field.place.key("min"),
            format!("the least value of `{}` is above the greatest", field.name),
        );
        report.add(fault.label(format!("more than {}", field.max)));
    }
    let most = greatest(field.bits);
    if field.max > most {
        let fault = fault(
            field.place.key("max"),
            format!("{} does not fit the bits of `{}`", field.max, field.name),
        );
        report.add(
            fault
                .label(format!("they hold 0 to {most}"))
                .related(field.place.key("bits"), "its bits are given here"),
        );
    }
}

fn tags(context: &Context<'_>, report: &mut Report<'_>, encoding: &Encoding) {
    let mut unique = Unique::with_verb("tag", "have the");
    for variant in &encoding.variants {
        if let VariantKind::Fields { tag, .. } = &variant.kind {
            unique.add(
                tag.to_string(),
                &variant.head.name,
                variant.head.availability,
                variant.head.place.key("tag"),
            );
        }
    }
    unique.check(context, report);
    let mut unique = Unique::with_verb("value", "have the");
    for variant in &encoding.variants {
        if let VariantKind::Value(value) = &variant.kind {
            unique.add(
                value.to_string(),
                &variant.head.name,
                variant.head.availability,
                variant.head.place.key("value"),
            );
        }
    }
    unique.check(context, report);
}

/// A whole value must not be what one of the other forms encodes to.
fn whole_values(report: &mut Report<'_>, encoding: &Encoding) {
    for variant in &encoding.variants {
        let VariantKind::Value(value) = variant.kind else { continue };
        let other = encoding.variants.iter().find(|other| {
            let VariantKind::Fields { tag, fields, .. } = &other.kind else { return false };
            other.head.availability.overlaps(variant.head.availability)
                && is_form(encoding, *tag, fields, value)
        });
        if let Some(other) = other {
            let message =
                format!("`{}` and `{}` can both be {value:#x}", variant.head.name, other.head.name);
            let fault = fault(variant.head.place.key("value"), message)
                .related(name_of(&other.head), "the other form");
            report.add(fault.help("narrow a field of the other form with `min` or `max`"));
        }
    }
}

fn is_form(encoding: &Encoding, tag: u64, fields: &[VariantField], value: u64) -> bool {
    let fitting =
        fields.iter().all(|field| (field.min..=field.max).contains(&part(value, field.bits)));
    fitting && part(value, encoding.tag) == tag && rest(encoding, fields, value) == 0
}

fn example(
    report: &mut Report<'_>,
    encoding: &Encoding,
    variant: &Variant,
    (tag, fields): (u64, &[VariantField]),
    (whole, parts): (u64, &BTreeMap<String, u64>),
) {
    let place = variant.head.place.key("example");
    for name in parts.keys().filter(|name| fields.iter().all(|field| field.name != **name)) {
        let found = fault(
            place.key(name).as_key(),
            format!("`{}` has no field `{name}`", variant.head.name),
        );
        report.add_near(found, name, fields.iter().map(|field| field.name.as_str()));
    }
    for field in fields {
        let actual = part(whole, field.bits);
        match parts.get(&field.name) {
            None if actual != 0 || field.min > 0 => {
                let message = format!("the example does not say what `{}` is", field.name);
                report.add(
                    fault(place.clone(), message).help(format!("in {whole:#x} it is {actual:#x}")),
                );
            }
            None => {}
            Some(said) if *said != actual => {
                let message = format!("in {whole:#x} the field `{}` is {actual:#x}", field.name);
                report.add(
                    fault(place.key(&field.name), message)
                        .related(field.place.key("bits"), "its bits are given here"),
                );
            }
            Some(said) if !(field.min..=field.max).contains(said) => {
                let message = format!("{said} is no value of `{}`", field.name);
                report.add(
                    fault(place.key(&field.name), message)
                        .label(format!("it can be {} to {}", field.min, field.max)),
                );
            }
            Some(_) => {}
        }
    }
    let value = place.key("value");
    if part(whole, encoding.tag) != tag {
        let message = format!(
            "the tag of the example is {:#x}, that of `{}` is {tag:#x}",
            part(whole, encoding.tag),
            variant.head.name
        );
        report.add(fault(value, message));
    } else if rest(encoding, fields, whole) != 0 {
        let message = format!(
            "the example sets bits that no field has: {:#x}",
            rest(encoding, fields, whole)
        );
        report.add(fault(value, message));
    }
}

fn part(value: u64, bits: Bits) -> u64 {
    value.checked_shr(bits.low).unwrap_or(0) & greatest(bits)
}

/// Returns the bits of a value that belong neither to the tag nor to a field.
fn rest(encoding: &Encoding, fields: &[VariantField], value: u64) -> u64 {
    let mask = |bits: Bits| greatest(bits).checked_shl(bits.low).unwrap_or(0);
    fields.iter().fold(value & !mask(encoding.tag), |value, field| value & !mask(field.bits))
}
