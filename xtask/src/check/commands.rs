//! Checks that commands belong to an existing hypercall, that their numbers are unique, and that
//! their arguments suit their shapes.

use super::duplicates::Unique;
use super::report::{Report, fault};
use super::{Context, covers};
use crate::diagnostic::Diagnostic;
use crate::document::{CallShape, Command, CommandSet, Count, PerArch, Struct, Value};
use crate::layout::{Basis, Meaning};

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

/// Returns the general registers of an architecture, where they are known.
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
                let place = super::name_of(&command.head);
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

pub(super) fn arguments(context: &Context<'_>, report: &mut Report<'_>) {
    for command in
        context.document.files.iter().flat_map(|file| &file.commands).flat_map(|set| &set.list)
    {
        match &command.argument {
            None => report_missing(report, command),
            Some(type_) => {
                for cell in context.symbols().cells(command.head.availability) {
                    let Ok(meaning) = context.symbols().meaning(type_, cell.0, cell.1) else {
                        continue;
                    };
                    if let Some(found) = unsuitable(command, meaning) {
                        report.add_in(cell, command.head.availability, found);
                    }
                }
            }
        }
    }
}

fn report_missing(report: &mut Report<'_>, command: &Command) {
    let shape = match command.shape {
        CallShape::Array => "array",
        CallShape::Buffer => "buffer",
        CallShape::Value => "value",
        // Without an argument these pass NULL, which Xen allows for some commands.
        CallShape::Bare | CallShape::Argument | CallShape::Vcpu => return,
    };
    let place = super::name_of(&command.head);
    report.add(
        fault(place, format!("`{}` needs an `argument`", command.head.name))
            .label(format!("its shape is `{shape}`")),
    );
}

fn unsuitable(command: &Command, meaning: Meaning<'_>) -> Option<Diagnostic> {
    let name = &command.head.name;
    let place = || command.head.place.key("argument");
    match (command.shape, meaning.basis) {
        (CallShape::Array, Basis::Struct(item)) if ends_flexible(item) => Some(
            fault(
                place(),
                format!("`{name}` passes an array, and its elements have no fixed size"),
            )
            .label("it ends in a flexible field")
            .help("use the shape `argument`"),
        ),
        (CallShape::Value, Basis::Struct(_)) => Some(
            fault(place(), format!("`{name}` passes a value, and a struct is none"))
                .help("use the shape `argument`"),
        ),
        (CallShape::Value, _) if meaning.count.is_some() => Some(
            fault(place(), format!("`{name}` passes a value, and an array is none"))
                .help("use the shape `argument`"),
        ),
        _ => None,
    }
}

fn ends_flexible(item: &Struct) -> bool {
    let flexible = |count: &PerArch<Count>| match count {
        PerArch::Same(count) => *count == Count::Flexible,
        PerArch::Each(counts) => counts.values().any(|count| *count == Count::Flexible),
    };
    item.fields.iter().filter_map(|field| field.count.as_ref()).any(flexible)
}
