//! Symbols of types lead to an integer, and not back to themselves.

use super::Context;
use super::places::spread;
use super::report::{Report, fault};
use crate::diagnostic::Diagnostic;
use crate::document::{ArchId, ReleaseId, TypeRef};
use crate::layout::{Item, MAX_ALIASES, Problem};
use crate::yaml::Place;

pub(super) fn check<'d>(context: &Context<'d>, report: &mut Report<'_>) {
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

/// The circle as seen from the alias, if that is the one to tell of it: all the others on it see
/// the same.
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

/// Whether the alias before this one in the chain is not yet too far from the end.
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
