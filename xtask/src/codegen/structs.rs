//! `arguments`: structs that are handed to a hypercall; and the layouts of blocks.

use super::aggregate::{Aggregate, Member};
use super::context::{CodegenError, Context, Scope};
use super::docs::Docs;
use super::text::call;
use super::types::View;
use crate::document::{Direction, Field, FieldUse, Struct};
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

/// The number of arguments that `new` takes at most: more cannot be told apart in a call.
const MOST_ARGUMENTS: usize = 7;

/// An argument and what is described inside it, and all of them for the proof of their layout.
pub(super) fn argument<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
) -> Result<(TokenStream, Vec<Aggregate<'d>>), CodegenError> {
    let outer = Aggregate::new(context, item, View::Argument)?;
    let docs = outer.with_table(context, Docs::item(context, &item.head));
    let mut tokens = definition(context, scope, &outer, docs, &context.deprecated(&item.head))?;
    let inner = outer.inner();
    for part in &inner {
        tokens.extend(part_of(context, scope, part)?);
    }
    Ok((tokens, [outer].into_iter().chain(inner).collect()))
}

/// Returns the layout of a block.
pub(super) fn raw<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &Struct,
    block: &Aggregate<'d>,
    deprecated: &TokenStream,
) -> Result<TokenStream, CodegenError> {
    let mut about = format!(
        "The layout of the memory that the parent module's handle [`{0}`](super::{0}) accesses.",
        block.name
    );
    if let Some(c) = &item.head.c {
        about += &format!(" In C: `{c}`.");
    }
    let more = "Use it for `size_of` and zeroed memory. Access shared memory through the handle, \
                whose methods document the fields.";
    definition(context, scope, block, Docs::of("").block([about]).block([more]), deprecated)
}

/// Returns a union or a struct that is described inside another.
fn part_of<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    part: &Aggregate<'d>,
) -> Result<TokenStream, CodegenError> {
    let docs = part.with_table(context, Docs::of(part.doc));
    let docs = docs.fact(format!("In C: `{}`.", part.label));
    if part.is_union {
        return union_(context, scope, part, docs);
    }
    definition(context, scope, part, docs, &TokenStream::new())
}

/// Returns a struct with C's layout. An argument can be made by `new`.
fn definition<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    aggregate: &Aggregate<'d>,
    docs: Docs,
    deprecated: &TokenStream,
) -> Result<TokenStream, CodegenError> {
    let cfg = context.item_cfg(aggregate.archs());
    let docs = docs.outer();
    let name = naming::ident(&aggregate.name);
    let members = aggregate.members(context)?;
    let fields = members.iter().map(|member| field(context, scope, aggregate, member));
    let data = aggregate.data(context, scope, &members);
    let (debug, proof, new) = match aggregate.view {
        View::Raw => (quote!(), quote!(raw), quote!()),
        View::Argument => {
            (quote!(, Debug), quote!(argument), new(context, scope, aggregate, &members))
        }
    };
    let proof = call(&quote!(crate::access::#proof), quote!(#name { #data }));
    Ok(quote! {
        #docs
        #cfg
        #deprecated
        #[repr(C)]
        #[derive(Clone, Copy #debug)]
        pub struct #name { #(#fields),* }

        #cfg
        #proof;

        #new
    })
}

fn field<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    aggregate: &Aggregate<'d>,
    member: &Member<'d>,
) -> TokenStream {
    let cfg = aggregate.cfg(context, member);
    let (name, type_) = (&member.name, member.type_.tokens(scope));
    let Some(field) = member.field else {
        return quote!(#[doc(hidden)] #cfg pub #name: #type_);
    };
    let way = match (field.use_, aggregate.direction) {
        (FieldUse::Direction(Direction::In), None) => "In.",
        (FieldUse::Direction(Direction::Out), None) => "Out.",
        (FieldUse::Direction(Direction::Both), None) => "In and out.",
        _ => "",
    };
    let docs = Docs::member(context, &field.head, aggregate.availability).fact(way).outer();
    let deprecated = context.deprecated_field(&field.head, aggregate.availability.releases);
    quote!(#docs #cfg #deprecated pub #name: #type_)
}

/// `new`, from what the caller has to say: what Xen reads.
fn new<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    aggregate: &Aggregate<'d>,
    members: &[Member<'d>],
) -> TokenStream {
    let is_read = |member: &&Member<'_>| {
        member.field.is_some_and(|field| is_read(aggregate.direction, field))
    };
    let read: Vec<&Member<'_>> = members.iter().filter(is_read).collect();
    let count = |arch| read.iter().filter(|member| member.archs.contains(arch)).count();
    let most = aggregate.archs().iter().map(count).max().unwrap_or(0);
    if !(1..=MOST_ARGUMENTS).contains(&most) {
        return TokenStream::new();
    }
    let arguments = read.iter().map(|member| {
        let cfg = aggregate.cfg(context, member);
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        quote!(#cfg #name: #type_)
    });
    let values = read.iter().map(|member| {
        let (cfg, name) = (aggregate.cfg(context, member), &member.name);
        quote!(#cfg #name)
    });
    // Clippy objects to a base that gives no field, so it is left out where all are given.
    let rest = (read.len() < members.len()).then(|| quote!(..Self::ZEROED));
    let cfg = context.item_cfg(aggregate.archs());
    let name = naming::ident(&aggregate.name);
    let docs = match rest {
        Some(_) => " Creates the value from its input fields. The others are zero.",
        None => " Creates the value from all of its fields.",
    };
    quote! {
        #cfg
        impl #name {
            #[doc = #docs]
            #[inline]
            #[must_use]
            pub const fn new(#(#arguments),*) -> Self {
                Self { #(#values,)* #rest }
            }
        }
    }
}

fn is_read(outer: Option<Direction>, field: &Field) -> bool {
    match field.use_ {
        FieldUse::Direction(direction) => outer.unwrap_or(direction) != Direction::Out,
        FieldUse::Access(_) | FieldUse::Nested | FieldUse::Reserved => false,
    }
}

/// Returns a union with private members. Each can be read, because every byte is always
/// initialised.
fn union_<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    union_: &Aggregate<'d>,
    docs: Docs,
) -> Result<TokenStream, CodegenError> {
    let cfg = context.item_cfg(union_.archs());
    let about = "Every byte is always initialised, so each member can be read at any time. The \
                 command and the fields beside the union select the meaningful member.";
    let docs = docs.block([about]).outer();
    let name = naming::ident(&union_.name);
    let members = union_.members(context)?;
    let data = union_.data(context, scope, &members);
    let functions = members.iter().filter_map(|member| {
        let field = member.field?;
        let cfg = union_.cfg(context, member);
        let (name, type_) = (&member.name, member.type_.tokens(scope));
        let docs = Docs::member(context, &field.head, union_.availability).outer();
        let from = naming::FROM.ident(&field.head.name);
        let about = format!(" Creates the union with this `{name}`. All other bytes are zero.");
        // No name of the description begins with a line in Rust.
        Some(quote! {
            #docs
            #cfg
            #[inline]
            #[must_use]
            pub const fn #name(&self) -> #type_ {
                crate::access::union_member!(self, #name)
            }

            #[doc = #about]
            #cfg
            #[inline]
            #[must_use]
            pub const fn #from(#name: #type_) -> Self {
                let mut _made = Self::ZEROED;
                _made.#name = #name;
                _made
            }
        })
    });
    let proof = call(&quote!(crate::access::argument), quote!(union #name { #data }));
    Ok(quote! {
        #docs
        #cfg
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub union #name { #data }

        #cfg
        impl #name {
            #(#functions)*
        }

        #cfg
        #proof;
    })
}
