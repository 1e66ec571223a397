//! The proofs of the layouts, as calls of macros: on the target, constants that do not compile if a
//! field has moved; on any host, twins of each architecture's structs, which rustc lays out by that
//! architecture's rules. There is nothing in them but names and numbers, so they are text.
//!
//! A twin has none of the computed padding. Where a 64-bit integer is aligned to less than its
//! size, `packed` caps the alignment; where it is aligned to its size, `Wide_` has that alignment
//! even on a host whose `u64` has not.

use super::aggregate::Aggregate;
use super::context::{CodegenError, Context, grouped};
use super::text::set_call;
use super::types::{View, meaning};
use crate::document::{ArchId, Field};
use crate::layout::{Basis, FieldLayout, Integer, Layout};
use crate::naming;
use std::fmt::Write as _;

/// Returns the proofs of a file's structs.
pub(super) fn proofs<'d>(
    context: &Context<'_, 'd>,
    file: &str,
    aggregates: &[Aggregate<'d>],
) -> Result<String, CodegenError> {
    if aggregates.is_empty() {
        return Ok(String::new());
    }
    let mut text = "\n".to_owned();
    text.extend(aggregates.iter().map(|aggregate| on_target(context, aggregate)));
    text.push_str("\n#[cfg(test)]\n");
    text.push_str("#[allow(dead_code, reason = \"only the layout of these structs matters\")]\n");
    text.push_str("pub(crate) mod layout {\n");
    for arch in context.manifest().all_archs().iter() {
        text.push_str(&Twins { context, file, arch }.module(aggregates)?);
    }
    Ok(text + "}\n")
}

/// Returns the proof on the target.
fn on_target(context: &Context<'_, '_>, aggregate: &Aggregate<'_>) -> String {
    let raw = if aggregate.view == View::Raw { "raw::" } else { "" };
    let offsets = |layout: &Layout| -> Vec<(usize, u32)> {
        layout.fields.iter().map(|placed| (placed.index, placed.offset)).collect()
    };
    let layouts = aggregate.layouts.iter();
    let groups = grouped(layouts.map(|(arch, layout)| (*arch, (layout.size, offsets(layout)))));
    let call = |(archs, (size, offsets)): (_, (u32, Vec<(usize, u32)>))| {
        let head = format!("{raw}{}, \"{}\": {size} ", aggregate.name, aggregate.label);
        let field = |(index, offset): (usize, u32)| {
            format!("{}: {offset}", naming::FIELD.name(&aggregate.fields[index].head.name))
        };
        let list: Vec<String> = offsets.into_iter().map(field).collect();
        context.item_cfg_text(archs) + &set_call("", "crate::access::layout!", &head, &list, ";")
    };
    groups.into_iter().map(call).collect()
}

/// The twins of one architecture.
struct Twins<'c, 'l, 'd> {
    context: &'c Context<'l, 'd>,
    file: &'c str,
    arch: ArchId,
}

impl<'d> Twins<'_, '_, 'd> {
    fn module(&self, aggregates: &[Aggregate<'d>]) -> Result<String, CodegenError> {
        let architecture = self.context.manifest().arch(self.arch);
        let rules = match architecture.align_u64 {
            8.. => "natural".to_owned(),
            most => format!("packed {most}"),
        };
        let mut twins = String::new();
        for aggregate in aggregates {
            let mut layouts = aggregate.layouts.iter();
            if let Some((_, layout)) = layouts.find(|(arch, _)| *arch == self.arch) {
                let kind = if aggregate.is_union { "union" } else { "struct" };
                let head = format!("{rules}, {kind} {}: {} ", aggregate.name, layout.size);
                let fields = layout.fields.iter().map(|placed| self.field(aggregate, placed));
                let list = fields.collect::<Result<Vec<_>, _>>()?;
                twins += &set_call("        ", "crate::access::twin!", &head, &list, ";");
            }
        }
        if twins.is_empty() {
            return Ok(twins);
        }
        let mut text =
            format!("    pub(crate) mod {} {{\n", naming::MODULE.name(&architecture.name));
        if architecture.align_u64 == 8 {
            text += "        #[repr(C, align(8))]\n        pub(crate) struct Wide_([u8; 8]);\n";
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{twins}    }}");
        Ok(text)
    }

    fn field(
        &self,
        aggregate: &Aggregate<'d>,
        placed: &FieldLayout,
    ) -> Result<String, CodegenError> {
        let field = &aggregate.fields[placed.index];
        let (name, type_) =
            (naming::FIELD.name(&field.head.name), self.type_of(aggregate, field, placed)?);
        Ok(format!("{name}: {type_} = {}", placed.offset))
    }

    fn type_of(
        &self,
        aggregate: &Aggregate<'d>,
        field: &'d Field,
        placed: &FieldLayout,
    ) -> Result<String, CodegenError> {
        let element = match field.type_() {
            None => naming::inner(&aggregate.name, &field.head.name),
            Some(type_) => {
                let place = &field.head.place;
                let basis = meaning(self.context, type_, place, aggregate.cell(self.arch))?;
                let (one, size) = self.one(&basis, placed.element_size);
                // An alias may itself be an array.
                if size == placed.element_size || size == 0 {
                    one
                } else {
                    format!("[{one}; {}]", placed.element_size / size)
                }
            }
        };
        Ok(match placed.count {
            Some(count) => format!("[{element}; {count}]"),
            None => element,
        })
    }

    /// The twin of what a type is in the end, and its size.
    fn one(&self, basis: &Basis<'_>, element_size: u32) -> (String, u32) {
        let architecture = self.context.manifest().arch(self.arch);
        let size = match (basis, basis.primitive()) {
            (Basis::Struct(item), _) => {
                let name = self.context.item_name(naming::TYPE, &item.head);
                if item.head.place.file == self.file {
                    return (name, element_size);
                }
                let file = naming::MODULE.name(&item.head.place.file);
                let arch = naming::MODULE.name(&architecture.name);
                return (format!("crate::{file}::layout::{arch}::{name}"), element_size);
            }
            (_, Some(primitive)) => Integer::of(primitive, architecture).size,
            (_, None) => architecture.pointer_bytes,
        };
        let name = match size {
            1 => "u8",
            2 => "u16",
            4 => "u32",
            _ if architecture.align_u64 < 8 => "u64",
            _ => "Wide_",
        };
        (name.to_owned(), size)
    }
}
