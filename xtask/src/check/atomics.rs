//! Bits that both sides change are changed atomically, so an atomic must be able to hold them on
//! each architecture.

use super::Context;
use super::report::{Report, fault};
use super::walk::{fields, structs};
use crate::diagnostic::Diagnostic;
use crate::document::{Access, Architecture, Field, FieldUse, Shape};
use crate::layout::Integer;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
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
