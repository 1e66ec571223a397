//! `enumerations`: a newtype with named constants, because Xen may always use values that nobody
//! named.

use super::context::{Context, number};
use super::docs::Docs;
use super::lifespan;
use super::types::integer;
use crate::document::{ArchSet, Enumeration, Head, Value};
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::HashMap;

pub(super) fn render(context: &Context<'_, '_>, item: &Enumeration) -> TokenStream {
    let head = &item.head;
    let cfg = context.item_cfg(head.availability);
    let deprecated =
        lifespan::deprecated(context.manifest(), head, context.manifest().all_releases());
    let docs = Docs::item(context, head).outer(context);
    let name = context.item_ident(naming::TYPE, head);
    let is = integer(item.is);
    let heads: Vec<&Head> = item.values.iter().map(|value| &value.head).collect();
    let values = lifespan::distinct(naming::CONSTANT, &heads);
    let values = item
        .values
        .iter()
        .zip(values)
        .filter_map(|(value, name)| Some(constant(context, item, value, &name?)));
    let look_up = look_up(context, item);
    quote! {
        #docs
        #cfg
        #deprecated
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct #name(pub #is);

        #cfg
        impl #name {
            #(#values)*

            /// The value's name, as C spells it without its prefix; `None` for a value that has
            /// none here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                #look_up
            }
        }

        #cfg
        crate::access::named!(#name(#is));
    }
}

fn constant(
    context: &Context<'_, '_>,
    item: &Enumeration,
    value: &Value,
    name: &str,
) -> TokenStream {
    let within = item.head.availability;
    let docs = Docs::part(context, &value.head, within).outer(context);
    let cfg = context.cfg(value.head.availability.archs, within.archs);
    let deprecated = lifespan::deprecated(context.manifest(), &value.head, within.releases);
    let (name, value) = (naming::ident(name), number(value.value));
    quote!(#docs #cfg #deprecated pub const #name: Self = Self(#value);)
}

/// The body of `name`. Where two values are equal on an architecture, the later release's name is
/// told, or else the first.
fn look_up(context: &Context<'_, '_>, item: &Enumeration) -> TokenStream {
    let mut order: Vec<usize> = (0..item.values.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(item.values[at].head.availability.releases.until));
    let mut taken: HashMap<i128, Vec<ArchSet>> = HashMap::new();
    let mut shown: Vec<Option<ArchSet>> = vec![None; item.values.len()];
    for at in order {
        let value = &item.values[at];
        let earlier = taken.entry(value.value).or_default();
        let free: ArchSet = value
            .head
            .availability
            .archs
            .iter()
            .filter(|&arch| !earlier.iter().any(|archs| archs.contains(arch)))
            .collect();
        if !free.is_empty() {
            earlier.push(free);
            shown[at] = Some(free);
        }
    }
    let arms: Vec<TokenStream> = item
        .values
        .iter()
        .zip(shown)
        .filter_map(|(value, archs)| Some((value, archs?)))
        .map(|(value, archs)| {
            let cfg = context.cfg(archs, item.head.availability.archs);
            let (number, name) = (number(value.value), &value.head.name);
            quote!(#cfg #number => Some(#name),)
        })
        .collect();
    if arms.is_empty() { quote!(None) } else { quote!(match self.0 { #(#arms)* _ => None }) }
}
