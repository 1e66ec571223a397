//! The proof of the layout on any host: twins of each architecture's structs, which rustc lays out
//! by that architecture's rules.
//!
//! A twin has none of the padding that the resolver found. Where a 64-bit integer is aligned to
//! less than its size, `packed` caps the alignment; where it is aligned to its size, `Wide` has
//! that alignment even on a host whose `u64` has not.

use super::aggregate::Aggregate;
use super::context::Context;
use super::error::CodegenError;
use super::pages::Call;
use super::types::{Cell, meaning};
use crate::document::{ArchId, Field, Shape};
use crate::layout::{Basis, FieldLayout, Integer, Layout};
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

/// The test module of a file.
pub(super) fn render(
    context: &Context<'_, '_>,
    file: &str,
    aggregates: &[Aggregate<'_>],
) -> Result<TokenStream, CodegenError> {
    if aggregates.is_empty() {
        return Ok(TokenStream::new());
    }
    let modules =
        context.manifest().all_archs().iter().map(|arch| module(context, file, aggregates, arch));
    let modules = modules.collect::<Result<Vec<_>, CodegenError>>()?;
    Ok(quote! {
        #[cfg(test)]
        #[allow(dead_code, reason = "only the layout of these structs matters")]
        pub(crate) mod layout {
            #(#modules)*
        }
    })
}

fn module(
    context: &Context<'_, '_>,
    file: &str,
    aggregates: &[Aggregate<'_>],
    arch: ArchId,
) -> Result<TokenStream, CodegenError> {
    let architecture = context.manifest().arch(arch);
    let capped = architecture.align_u64 < 8;
    let twins = aggregates.iter().filter_map(|aggregate| {
        let (_, layout) = aggregate.layouts.iter().find(|(of, _)| *of == arch)?;
        Some(twin(context, file, aggregate, layout, arch, capped))
    });
    let twins = twins.collect::<Result<Vec<_>, CodegenError>>()?;
    if twins.is_empty() {
        return Ok(TokenStream::new());
    }
    let name = naming::MODULE.ident(&architecture.name);
    let wide = (!capped).then(|| {
        quote!(
            #[repr(C, align(8))]
            pub(crate) struct Wide([u8; 8]);
        )
    });
    let twins = context.pages.calls(twins);
    Ok(quote!(pub(crate) mod #name { #wide #twins }))
}

fn twin(
    context: &Context<'_, '_>,
    file: &str,
    aggregate: &Aggregate<'_>,
    layout: &Layout,
    arch: ArchId,
    capped: bool,
) -> Result<Call, CodegenError> {
    let list = layout.fields.iter().map(|placed| {
        let field = &aggregate.fields[placed.index];
        let type_ = type_of(context, file, aggregate, field, placed, arch)?;
        Ok(format!("{}: {type_} = {}", naming::FIELD.ident(&field.head.name), placed.offset))
    });
    let list = list.collect::<Result<_, CodegenError>>()?;
    let rules = if capped {
        format!("packed {}", context.manifest().arch(arch).align_u64)
    } else {
        "natural".to_owned()
    };
    let kind = if aggregate.is_union { "union" } else { "struct" };
    let (name, test) = (naming::ident(&aggregate.name), naming::FIELD.ident(&aggregate.name));
    Ok(Call {
        cfg: String::new(),
        head: format!("twin!({rules}, {kind} {name}, {test}: {}", layout.size),
        list,
    })
}

fn type_of(
    context: &Context<'_, '_>,
    file: &str,
    aggregate: &Aggregate<'_>,
    field: &Field,
    placed: &FieldLayout,
    arch: ArchId,
) -> Result<String, CodegenError> {
    let element = match &field.shape {
        Shape::Union { .. } | Shape::Struct(_) => {
            naming::ident(&format!("{}{}", aggregate.name, naming::TYPE.apply(&field.head.name)))
                .to_string()
        }
        Shape::Type(type_) => {
            let cell = Cell { release: aggregate.release, arch, view: aggregate.view };
            let basis = meaning(context.names(), type_, &field.head.place, cell)?;
            let one = match basis {
                Basis::Struct(item) => {
                    let name = context.item_ident(naming::TYPE, &item.head);
                    if item.head.place.file == file {
                        name.to_string()
                    } else {
                        let (file, arch) = (
                            naming::MODULE.ident(&item.head.place.file),
                            naming::MODULE.ident(context.arch_name(arch)),
                        );
                        format!("crate::{file}::layout::{arch}::{name}")
                    }
                }
                _ => integer(context, &basis, arch).to_owned(),
            };
            let size = basis.primitive().map_or(placed.element_size, |of| {
                Integer::of(of, context.manifest().arch(arch)).size
            });
            // An alias may itself be an array.
            if size == placed.element_size || size == 0 {
                one
            } else {
                array(&one, placed.element_size / size)
            }
        }
    };
    Ok(match placed.count {
        Some(count) => array(&element, count),
        None => element,
    })
}

fn integer(context: &Context<'_, '_>, basis: &Basis<'_>, arch: ArchId) -> &'static str {
    let architecture = context.manifest().arch(arch);
    let size = basis
        .primitive()
        .map_or(architecture.pointer_bytes, |of| Integer::of(of, architecture).size);
    match size {
        1 => "u8",
        2 => "u16",
        4 => "u32",
        _ if architecture.align_u64 < 8 => "u64",
        _ => "Wide",
    }
}

fn array(element: &str, count: u32) -> String {
    format!("[{element}; {count}]")
}
