//! The proof of the layout on the target: a constant for each struct that does not compile if a field has moved.

use super::aggregate::Aggregate;
use super::context::Context;
use super::error::RenderError;
use super::names;
use super::types::View;
use crate::document::{ArchId, ArchSet};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

pub(super) fn render(context: &Context<'_, '_>, aggregate: &Aggregate<'_>) -> Result<TokenStream, RenderError> {
    let name = names::ident(&aggregate.name);
    let path = if aggregate.view == View::Raw { quote!(raw::#name) } else { quote!(#name) };
    let all = context.manifest().all_archs();
    let groups = groups(aggregate);
    Ok(groups
        .into_iter()
        .map(|(archs, first)| {
            let cfg = context.cfg(archs, all);
            let layout = &aggregate.layouts[first].1;
            let (size, label) = (Literal::u32_unsuffixed(layout.size), &aggregate.label);
            let fields = layout.fields.iter().map(|placed| {
                let field = &aggregate.fields[placed.index];
                let (name, offset) = (names::FIELD.ident(&field.head.name), Literal::u32_unsuffixed(placed.offset));
                quote!(#name: #offset)
            });
            quote! {
                #cfg
                crate::access::layout!(#path, #label: #size { #(#fields),* });
            }
        })
        .collect())
}

/// Architectures with the same layout, and the index of the first.
fn groups(aggregate: &Aggregate<'_>) -> Vec<(ArchSet, usize)> {
    let mut groups: Vec<(Vec<ArchId>, usize)> = Vec::new();
    for (at, (arch, layout)) in aggregate.layouts.iter().enumerate() {
        let same = |first: usize| {
            let other = &aggregate.layouts[first].1;
            other.size == layout.size
                && other.fields.len() == layout.fields.len()
                && other.fields.iter().zip(&layout.fields).all(|(a, b)| (a.index, a.offset) == (b.index, b.offset))
        };
        match groups.iter_mut().find(|(_, first)| same(*first)) {
            Some((archs, _)) => archs.push(*arch),
            None => groups.push((vec![*arch], at)),
        }
    }
    groups.into_iter().map(|(archs, first)| (archs.into_iter().collect(), first)).collect()
}
