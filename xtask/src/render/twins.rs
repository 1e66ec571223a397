//! The proof of the layout on any host: twins of each architecture's structs, which rustc lays out by that architecture's rules.
//!
//! A twin has none of the padding that the resolver found. Where a 64-bit integer is aligned to less than its size, `packed` caps the
//! alignment; where it is aligned to its size, `Wide` has that alignment even on a host whose `u64` has not.

use super::aggregate::Aggregate;
use super::context::Context;
use super::error::RenderError;
use super::names;
use super::types::{Cell, meaning};
use crate::document::{ArchId, Field, Shape};
use crate::resolve::{Basis, FieldLayout, Integer, Layout};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// The test module of a file.
pub(super) fn render(context: &Context<'_, '_>, file: &str, aggregates: &[Aggregate<'_>]) -> Result<TokenStream, RenderError> {
    if aggregates.is_empty() {
        return Ok(TokenStream::new());
    }
    let modules = context.manifest().all_archs().iter().map(|arch| module(context, file, aggregates, arch));
    let modules = modules.collect::<Result<Vec<_>, RenderError>>()?;
    Ok(quote! {
        #[cfg(test)]
        #[allow(dead_code, reason = "only the layout of these structs matters")]
        pub(crate) mod layout {
            #(#modules)*
        }
    })
}

fn module(context: &Context<'_, '_>, file: &str, aggregates: &[Aggregate<'_>], arch: ArchId) -> Result<TokenStream, RenderError> {
    let architecture = context.manifest().arch(arch);
    let capped = architecture.align_u64 < 8;
    let twins = aggregates.iter().filter_map(|aggregate| {
        let (_, layout) = aggregate.layouts.iter().find(|(of, _)| *of == arch)?;
        Some(twin(context, file, aggregate, layout, arch, capped))
    });
    let twins = twins.collect::<Result<Vec<_>, RenderError>>()?;
    if twins.is_empty() {
        return Ok(TokenStream::new());
    }
    let name = names::MODULE.ident(&architecture.name);
    let wide = (!capped).then(|| {
        quote!(
            #[repr(C, align(8))]
            pub(crate) struct Wide([u8; 8]);
        )
    });
    Ok(quote!(pub(crate) mod #name { #wide #(#twins)* }))
}

fn twin(
    context: &Context<'_, '_>,
    file: &str,
    aggregate: &Aggregate<'_>,
    layout: &Layout,
    arch: ArchId,
    capped: bool,
) -> Result<TokenStream, RenderError> {
    let name = names::ident(&aggregate.name);
    let rules = if capped {
        let most = Literal::u32_unsuffixed(context.manifest().arch(arch).align_u64);
        quote!(packed #most)
    } else {
        quote!(natural)
    };
    let mut fields = Vec::new();
    for placed in &layout.fields {
        let field = &aggregate.fields[placed.index];
        let (member, type_) = (names::FIELD.ident(&field.head.name), type_of(context, file, aggregate, field, placed, arch)?);
        let offset = Literal::u32_unsuffixed(placed.offset);
        fields.push(quote!(#member: #type_ = #offset));
    }
    let kind = if aggregate.is_union { quote!(union) } else { quote!(struct) };
    let size = Literal::u32_unsuffixed(layout.size);
    let test: Ident = names::FIELD.ident(&aggregate.name);
    Ok(quote!(crate::access::twin!(#rules, #kind #name, #test: #size { #(#fields),* });))
}

fn type_of(
    context: &Context<'_, '_>,
    file: &str,
    aggregate: &Aggregate<'_>,
    field: &Field,
    placed: &FieldLayout,
    arch: ArchId,
) -> Result<TokenStream, RenderError> {
    let element = match &field.shape {
        Shape::Union { .. } | Shape::Struct(_) => {
            let name = names::ident(&format!("{}{}", aggregate.name, names::TYPE.apply(&field.head.name)));
            quote!(#name)
        }
        Shape::Type(type_) => {
            let cell = Cell { release: aggregate.release, arch, view: aggregate.view };
            let basis = meaning(context.names(), type_, &field.head.place, cell)?;
            let one = match basis {
                Basis::Struct(item) => {
                    let name = context.item_ident(names::TYPE, &item.head);
                    if item.head.place.file == file {
                        quote!(#name)
                    } else {
                        let (file, arch) = (names::MODULE.ident(&item.head.place.file), names::MODULE.ident(context.arch_name(arch)));
                        quote!(crate::#file::layout::#arch::#name)
                    }
                }
                _ => integer(context, &basis, arch),
            };
            let size = basis.primitive().map_or(placed.element_size, |of| Integer::of(of, context.manifest().arch(arch)).size);
            // An alias may itself be an array.
            if size == placed.element_size || size == 0 { one } else { array(&one, placed.element_size / size) }
        }
    };
    Ok(match placed.count {
        Some(count) => array(&element, count),
        None => element,
    })
}

fn integer(context: &Context<'_, '_>, basis: &Basis<'_>, arch: ArchId) -> TokenStream {
    let architecture = context.manifest().arch(arch);
    let size = basis.primitive().map_or(architecture.pointer_bytes, |of| Integer::of(of, architecture).size);
    match size {
        1 => quote!(u8),
        2 => quote!(u16),
        4 => quote!(u32),
        _ if architecture.align_u64 < 8 => quote!(u64),
        _ => quote!(Wide),
    }
}

fn array(element: &TokenStream, count: u32) -> TokenStream {
    let count = Literal::u32_unsuffixed(count);
    quote!([#element; #count])
}
