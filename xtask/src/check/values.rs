//! Numbers fit their types, and an enumeration gives each number one name.

use super::Context;
use super::places::{name_of, spread};
use super::report::{Report, fault};
use super::unique::Unique;
use crate::document::{Constant, Enumeration, Primitive};
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

/// Whether bits can be told apart in it: an unsigned integer of the same width everywhere.
pub(super) fn is_plain_unsigned(primitive: Primitive) -> bool {
    matches!(primitive, Primitive::U8 | Primitive::U16 | Primitive::U32 | Primitive::U64)
}
