//! Structs have a layout, and the size that is stated.

use super::Context;
use super::places::{for_arch, name_of};
use super::report::{Report, fault};
use super::walk::structs;
use crate::document::{ArchId, Struct};
use crate::layout::{LayoutError, MAX_DEPTH, Problem};
use crate::yaml::Step;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for item in structs(context.document) {
        let availability = item.head.availability;
        if item.fields.is_empty() {
            let found = fault(name_of(&item.head), format!("`{}` has no fields", item.head.name));
            report.add(found.help("describe its fields, or leave it out"));
        }
        for cell in context.layouts.cells(&item.head.name, availability) {
            if let Err(error) = context.layouts.of(&item.head.name, cell.0, cell.1) {
                impossible(report, error);
            }
        }
        let newest = context.manifest().newest();
        for arch in availability
            .archs
            .iter()
            .filter(|arch| item.size.is_some() && availability.contains(newest, *arch))
        {
            if let Ok(layout) = context.layouts.of(&item.head.name, newest, arch) {
                stated(context, report, item, arch, layout.size);
            }
        }
    }
}

fn stated(
    context: &Context<'_>,
    report: &mut Report<'_>,
    item: &Struct,
    arch: ArchId,
    computed: u32,
) {
    let Some(size) = &item.size else { return };
    let Some(stated) = size.get(arch).filter(|stated| **stated != u64::from(computed)) else {
        return;
    };
    let place = for_arch(size, arch, &item.head.place.key("size"), context.manifest());
    let name = &context.manifest().arch(arch).name;
    let found =
        fault(place, format!("`{}` has {computed} bytes on {name}, not {stated}", item.head.name));
    report.add(found.label(format!("computed from the fields: {computed}")));
}

/// Of what has no layout, only what the rules about names and counts do not tell already.
fn impossible(report: &mut Report<'_>, error: LayoutError) {
    let LayoutError { place, problem } = error;
    let found = match problem {
        Problem::Recursive(path) => {
            let found =
                fault(place, "a struct that holds itself has no size").label(path.join(" > "));
            found.help("where C has a pointer, use an integer or a handle")
        }
        Problem::TooDeep => fault(
            place,
            format!("structs and unions lie more than {MAX_DEPTH} deep in one another"),
        ),
        Problem::TooLarge => {
            fault(place, "no object can be that large").label("this makes it 2 GiB or more")
        }
        // Other rules look at flexible fields themselves.
        Problem::Flexible if place.steps.last() == Some(&Step::Key("type".to_owned())) => {
            fault(place, "a struct that ends in a flexible field cannot be part of another")
        }
        _ => return,
    };
    report.add(found);
}
