//! `constants`: `pub const XEN_LEGACY_MAX_VCPUS: u32 = 32;`

use super::context::{Context, Scope, by_arch, number};
use super::docs::Docs;
use super::error::CodegenError;
use super::lifespan;
use super::types::{Cell, Type, View};
use crate::document::Constant;
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn render(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    item: &Constant,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let all = context.manifest().all_archs();
    let release = context.release_of(head.availability);
    let name = context.item_ident(naming::CONSTANT, head);
    let deprecated =
        lifespan::deprecated(context.manifest(), head, context.manifest().all_releases());
    let groups = by_arch(head.availability.archs, |arch| {
        let value = item
            .value
            .get(arch)
            .ok_or_else(|| CodegenError::new(&head.place, "no value for this architecture"))?;
        Ok((
            Type::of(context, &item.type_, &head.place, Cell { release, arch, view: View::Raw })?,
            *value,
        ))
    })?;
    Ok(groups
        .into_iter()
        .map(|(archs, (type_, value))| {
            let docs = Docs::item(context, head).outer(context);
            let cfg = context.cfg(archs, all);
            let (type_, value) = (type_.tokens(scope), number(value));
            quote!(#docs #cfg #deprecated pub const #name: #type_ = #value;)
        })
        .collect())
}
