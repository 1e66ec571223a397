//! Unions of arguments: private members, of which each can be read because every byte is always
//! initialised.

use super::aggregate::Aggregate;
use super::context::{Context, Scope};
use super::docs::Docs;
use super::error::CodegenError;
use crate::document::{ArchId, ArchSet};
use crate::layout::Layout;
use crate::naming;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

pub(super) fn definition<'d>(
    union_: &Aggregate<'d>,
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    docs: Docs,
) -> Result<TokenStream, CodegenError> {
    let cfg = context.item_cfg(union_.availability);
    let docs = docs.paragraph("Every byte of it is always initialised, so that each member can be read at any time; only the command tells which one means anything.").outer(context);
    let name = naming::ident(&union_.name);
    let mut members = Vec::new();
    for index in 0..union_.fields.len() {
        members.extend(union_.described(context, index)?);
    }
    let fields = members.iter().map(|member| {
        let cfg = union_.member_cfg(context, member);
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        quote!(#cfg #name: #type_,)
    });
    let data = union_.data(context, scope, &members);
    let padded = padded(union_);
    let bytes = padded.iter().map(|(archs, size)| {
        let cfg = context.cfg(*archs, union_.archs());
        let size = Literal::u32_unsuffixed(*size);
        quote!(#cfg _all: [u8; #size])
    });
    let bytes: Vec<TokenStream> = bytes.collect();
    let functions = members.iter().map(|member| {
        let cfg = union_.member_cfg(context, member);
        let Some(field) = member.field else { return TokenStream::new() };
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        let docs = Docs::member(context, &field.head, union_.availability).outer(context);
        let from = naming::ident(&format!("from_{}", naming::FIELD.apply(&field.head.name)));
        let about = format!(" With this as its `{name}`, and all other bytes zero.");
        quote! {
            #docs
            #cfg
            #[must_use]
            pub const fn #name(&self) -> #type_ {
                crate::access::union_member!(self, #name)
            }

            #[doc = #about]
            #cfg
            #[must_use]
            pub const fn #from(#name: #type_) -> Self {
                crate::access::said!(#name)
            }
        }
    });
    Ok(quote! {
        #docs
        #cfg
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub union #name { #(#fields)* #(#bytes),* }

        #cfg
        impl #name {
            #(#functions)*
        }

        #cfg
        crate::access::argument!(union #name { #data, #(#bytes),* });
    })
}

/// The architectures on which no member fills the union, with its size.
fn padded(union_: &Aggregate<'_>) -> Vec<(ArchSet, u32)> {
    let filled = |layout: &Layout| layout.fields.iter().any(|field| field.size == layout.size);
    let open = union_.layouts.iter().filter(|(_, layout)| !filled(layout));
    let mut groups: Vec<(Vec<ArchId>, u32)> = Vec::new();
    for (arch, layout) in open {
        match groups.iter_mut().find(|(_, size)| *size == layout.size) {
            Some((archs, _)) => archs.push(*arch),
            None => groups.push((vec![*arch], layout.size)),
        }
    }
    groups.into_iter().map(|(archs, size)| (archs.into_iter().collect(), size)).collect()
}
