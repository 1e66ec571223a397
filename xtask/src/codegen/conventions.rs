//! `conventions`: how the target makes a hypercall, as data.

use super::context::Context;
use super::docs::Docs;
use super::error::CodegenError;
use crate::document::{ArchSet, Convention};
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn render(
    context: &Context<'_, '_>,
    item: &Convention,
) -> Result<TokenStream, CodegenError> {
    let all = context.manifest().all_archs();
    let cfg = context.cfg(ArchSet::from_iter([item.arch]), all);
    let docs = Docs::of(&item.doc).outer(context);
    let Convention { number, arguments, result, instructions, page, clobbers, .. } = item;
    let immediate = match &item.immediate {
        None => quote!(None),
        Some(name) => {
            let value = context
                .names()
                .constant_value(name, context.manifest().newest(), item.arch)
                .map_err(CodegenError::at(&item.place))?;
            let value = super::context::number(value);
            quote!(Some(#value))
        }
    };
    Ok(quote! {
        #docs
        #cfg
        pub const CONVENTION: crate::command::Convention = crate::command::Convention {
            number: #number,
            arguments: &[#(#arguments),*],
            result: #result,
            instructions: &[#(#instructions),*],
            page: #page,
            immediate: #immediate,
            clobbers: &[#(#clobbers),*],
        };
    })
}
