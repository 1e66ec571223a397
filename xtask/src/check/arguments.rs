//! What commands need of their arguments.

use super::Context;
use super::report::{Report, fault};
use crate::diagnostic::Diagnostic;
use crate::document::{CallShape, Command, Count, PerArch, Struct};
use crate::layout::{Basis, Meaning};

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
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
    let place = super::places::name_of(&command.head);
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
