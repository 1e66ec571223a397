//! Checks that the type of a field suits its access, and that an atomic can hold the bits that both
//! sides change.

use super::report::{Report, fault};
use super::{Context, fields, structs};
use crate::diagnostic::Diagnostic;
use crate::document::{
    Access, ArchId, Architecture, Count, Field, FieldUse, PerArch, ReleaseId, Shape, Struct,
    StructKind, Writer,
};
use crate::layout::{Basis, Integer, Meaning};
use crate::yaml::Place;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    for item in structs(context.document) {
        flexible(context, report, item);
        for field in fields(&item.fields) {
            if let Shape::Type(type_) = &field.shape {
                for cell in context.symbols().cells(field.head.availability) {
                    let Ok(meaning) = context.symbols().meaning(type_, cell.0, cell.1) else {
                        continue;
                    };
                    if let Some(found) = judge(context, item, field, meaning, cell) {
                        report.add_in(cell, field.head.availability, found);
                    }
                }
            }
        }
    }
}

/// An array without a length is the last field of its struct, in each release on each architecture.
fn flexible(context: &Context<'_>, report: &mut Report<'_>, item: &Struct) {
    let help = "only the last field of a block or an argument can be flexible";
    for field in fields(&item.fields).into_iter().filter(|field| is_flexible(field)) {
        let place = field.head.place.key("count");
        let outer = item.fields.iter().position(|own| std::ptr::eq(own, field));
        let Some(index) = outer else {
            report.add(
                fault(
                    place,
                    format!("the flexible `{}` lies within another field", field.head.name),
                )
                .help(help),
            );
            continue;
        };
        for cell in context.symbols().cells(field.head.availability) {
            let next = item.fields[index + 1..]
                .iter()
                .find(|next| next.head.availability.contains(cell.0, cell.1));
            if let Some(next) = next {
                let fault = fault(
                    place.clone(),
                    format!("the flexible `{}` is not the last field", field.head.name),
                )
                .help(help);
                report.add_in(
                    cell,
                    field.head.availability,
                    fault.related(next.head.place.key("name"), "this field follows"),
                );
            }
        }
    }
}

fn is_flexible(field: &Field) -> bool {
    field.count.iter().flat_map(PerArch::values).any(|count| *count == Count::Flexible)
}

fn judge(
    context: &Context<'_>,
    item: &Struct,
    field: &Field,
    meaning: Meaning<'_>,
    (_, arch): (ReleaseId, ArchId),
) -> Option<Diagnostic> {
    let name = &field.head.name;
    let type_place = || field.head.place.key("type");
    match (field.use_, meaning.basis) {
        (FieldUse::Access(_), Basis::Struct(inner)) => {
            let found = fault(
                place_of_access(field),
                format!("`{name}` takes no `access`: it is a block itself"),
            );
            Some(
                found.related(inner.head.place.as_key(), "the fields of this block have their own"),
            )
        }
        (FieldUse::Nested, Basis::Struct(inner))
            if item.kind == StructKind::Block && inner.kind == StructKind::Argument =>
        {
            let found = fault(
                type_place(),
                format!("`{name}` is an argument of a hypercall, and cannot be shared memory"),
            );
            Some(
                found
                    .related(inner.head.place.as_key(), "described here")
                    .help("move it to `blocks`"),
            )
        }
        (FieldUse::Direction(_) | FieldUse::Reserved, Basis::Struct(inner))
            if item.kind == StructKind::Argument && inner.kind == StructKind::Block =>
        {
            let found = fault(
                type_place(),
                format!("`{name}` is a block, and an argument cannot contain shared memory"),
            );
            Some(
                found
                    .related(inner.head.place.as_key(), "described here")
                    .help("move it to `arguments`"),
            )
        }
        (FieldUse::Nested, Basis::Struct(_)) | (FieldUse::Direction(_) | FieldUse::Reserved, _) => {
            None
        }
        (FieldUse::Nested, _) if item.kind == StructKind::Block => Some(
            fault(field.head.place.key("name"), format!("`{name}` has no `access`"))
                .help("only a field that is a block itself needs none"),
        ),
        (FieldUse::Access(_), Basis::Handle(_)) => Some(
            fault(
                type_place(),
                format!("`{name}` is a guest pointer, which only an argument can hold"),
            )
            .help("use an integer"),
        ),
        (FieldUse::Access(access), _) => {
            let integer = Integer::of(meaning.basis.primitive()?, context.manifest().arch(arch));
            suits_access(field, access, integer)
        }
        (FieldUse::Nested, _) => None,
    }
}

fn suits_access(field: &Field, access: Access, integer: Integer) -> Option<Diagnostic> {
    let name = &field.head.name;
    let place = || field.head.place.key("type");
    let unsigned_32 = integer.size == 4 && !integer.signed;
    match access {
        Access::Index(Writer::Guest | Writer::Xen) if !unsigned_32 => Some(
            fault(place(), format!("the ring index `{name}` is no u32")).label("an index is a u32"),
        ),
        Access::Counter if !unsigned_32 || field.count.is_some() => Some(
            fault(place(), format!("the counter `{name}` is no u32")).label("a counter is a u32"),
        ),
        Access::Buffer if integer.size != 1 => {
            let found = fault(place(), format!("the buffer `{name}` is not made of bytes"));
            Some(
                found
                    .label(format!("each element has {} bytes", integer.size))
                    .help("use u8 or char"),
            )
        }
        Access::Bits if integer.signed => Some(
            fault(place(), format!("the bits of `{name}` are those of a signed integer"))
                .help("use an unsigned one"),
        ),
        _ => None,
    }
}

fn place_of_access(field: &Field) -> Place {
    field.head.place.key("access")
}

pub(super) fn atomics(context: &Context<'_>, report: &mut Report<'_>) {
    for field in structs(context.document).flat_map(|item| fields(&item.fields)) {
        let width = match field.use_ {
            FieldUse::Access(Access::Bits) => "bits",
            FieldUse::Access(Access::Index(_)) => "an index",
            _ => continue,
        };
        let Shape::Type(type_) = &field.shape else { continue };
        for cell in context.symbols().cells(field.head.availability) {
            let Some(primitive) = context
                .symbols()
                .meaning(type_, cell.0, cell.1)
                .ok()
                .and_then(|meaning| meaning.basis.primitive())
            else {
                continue;
            };
            let arch = context.manifest().arch(cell.1);
            if let Some(found) = unheld(field, width, Integer::of(primitive, arch), arch) {
                report.add_in(cell, field.head.availability, found);
            }
        }
    }
}

fn unheld(field: &Field, what: &str, integer: Integer, arch: &Architecture) -> Option<Diagnostic> {
    let bits = integer.bits();
    let why = if integer.size > arch.max_atomic_bytes {
        format!(
            "the widest atomic of {} has {} bits",
            arch.name,
            u64::from(arch.max_atomic_bytes) * 8
        )
    } else if integer.align < integer.size {
        format!(
            "{} aligns it to {} bytes, and an atomic to {}",
            arch.name, integer.align, integer.size
        )
    } else {
        return None;
    };
    let found = fault(
        field.head.place.key("access"),
        format!("no atomic can hold the {bits} bits of `{}`", field.head.name),
    )
    .label(why);
    Some(
        found
            .related(field.head.place.key("type"), format!("{bits} bits"))
            .help(format!("as {what} it must be read and changed in one go")),
    )
}
