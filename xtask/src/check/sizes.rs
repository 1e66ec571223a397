//! Checks that structs have a layout and the stated size, and that a map by architecture has a
//! value for each.

use super::report::{Report, fault, list};
use super::{Context, fields, for_arch, name_of, structs};
use crate::document::{ArchId, ArchSet, Manifest, PerArch, Struct};
use crate::layout::{LayoutError, MAX_DEPTH, Problem};
use crate::yaml::{Place, Step};

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for item in structs(context.document) {
        let availability = item.head.availability;
        if item.fields.is_empty() {
            let found = fault(name_of(&item.head), format!("`{}` has no fields", item.head.name));
            report.add(found.help("describe its fields, or leave it out"));
        }
        for release in context.layouts.changes(item) {
            for arch in availability.archs.iter() {
                if let Err(error) = context.layouts.of(&item.head.name, release, arch) {
                    impossible(report, error);
                }
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

pub(super) fn per_arch(context: &Context<'_>, report: &mut Report<'_>) {
    let manifest = context.manifest();
    for file in &context.document.files {
        for item in &file.types {
            let archs = item.head.availability.archs;
            map(report, manifest, &item.is, archs, &item.head.place.key("is"));
            if let Some(count) = &item.count {
                map(report, manifest, count, archs, &item.head.place.key("count"));
            }
        }
        for item in &file.constants {
            map(
                report,
                manifest,
                &item.value,
                item.head.availability.archs,
                &item.head.place.key("value"),
            );
        }
    }
    for item in structs(context.document) {
        if let Some(size) = &item.size {
            map(report, manifest, size, item.head.availability.archs, &item.head.place.key("size"));
        }
        for field in fields(&item.fields) {
            if let Some(count) = &field.count {
                map(
                    report,
                    manifest,
                    count,
                    field.head.availability.archs,
                    &field.head.place.key("count"),
                );
            }
        }
        for member in item.snapshots.iter().flat_map(|snapshot| &snapshot.members) {
            // A member may be missing on an architecture; that a field is not forgotten is seen by
            // another rule.
            superfluous(
                report,
                manifest,
                &member.path,
                item.head.availability.archs,
                &member.place,
            );
        }
    }
}

fn map<T>(
    report: &mut Report<'_>,
    manifest: &Manifest,
    value: &PerArch<T>,
    archs: ArchSet,
    place: &Place,
) {
    superfluous(report, manifest, value, archs, place);
    let missing: Vec<&str> = archs
        .iter()
        .filter(|arch| value.get(*arch).is_none())
        .map(|arch| manifest.arch(arch).name.as_str())
        .collect();
    if !missing.is_empty() {
        let fault = fault(place.clone(), format!("no value for {}", list(&missing)));
        report.add(fault.help(
            "give a value for each architecture on which the item exists, or \
         narrow the item with `arch`",
        ));
    }
}

fn superfluous<T>(
    report: &mut Report<'_>,
    manifest: &Manifest,
    value: &PerArch<T>,
    archs: ArchSet,
    place: &Place,
) {
    let PerArch::Each(values) = value else { return };
    for arch in values.keys().filter(|arch| !archs.contains(**arch)) {
        let name = &manifest.arch(*arch).name;
        report.add(fault(
            place.key(name).as_key(),
            format!("a value for {name}, where the item does not exist"),
        ));
    }
}
