//! Commands belong to a hypercall that exists, and each has a number of its own.

use super::Context;
use super::report::{Report, fault};
use super::unique::Unique;
use super::walk::covers;
use crate::document::{CommandSet, Value};

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    registers(context, report);
    let enumerations = context.document.files.iter().flat_map(|file| &file.enumerations);
    let hypercalls: Vec<&Value> = enumerations
        .filter(|item| item.head.name == "hypercall_nr")
        .flat_map(|item| &item.values)
        .collect();
    for set in context.document.files.iter().flat_map(|file| &file.commands) {
        hypercall(context, report, set, &hypercalls);
        let mut numbers = Unique::with_verb("number", "have the");
        for command in &set.list {
            let place = command.head.place.key("number");
            numbers.add(
                command.number.to_string(),
                &command.head.name,
                command.head.availability,
                place,
            );
            if command.number > u64::from(u32::MAX) {
                let found = fault(
                    command.head.place.key("number"),
                    format!("{} does not fit 32 bits, unsigned", command.number),
                );
                report.add(found.label("C passes the command as an unsigned int"));
            }
        }
        numbers.check(context, report);
    }
}

/// A convention names registers of its architecture.
fn registers(context: &Context<'_>, report: &mut Report<'_>) {
    for convention in context.document.files.iter().flat_map(|file| &file.conventions) {
        let arch = &context.manifest().arch(convention.arch).name;
        let Some(known) = registers_of(arch) else { continue };
        let mut register = |name: &str, place| {
            if !known.iter().any(|known| known == name) {
                let found = fault(place, format!("{arch} has no register `{}`", name));
                report.add_near(found, name, known.iter().map(String::as_str));
            }
        };
        register(&convention.number, convention.place.key("number"));
        register(&convention.result, convention.place.key("result"));
        for (index, name) in convention.arguments.iter().enumerate() {
            register(name, convention.place.key("arguments").item(index));
        }
        for (index, name) in convention.clobbers.iter().enumerate() {
            if name != "memory" {
                register(name, convention.place.key("clobbers").item(index));
            }
        }
    }
}

/// The general registers of an architecture, where they are known.
fn registers_of(arch: &str) -> Option<Vec<String>> {
    const OLD: [&str; 8] = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp"];
    let numbered = |letter: char, numbers: std::ops::Range<u32>| {
        numbers.map(move |number| format!("{letter}{number}"))
    };
    match arch {
        "x86" => Some(OLD.map(|name| format!("e{name}")).to_vec()),
        "x86_64" => Some(
            OLD.into_iter().map(|name| format!("r{name}")).chain(numbered('r', 8..16)).collect(),
        ),
        "aarch64" => Some(numbered('x', 0..31).collect()),
        _ => None,
    }
}

fn hypercall(
    context: &Context<'_>,
    report: &mut Report<'_>,
    set: &CommandSet,
    hypercalls: &[&Value],
) {
    let same: Vec<&&Value> =
        hypercalls.iter().filter(|value| value.head.name == set.hypercall).collect();
    let Some(first) = same.first() else {
        let found = fault(set.place.as_key(), format!("unknown hypercall `{}`", set.hypercall));
        let found = found.label("the enumeration `hypercall_nr` has no such value");
        return report.add_near(
            found,
            &set.hypercall,
            hypercalls.iter().map(|value| value.head.name.as_str()),
        );
    };
    for command in &set.list {
        let availability = command.head.availability;
        if same.iter().any(|value| covers(value.head.availability, availability)) {
            continue;
        }
        for (release, arch) in context.symbols().cells(availability) {
            if !same.iter().any(|value| value.head.availability.contains(release, arch)) {
                let place = super::places::name_of(&command.head);
                let found = fault(
                    place,
                    format!("`{}` exists where its hypercall does not", command.head.name),
                );
                report.add_in(
                    (release, arch),
                    availability,
                    found.related(first.head.place.key("name"), "the hypercall is described here"),
                );
            }
        }
    }
}
