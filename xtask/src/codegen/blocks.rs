//! `blocks`: a handle whose methods give each field's register.

use super::aggregate::{Aggregate, Member};
use super::context::{CodegenError, Context, Scope, by_arch};
use super::docs::Docs;
use super::types::{Length, Path, Type, View, meaning};
use super::{snapshots, structs};
use crate::document::{Access, ArchId, ArchSet, Field, FieldUse, Struct, Writer};
use crate::layout::Basis;
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

/// What a block becomes.
pub(super) struct Block<'d> {
    /// Its layout, for the module `raw`.
    pub(super) raw: TokenStream,
    /// The handle and its snapshots.
    pub(super) handle: TokenStream,
    /// The layout, for its proof.
    pub(super) aggregate: Aggregate<'d>,
}

pub(super) fn block<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
) -> Result<Block<'d>, CodegenError> {
    let aggregate = Aggregate::new(context, item, View::Raw)?;
    let deprecated = context.deprecated(&item.head);
    Ok(Block {
        raw: structs::raw(context, scope.raw(), item, &aggregate, &deprecated)?,
        handle: handle(context, scope, item, &aggregate, &deprecated)?,
        aggregate,
    })
}

fn handle<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
    block: &Aggregate<'d>,
    deprecated: &TokenStream,
) -> Result<TokenStream, CodegenError> {
    let opening = format!("Handle to shared memory with the layout [`raw::{}`].", block.name);
    let docs = Docs::item(context, &item.head).opening(&opening);
    let docs = block.with_table(context, docs).outer();
    let cfg = context.item_cfg(block.archs());
    let name = naming::ident(&block.name);
    let mut methods = TokenStream::new();
    for index in 0..block.fields.len() {
        for member in block.described(context, index)? {
            methods.extend(accessors(context, scope, block, index, &member)?);
        }
    }
    let (snapshot_methods, snapshot_types) = snapshots::snapshots(context, scope, item, block)?;
    Ok(quote! {
        #docs
        #cfg
        #deprecated
        #[derive(Clone, Copy, Debug)]
        pub struct #name<'a> {
            ptr: crate::access::Block<'a, raw::#name>,
        }

        #cfg
        impl<'a> #name<'a> {
            /// Creates the handle of the block at `ptr`.
            ///
            /// # Safety
            /// For all of `'a`, `ptr` must point to mapped memory of the block's size and
            /// alignment. This program must access the memory only through such handles; any number
            /// of them, on any thread, may be in use. Otherwise only the other side may access it.
            #[inline]
            #[must_use]
            pub const unsafe fn from_ptr(ptr: ::core::ptr::NonNull<raw::#name>) -> Self {
                Self { ptr: crate::access::Block::new(ptr) }
            }

            /// Returns the block's address.
            #[inline]
            #[must_use]
            pub const fn as_ptr(self) -> ::core::ptr::NonNull<raw::#name> {
                self.ptr.as_ptr()
            }

            #methods
            #snapshot_methods
        }

        #snapshot_types
    })
}

/// What the accessor of a field returns.
#[derive(PartialEq)]
enum Kind {
    /// The handle of the inner block.
    Nested(Path),
    /// A register of an integer, and the module of its word's fields.
    Integer(Type, Option<Path>),
}

/// Returns the accessors of a member: one for all architectures, unless what it returns differs.
fn accessors<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    block: &Aggregate<'d>,
    index: usize,
    member: &Member<'d>,
) -> Result<TokenStream, CodegenError> {
    let field = &block.fields[index];
    if matches!(
        field.use_,
        FieldUse::Reserved
            | FieldUse::Direction(_)
            | FieldUse::Access(Access::Versioned | Access::Counter)
    ) {
        return Ok(TokenStream::new());
    }
    let groups = by_arch(member.archs, |arch| kind(context, block, field, arch))?;
    let mut methods = TokenStream::new();
    for (archs, kind) in groups {
        methods.extend(accessor(context, scope, block, index, archs, &kind)?);
    }
    Ok(methods)
}

fn kind<'d>(
    context: &Context<'_, 'd>,
    block: &Aggregate<'d>,
    field: &'d Field,
    arch: ArchId,
) -> Result<Kind, CodegenError> {
    let place = &field.head.place;
    let Some(type_) = field.type_() else {
        return Err(CodegenError::new(place, "describe what lies in a block as another block"));
    };
    let integer = || Type::of(context, type_, place, block.cell(arch));
    Ok(match meaning(context, type_, place, block.cell(arch))? {
        Basis::Struct(item) => Kind::Nested(Path::new(context, naming::TYPE, &item.head)),
        Basis::Integer(_) | Basis::Enumeration(_) => Kind::Integer(integer()?, None),
        Basis::Word(item) => {
            Kind::Integer(integer()?, Some(Path::new(context, naming::MODULE, &item.head)))
        }
        Basis::Handle(_) => {
            return Err(CodegenError::new(place, "a handle that is accessed cannot be in a block"));
        }
    })
}

fn accessor<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    block: &Aggregate<'d>,
    index: usize,
    archs: ArchSet,
    kind: &Kind,
) -> Result<TokenStream, CodegenError> {
    let field = &block.fields[index];
    let name = naming::FIELD.ident(&field.head.name);
    let cfg = context.cfg(archs, block.archs());
    let here = block.layouts_of(index).filter(|(arch, _)| archs.contains(*arch));
    let offsets: Vec<(ArchId, u32)> = here.map(|(arch, layout)| (arch, layout.offset)).collect();
    let docs = Docs::member(context, &field.head, block.availability);
    let docs = docs.fact(by_whom(field)).per_arch(context, "Offset", &offsets);
    let deprecated = context.deprecated_field(&field.head, block.availability.releases);
    let is_array = field.count.is_some() && field.use_ != FieldUse::Access(Access::Buffer);
    let (type_, one, element) = match kind {
        Kind::Nested(path) => {
            let path = path.tokens(scope);
            (
                quote!(#path<'a>),
                quote!(nested!(self.ptr, #path, #name)),
                quote!(nested_element!(self.ptr, #path, #name, index)),
            )
        }
        Kind::Integer(integer, word) => {
            let register = naming::ident(register(field));
            let type_ = match register.to_string().as_str() {
                "OwnIndex" | "PeerIndex" | "Buffer" => quote!(crate::access::#register<'a>),
                _ => {
                    let word = word.as_ref().map(|word| word.tokens(scope));
                    let word = word.map(|word| quote!(, #word::Register));
                    let integer = integer.tokens(scope);
                    quote!(crate::access::#register<'a, #integer #word>)
                }
            };
            (
                type_,
                quote!(field!(self.ptr, #register, #name)),
                quote!(element!(self.ptr, #register, #name, index)),
            )
        }
    };
    if !is_array {
        let docs = docs.outer();
        return Ok(quote! {
            #docs
            #cfg
            #deprecated
            #[inline]
            #[must_use]
            pub fn #name(self) -> #type_ { crate::access::#one }
        });
    }
    let count = count(context, scope, block, field, archs)?;
    let docs = docs.block(["`None` if there is no element at `index`."]).outer();
    Ok(quote! {
        #count

        #docs
        #cfg
        #deprecated
        #[inline]
        #[must_use]
        pub fn #name(self, index: usize) -> Option<#type_> { crate::access::#element }
    })
}

/// Returns the constant with the number of an array's elements.
fn count(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    block: &Aggregate<'_>,
    field: &Field,
    archs: ArchSet,
) -> Result<TokenStream, CodegenError> {
    let place = &field.head.place;
    let groups = by_arch(archs, |arch| {
        let count = field.count.as_ref().and_then(|count| count.get(arch));
        let count =
            count.ok_or_else(|| CodegenError::new(place, "no count for this architecture"))?;
        Length::of(context, count, place, block.cell(arch))
    })?;
    let name = naming::COUNT.ident(&field.head.name);
    let method = naming::FIELD.name(&field.head.name);
    let about = format!(" The number of elements of [`{method}`](Self::{method}).");
    let each = groups.iter().map(|(archs, length)| {
        let (cfg, length) = (context.cfg(*archs, block.archs()), length.tokens(scope));
        quote!(#[doc = #about] #cfg pub const #name: usize = #length;)
    });
    Ok(each.collect())
}

/// Returns the register type of the access module.
fn register(field: &Field) -> &'static str {
    match field.use_ {
        FieldUse::Access(Access::Bits) => "Bits",
        FieldUse::Access(Access::Plain(Writer::Guest)) => "ReadWrite",
        FieldUse::Access(Access::Index(Writer::Guest)) => "OwnIndex",
        FieldUse::Access(Access::Index(Writer::Xen)) => "PeerIndex",
        FieldUse::Access(Access::Buffer) => "Buffer",
        _ => "ReadOnly",
    }
}

/// Who writes a field, in words.
fn by_whom(field: &Field) -> &'static str {
    match field.use_ {
        FieldUse::Access(Access::Bits) => "Both sides change its bits.",
        FieldUse::Access(Access::Plain(Writer::Guest) | Access::Index(Writer::Guest)) => {
            "Written by this side."
        }
        FieldUse::Access(Access::Plain(Writer::Xen) | Access::Index(Writer::Xen)) => {
            "Written by the other side."
        }
        _ => "",
    }
}
