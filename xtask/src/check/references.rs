//! Checks that every used name is defined, and that an alias leads to an integer and not to itself.

use super::report::{Report, fault};
use super::{Context, covers, fields, spread, structs};
use crate::diagnostic::Diagnostic;
use crate::document::{
    ArchId, Availability, Count, Head, PerArch, Primitive, ReleaseId, Shape, TypeRef,
};
use crate::layout::{Item, MAX_ALIASES, Problem};
use crate::yaml::Place;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let manifest = context.manifest();
    for file in &context.document.files {
        for alias in &file.types {
            for (is, availability, place) in
                spread(&alias.is, alias.head.availability, &alias.head.place.key("is"), manifest)
            {
                type_(context, report, is, place, &alias.head, availability);
            }
            counts(context, report, alias.count.as_ref(), &alias.head);
        }
        for constant in &file.constants {
            type_(
                context,
                report,
                &constant.type_,
                constant.head.place.key("type"),
                &constant.head,
                constant.head.availability,
            );
        }
        for command in file.commands.iter().flat_map(|set| &set.list) {
            if let Some(argument) = &command.argument {
                type_(
                    context,
                    report,
                    argument,
                    command.head.place.key("argument"),
                    &command.head,
                    command.head.availability,
                );
            }
        }
        for convention in &file.conventions {
            if let Some(name) = &convention.immediate {
                let availability = Availability {
                    releases: manifest.all_releases(),
                    honoured_since: None,
                    archs: [convention.arch].into_iter().collect(),
                };
                constant(context, report, name, &convention.place.key("immediate"), availability);
            }
        }
    }
    for field in structs(context.document).flat_map(|item| fields(&item.fields)) {
        if let Shape::Type(of) = &field.shape {
            type_(
                context,
                report,
                of,
                field.head.place.key("type"),
                &field.head,
                field.head.availability,
            );
        }
        counts(context, report, field.count.as_ref(), &field.head);
    }
}

fn type_(
    context: &Context<'_>,
    report: &mut Report<'_>,
    of: &TypeRef,
    place: Place,
    head: &Head,
    availability: Availability,
) {
    let (of, place) = match of {
        TypeRef::Handle(to) => (&**to, head.place.key("to")),
        other => (other, place),
    };
    match of {
        TypeRef::Primitive(_) => {}
        TypeRef::Handle(to) => type_(context, report, to, place, head, availability),
        TypeRef::Named(name) => named(context, report, name, &place, availability),
    }
}

fn named(
    context: &Context<'_>,
    report: &mut Report<'_>,
    name: &str,
    place: &Place,
    availability: Availability,
) {
    let names = context.symbols();
    let items = names.types(name);
    if items.is_empty() {
        let primitives =
            ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "char", "ulong", "handle"];
        let fault = fault(place.clone(), format!("unknown type `{name}`"))
            .label("no file of the description has a type of this name");
        if let Some(own) = Primitive::of_c(name) {
            return report.add(fault.help(format!("use `{own}`")));
        }
        return report.add_near(fault, name, names.type_names().chain(primitives));
    }
    if let Some(Item::Encoding(item)) = items.first() {
        let fault =
            fault(place.clone(), format!("`{name}` is an encoding, of which nothing can be made"));
        return report.add(
            fault
                .related(item.head.place.as_key(), "described here")
                .help("use the integer that holds it"),
        );
    }
    if items.iter().any(|item| covers(item.head().availability, availability)) {
        return;
    }
    for (release, arch) in names.cells(availability) {
        if let Err(Problem::NotThere { defined, .. }) = names.type_(name, release, arch) {
            let fault = fault(place.clone(), format!("the type `{name}` does not exist"));
            report.add_in(
                (release, arch),
                availability,
                fault.related(defined.as_key(), "described here"),
            );
        }
    }
}

fn counts(
    context: &Context<'_>,
    report: &mut Report<'_>,
    count: Option<&PerArch<Count>>,
    head: &Head,
) {
    let Some(count) = count else { return };
    for (count, availability, place) in
        spread(count, head.availability, &head.place.key("count"), context.manifest())
    {
        match count {
            Count::Number(_) | Count::Flexible => {}
            Count::Constant(name) => length(context, report, name, &place, availability),
        }
    }
}

/// A constant that is the length of an array.
fn length(
    context: &Context<'_>,
    report: &mut Report<'_>,
    name: &str,
    place: &Place,
    availability: Availability,
) {
    constant(context, report, name, place, availability);
    for (release, arch) in context.symbols().cells(availability) {
        let Ok(value) = context.symbols().constant_value(name, release, arch) else { continue };
        if value <= 0 {
            let fault = fault(place.clone(), format!("an array of length {value}"));
            let fault = context.symbols().constants(name).iter().fold(fault, |fault, constant| {
                fault.related(constant.head.place.key("value"), "the constant has its value here")
            });
            report.add_in((release, arch), availability, fault);
        }
    }
}

fn constant(
    context: &Context<'_>,
    report: &mut Report<'_>,
    name: &str,
    place: &Place,
    availability: Availability,
) {
    let names = context.symbols();
    let constants = names.constants(name);
    if constants.is_empty() {
        let fault = fault(place.clone(), format!("unknown constant `{name}`"))
            .label("no file of the description has a constant of this name");
        return report.add_near(fault, name, names.constant_names());
    }
    if constants.iter().any(|constant| covers(constant.head.availability, availability)) {
        return;
    }
    for (release, arch) in names.cells(availability) {
        if let Err(Problem::NotThere { defined, .. }) = names.constant(name, release, arch) {
            let fault = fault(place.clone(), format!("the constant `{name}` does not exist"));
            report.add_in(
                (release, arch),
                availability,
                fault.related(defined.key("name"), "described here"),
            );
        }
    }
}

pub(super) fn aliases<'d>(context: &Context<'d>, report: &mut Report<'_>) {
    // Of a chain that is too long only its first excess is told. A circle that is as long has none:
    // then any of them will do.
    let (mut any, mut first) = (None, false);
    for alias in context.document.files.iter().flat_map(|file| &file.types) {
        for (is, availability, place) in spread(
            &alias.is,
            alias.head.availability,
            &alias.head.place.key("is"),
            context.manifest(),
        ) {
            let TypeRef::Named(next) = is else { continue };
            if is_struct(context, report, is, &place) {
                continue;
            }
            for cell in context.symbols().cells(availability) {
                match context.symbols().meaning(is, cell.0, cell.1) {
                    Err(Problem::Recursive(path)) => {
                        if let Some(round) = round_from(&path, &alias.head.name) {
                            let found = fault(
                                place.clone(),
                                format!("the type `{}` stands for itself", alias.head.name),
                            )
                            .label(round);
                            report.add_in(cell, availability, found);
                        }
                    }
                    Err(Problem::TooDeep) if is_first_too_deep(context, next, cell) => {
                        first = true;
                        report.add_in(cell, availability, too_deep(place.clone()));
                    }
                    Err(Problem::TooDeep) => any = any.or_else(|| Some(place.clone())),
                    _ => {}
                }
            }
        }
    }
    if let Some(place) = any.filter(|_| !first) {
        report.add(too_deep(place));
    }
}

fn too_deep(place: Place) -> Diagnostic {
    fault(place, format!("more than {MAX_ALIASES} names of types stand for one another"))
}

/// Returns the circle as seen from the alias, if that is the one to tell of it: all the others on
/// it see the same.
fn round_from(path: &[String], alias: &String) -> Option<String> {
    let round = &path[..path.len().saturating_sub(1)];
    let start = round
        .iter()
        .position(|name| name == alias)
        .filter(|_| round.iter().min() == Some(alias))?;
    let names: Vec<&str> =
        round[start..].iter().chain(&round[..=start]).map(String::as_str).collect();
    Some(names.join(" > "))
}

/// Returns whether the alias before this one in the chain is not yet too far from the end.
fn is_first_too_deep(
    context: &Context<'_>,
    next: &str,
    (release, arch): (ReleaseId, ArchId),
) -> bool {
    let Ok(Item::Alias(next)) = context.symbols().type_(next, release, arch) else { return false };
    next.is.get(arch).is_some_and(|is| context.symbols().meaning(is, release, arch).is_ok())
}

fn is_struct(context: &Context<'_>, report: &mut Report<'_>, is: &TypeRef, place: &Place) -> bool {
    let TypeRef::Named(name) = is else { return false };
    let Some(Item::Struct(item)) = context.symbols().types(name).first() else { return false };
    let fault =
        fault(place.clone(), format!("`{name}` is no integer, so it cannot have another name"));
    report.add(fault.related(item.head.place.as_key(), "described here"));
    true
}
