//! `types`: `pub type XenPfn = u64;`

use super::context::{Context, Scope, by_arch};
use super::docs::Docs;
use super::error::CodegenError;
use super::lifespan;
use super::types::{Cell, Length, Type, View, is_shadowed, meaning};
use crate::document::TypeAlias;
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn render(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    item: &TypeAlias,
) -> Result<TokenStream, CodegenError> {
    let head = &item.head;
    let all = context.manifest().all_archs();
    let release = context.release_of(head.availability);
    let name = context.item_ident(naming::TYPE, head);
    let deprecated =
        lifespan::deprecated(context.manifest(), head, context.manifest().all_releases());
    let groups = by_arch(head.availability.archs, |arch| {
        let cell = Cell { release, arch, view: View::Argument };
        let is = item
            .is
            .get(arch)
            .ok_or_else(|| CodegenError::new(&head.place, "no type for this architecture"))?;
        if is_shadowed(context, head, &meaning(context.names(), is, &head.place, cell)?) {
            return Ok(None);
        }
        let type_ = Type::of(context, is, &head.place, cell)?;
        match item.count.as_ref().and_then(|count| count.get(arch)) {
            Some(count) => Ok(Some(type_.array(Length::of(context, count, &head.place, cell)?))),
            None => Ok(Some(type_)),
        }
    })?;
    Ok(groups
        .into_iter()
        .filter_map(|(archs, type_)| Some((archs, type_?)))
        .map(|(archs, type_)| {
            let docs = Docs::item(context, head).outer(context);
            let cfg = context.cfg(archs, all);
            let type_ = type_.tokens(scope);
            quote!(#docs #cfg #deprecated pub type #name = #type_;)
        })
        .collect())
}
