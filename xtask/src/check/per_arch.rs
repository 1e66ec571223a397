//! Maps from architectures to values have a value for each architecture on which the item exists,
//! and for no other.

use super::Context;
use super::report::{Report, fault, list};
use super::walk::{fields, structs};
use crate::document::{ArchSet, Manifest, PerArch};
use crate::yaml::Place;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
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
