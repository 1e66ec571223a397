//! `blocks`: the layout in the module `raw`, and a handle whose methods give each field's register.

use super::aggregate::{self, Aggregate, Member};
use super::context::{Context, Scope, by_arch};
use super::docs::Docs;
use super::error::CodegenError;
use super::types::{Cell, Length, Type, View, meaning};
use super::{lifespan, snapshots};
use crate::document::{
    Access, ArchId, ArchSet, Count, Field, FieldUse, PerArch, Shape, Struct, TypeRef, Writer,
};
use crate::layout::Basis;
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// What a block becomes.
pub(super) struct Block<'d> {
    /// For the module `raw`.
    pub(super) raw: TokenStream,
    /// The handle and its snapshots.
    pub(super) handle: TokenStream,
    /// The raw structs, for the proof of their layout.
    pub(super) aggregates: Vec<Aggregate<'d>>,
}

pub(super) fn render<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
) -> Result<Block<'d>, CodegenError> {
    let outer = aggregate::of_struct(context, item, View::Raw)?;
    let deprecated =
        lifespan::deprecated(context.manifest(), &item.head, context.manifest().all_releases());
    let sizes: Vec<(ArchId, u32)> =
        outer.layouts.iter().map(|(arch, layout)| (*arch, layout.size)).collect();
    let name = naming::ident(&outer.name);
    let docs = Docs::of(&format!("Memory layout of `{}`.", item.head.name)).paragraph(format!(
        "For `size_of` and zeroed memory. Shared memory is accessed through the handle \
         [`{name}`](super::{name}), whose methods have the fields' meanings.",
    ));
    let mut raw = outer.definition(
        context,
        scope.raw(),
        docs.per_arch(context, "Bytes:", &sizes),
        &deprecated,
    )?;
    let inner = outer.inner();
    for part in &inner {
        let docs = Docs::of(&format!("`{}` in C.", part.label));
        raw.extend(part.definition(context, scope.raw(), docs, &TokenStream::new())?);
    }
    let handle = handle(context, scope, item, &outer, &deprecated)?;
    let mut aggregates = vec![outer];
    aggregates.extend(inner);
    Ok(Block { raw, handle, aggregates })
}

fn handle<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
    outer: &Aggregate<'d>,
    deprecated: &TokenStream,
) -> Result<TokenStream, CodegenError> {
    let sizes: Vec<(ArchId, u32)> =
        outer.layouts.iter().map(|(arch, layout)| (*arch, layout.size)).collect();
    let docs = Docs::item(context, &item.head).per_arch(context, "Bytes:", &sizes).outer(context);
    let cfg = context.item_cfg(item.head.availability);
    let name = naming::ident(&outer.name);
    let mut methods = TokenStream::new();
    for index in 0..item.fields.len() {
        for member in outer.described(context, index)? {
            methods.extend(accessor(context, scope, outer, index, &member)?);
        }
    }
    let (snapshot_methods, snapshot_types) = snapshots::render(context, item, outer)?;
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
            /// The block at `ptr`.
            ///
            /// # Safety
            /// For the whole of `'a`, `ptr` must point at mapped memory of the block's size and
            /// alignment. This program must access the memory through such handles only; any
            /// number of them, on any thread, may be in use. Otherwise only the other side may
            /// access it.
            #[must_use]
            pub const unsafe fn from_ptr(ptr: core::ptr::NonNull<raw::#name>) -> Self {
                Self { ptr: crate::access::Block::new(ptr) }
            }

            /// Where the block is.
            #[must_use]
            pub const fn as_ptr(self) -> core::ptr::NonNull<raw::#name> {
                self.ptr.as_ptr()
            }

            #methods
            #snapshot_methods
        }

        #snapshot_types
    })
}

/// How a field is reached: the macro's register, and the type of the register.
struct Register {
    name: &'static str,
    type_: TokenStream,
}

fn accessor<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    outer: &Aggregate<'d>,
    index: usize,
    member: &Member<'d>,
) -> Result<TokenStream, CodegenError> {
    let field = &outer.fields[index];
    if matches!(
        field.use_,
        FieldUse::Reserved
            | FieldUse::Direction(_)
            | FieldUse::Access(Access::Versioned | Access::Counter)
    ) {
        return Ok(TokenStream::new());
    }
    let Shape::Type(type_) = &field.shape else {
        return Err(CodegenError::new(
            &field.head.place,
            "a block cannot hold a union or an unnamed struct: describe a block of its own",
        ));
    };
    let groups = by_arch(member.archs, |arch| kind(context, scope, outer, field, type_, arch))?;
    let mut methods = TokenStream::new();
    for (archs, kind) in groups {
        methods.extend(method(context, scope, outer, index, archs, &kind)?);
    }
    Ok(methods)
}

/// What the accessor of a field gives.
#[derive(PartialEq)]
enum Kind {
    /// The handle of the inner block, as a path.
    Nested(String),
    /// A register of an integer, and the word that it is.
    Integer(Type, Option<String>),
}

fn kind(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    outer: &Aggregate<'_>,
    field: &Field,
    type_: &TypeRef,
    arch: ArchId,
) -> Result<Kind, CodegenError> {
    let cell = Cell { release: outer.release, arch, view: View::Raw };
    let integer = Type::of(context, type_, &field.head.place, cell)?;
    Ok(match meaning(context.names(), type_, &field.head.place, cell)? {
        Basis::Struct(item) => {
            let (file, name) = (&item.head.place.file, context.item_name(naming::TYPE, &item.head));
            Kind::Nested(if file == scope.file {
                name
            } else {
                format!("crate::{}::{name}", naming::MODULE.apply(file))
            })
        }
        Basis::Integer(_) | Basis::Enumeration(_) => Kind::Integer(integer, None),
        Basis::Word(item) => {
            let (file, name) =
                (&item.head.place.file, context.item_name(naming::MODULE, &item.head));
            let before = if file == scope.file {
                String::new()
            } else {
                format!("crate::{}::", naming::MODULE.apply(file))
            };
            Kind::Integer(integer, Some(format!("{before}{name}::Register")))
        }
        Basis::Handle(_) => {
            return Err(CodegenError::new(
                &field.head.place,
                "a block cannot hold a handle that is accessed",
            ));
        }
    })
}

fn method<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    outer: &Aggregate<'d>,
    index: usize,
    archs: ArchSet,
    kind: &Kind,
) -> Result<TokenStream, CodegenError> {
    let field = &outer.fields[index];
    let name = naming::FIELD.ident(&field.head.name);
    let cfg = context.cfg(archs, outer.archs());
    let offsets: Vec<(ArchId, u32)> = outer
        .layouts_of(index)
        .filter(|(arch, _)| archs.contains(*arch))
        .map(|(arch, layout)| (arch, layout.offset))
        .collect();
    let docs = Docs::member(context, &field.head, outer.availability);
    let docs = docs.fact(how(field)).per_arch(context, "Offset", &offsets);
    let deprecated = lifespan::superseded(&field.head);
    let is_buffer = field.use_ == FieldUse::Access(Access::Buffer);
    let array = field.count.as_ref().filter(|_| !is_buffer);
    let (type_, single, element) = match kind {
        Kind::Nested(path) => {
            let path: TokenStream = path.parse().unwrap_or_default();
            (
                quote!(#path<'a>),
                quote!(nested!(self.ptr, #path, #name)),
                quote!(nested_element!(self.ptr, #path, #name, index)),
            )
        }
        Kind::Integer(integer, word) => {
            let register = register(field, &integer.tokens(scope), word.as_deref());
            let (handle, type_) = (naming::ident(register.name), register.type_);
            (
                type_,
                quote!(field!(self.ptr, #handle, #name)),
                quote!(element!(self.ptr, #handle, #name, index)),
            )
        }
    };
    let Some(count) = array else {
        let docs = docs.outer(context);
        return Ok(
            quote!(#docs #cfg #deprecated #[must_use] pub fn #name(self) -> #type_ { crate::access::#single }),
        );
    };
    let counted = counts(context, scope, outer, field, count, archs)?;
    let docs = docs.paragraph("`None` if there is no element at `index`.").outer(context);
    Ok(quote! {
        #counted
        #docs
        #cfg
        #deprecated
        #[must_use]
        pub fn #name(self, index: usize) -> Option<#type_> { crate::access::#element }
    })
}

/// The constant with the number of an array's elements.
fn counts(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    outer: &Aggregate<'_>,
    field: &Field,
    count: &PerArch<Count>,
    archs: ArchSet,
) -> Result<TokenStream, CodegenError> {
    let name: Ident = naming::COUNT.ident(&field.head.name);
    let about = format!(
        " How many elements [`{0}`](Self::{0}) has.",
        naming::FIELD.apply(&field.head.name)
    );
    let groups = by_arch(archs, |arch| {
        let count = count.get(arch).ok_or_else(|| {
            CodegenError::new(&field.head.place, "no count for this architecture")
        })?;
        Length::of(
            context,
            count,
            &field.head.place,
            Cell { release: outer.release, arch, view: View::Raw },
        )
    })?;
    Ok(groups
        .iter()
        .map(|(archs, length)| {
            let (cfg, length) = (context.cfg(*archs, outer.archs()), length.tokens(scope));
            quote!(#[doc = #about] #cfg pub const #name: usize = #length;)
        })
        .collect())
}

fn register(field: &Field, integer: &TokenStream, word: Option<&str>) -> Register {
    let word: TokenStream =
        word.map(|word| format!(", {word}").parse().unwrap_or_default()).unwrap_or_default();
    let name = match field.use_ {
        FieldUse::Access(Access::Bits) => "Bits",
        FieldUse::Access(Access::Plain(Writer::Guest)) => "ReadWrite",
        FieldUse::Access(Access::Index(Writer::Guest)) => "OwnIndex",
        FieldUse::Access(Access::Index(Writer::Xen)) => "PeerIndex",
        FieldUse::Access(Access::Buffer) => "Buffer",
        _ => "ReadOnly",
    };
    let handle = naming::ident(name);
    let type_ = match name {
        "OwnIndex" | "PeerIndex" | "Buffer" => quote!(crate::access::#handle<'a>),
        _ => quote!(crate::access::#handle<'a, #integer #word>),
    };
    Register { name, type_ }
}

/// Who touches a field, in words.
fn how(field: &Field) -> &'static str {
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
