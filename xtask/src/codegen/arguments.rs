//! `arguments`: structs that are handed to a hypercall.

use super::aggregate::{self, Aggregate, Member};
use super::context::{Context, Scope};
use super::docs::Docs;
use super::error::CodegenError;
use super::lifespan;
use super::types::View;
use crate::document::{Direction, Field, FieldUse, Struct};
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

/// `new` takes at most so many arguments: more cannot be told apart at a call.
const MOST_ARGUMENTS: usize = 7;

/// The struct, what is described inside it, and all of them for the proof of the layout.
pub(super) fn render<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
) -> Result<(TokenStream, Vec<Aggregate<'d>>), CodegenError> {
    let outer = aggregate::of_struct(context, item, View::Argument)?;
    let deprecated =
        lifespan::deprecated(context.manifest(), &item.head, context.manifest().all_releases());
    let docs = Docs::item(context, &item.head).per_arch(context, "Bytes:", &sizes(&outer));
    let mut tokens = outer.definition(context, scope, docs, &deprecated)?;
    tokens.extend(new(context, scope, &outer)?);
    let inner = outer.inner();
    for part in &inner {
        let docs = Docs::of(&format!("`{}` in C.", part.label));
        tokens.extend(part.definition(context, scope, docs, &TokenStream::new())?);
        if !part.is_union {
            tokens.extend(new(context, scope, part)?);
        }
    }
    let mut all = vec![outer];
    all.extend(inner);
    Ok((tokens, all))
}

fn sizes(aggregate: &Aggregate<'_>) -> Vec<(crate::document::ArchId, u32)> {
    aggregate.layouts.iter().map(|(arch, layout)| (*arch, layout.size)).collect()
}

/// `new`, from what the caller has to say.
fn new<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    aggregate: &Aggregate<'d>,
) -> Result<TokenStream, CodegenError> {
    let members = aggregate.members(context)?;
    let said = |member: &&Member<'d>| {
        member.field.is_some_and(|field| is_said(aggregate.direction, field))
    };
    let most = aggregate
        .archs()
        .iter()
        .map(|arch| {
            members.iter().filter(said).filter(|member| member.archs.contains(arch)).count()
        })
        .max();
    if !(1..=MOST_ARGUMENTS).contains(&most.unwrap_or(0)) {
        return Ok(TokenStream::new());
    }
    let arguments = members.iter().filter(said).map(|member| {
        let cfg = aggregate.member_cfg(context, member);
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        quote!(#cfg #name: #type_)
    });
    let said = members.iter().filter(said).map(|member| {
        let (cfg, name) = (aggregate.member_cfg(context, member), &member.name);
        quote!(#cfg #name)
    });
    let cfg = context.item_cfg(aggregate.availability);
    let name = naming::ident(&aggregate.name);
    Ok(quote! {
        #cfg
        impl #name {
            /// With what Xen reads; all else is zero.
            #[must_use]
            pub const fn new(#(#arguments),*) -> Self {
                crate::access::said!(#(#said),*)
            }
        }
    })
}

fn is_said(outer: Option<Direction>, field: &Field) -> bool {
    match field.use_ {
        FieldUse::Direction(direction) => outer.unwrap_or(direction) != Direction::Out,
        FieldUse::Access(_) | FieldUse::Nested | FieldUse::Reserved => false,
    }
}
