//! Snapshots of a block: fields that are read together, under their counter.

use super::aggregate::Aggregate;
use super::context::{CodegenError, Context, Scope};
use super::docs::Docs;
use super::text::call;
use super::types::{Path, Type, integer, meaning};
use crate::document::{
    ArchId, ArchSet, Field, Primitive, Snapshot, SnapshotMember, Struct, TypeRef,
};
use crate::layout::{Basis, Item};
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// A member of a snapshot on some architectures.
struct Part<'d> {
    name: Ident,
    archs: ArchSet,
    /// The field that it is read from.
    field: &'d Field,
    /// From the block to the field.
    path: Vec<String>,
    type_: Type,
    sense: Sense,
}

/// What an integer is to the description.
#[derive(PartialEq)]
enum Sense {
    Number,
    /// A word: its integer and its module.
    Word(Primitive, Path),
    /// An enumeration's newtype.
    Newtype(Path),
}

/// Returns the methods of the handle, and the types of what they return.
pub(super) fn snapshots<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    item: &'d Struct,
    block: &Aggregate<'d>,
) -> Result<(TokenStream, TokenStream), CodegenError> {
    let (mut methods, mut types) = (TokenStream::new(), TokenStream::new());
    for snapshot in &item.snapshots {
        let mut parts = Vec::new();
        for member in &snapshot.members {
            parts.extend(self::parts(context, item, block, member)?);
        }
        let name = naming::ident(&naming::inner(&block.name, &snapshot.name));
        methods.extend(methods_of(context, block, snapshot, &name, &parts));
        types.extend(type_of(context, scope, block, snapshot, &name, &parts));
    }
    Ok((methods, types))
}

fn parts<'d>(
    context: &Context<'_, 'd>,
    item: &'d Struct,
    block: &Aggregate<'d>,
    member: &'d SnapshotMember,
) -> Result<Vec<Part<'d>>, CodegenError> {
    let mut parts: Vec<Part<'d>> = Vec::new();
    for arch in block.archs().iter() {
        // The checks have seen that a member without a path is missing for a reason.
        let path = member.path.get(arch);
        let found = path.and_then(|path| Some((path, find(context, item, block, path, arch)?)));
        let Some((path, field)) = found else { continue };
        let (place, cell) = (&field.head.place, block.cell(arch));
        let integers = || CodegenError::new(&member.place, "a snapshot holds integers only");
        let type_ = field.type_().ok_or_else(integers)?;
        let sense = match meaning(context, type_, place, cell)? {
            _ if field.count.is_some() => Sense::Number,
            Basis::Word(word) => {
                Sense::Word(word.is, Path::new(context, naming::MODULE, &word.head))
            }
            Basis::Enumeration(of) => Sense::Newtype(Path::new(context, naming::TYPE, &of.head)),
            Basis::Integer(_) => Sense::Number,
            Basis::Struct(_) | Basis::Handle(_) => return Err(integers()),
        };
        let type_ = Type::of_field(context, field, None, cell)?;
        let path: Vec<String> = path.split('.').map(|step| naming::FIELD.name(step)).collect();
        let known = parts
            .iter_mut()
            .find(|part| (&part.path, &part.type_, &part.sense) == (&path, &type_, &sense));
        match known {
            Some(part) => part.archs = part.archs.iter().chain([arch]).collect(),
            None => {
                let (name, archs) = (naming::FIELD.ident(&member.name), ArchSet::from_iter([arch]));
                parts.push(Part { name, archs, field, path, type_, sense });
            }
        }
    }
    Ok(parts)
}

/// Returns the field at the end of a path, if it is there on `arch`.
fn find<'d>(
    context: &Context<'_, 'd>,
    item: &'d Struct,
    block: &Aggregate<'_>,
    path: &str,
    arch: ArchId,
) -> Option<&'d Field> {
    let mut fields: &[Field] = &item.fields;
    let mut found = None;
    for step in path.split('.') {
        let is_here = |field: &&Field| {
            field.head.name == step && field.head.availability.contains(block.release, arch)
        };
        let field = fields.iter().find(is_here)?;
        fields = match field.type_() {
            Some(TypeRef::Named(name)) => {
                match context.symbols().type_(name, block.release, arch) {
                    Ok(Item::Struct(inner)) => &inner.fields,
                    _ => &[],
                }
            }
            _ => &[],
        };
        found = Some(field);
    }
    found
}

fn methods_of(
    context: &Context<'_, '_>,
    block: &Aggregate<'_>,
    snapshot: &Snapshot,
    name: &Ident,
    parts: &[Part<'_>],
) -> TokenStream {
    let method = naming::FIELD.ident(&snapshot.name);
    let with = naming::SNAPSHOT_WITH.ident(&snapshot.name);
    let publish = naming::PUBLISH.ident(&snapshot.name);
    let counter = naming::FIELD.ident(&snapshot.counter);
    let path = |part: &Part<'_>| {
        let steps = part.path.iter().map(|step| naming::ident(step));
        quote!(#(#steps).*)
    };
    let loads = parts.iter().map(|part| {
        let (cfg, name, path) = (context.cfg(part.archs, block.archs()), &part.name, path(part));
        quote!(#cfg #name: crate::access::load!(self.ptr, #path))
    });
    let stores = parts.iter().map(|part| {
        let (cfg, name, path) = (context.cfg(part.archs, block.archs()), &part.name, path(part));
        let store = call(&quote!(crate::access::store), quote!(self.ptr, #path, value.#name));
        quote!(#cfg #store;)
    });
    let docs = Docs::of(&snapshot.doc);
    let docs = docs.block(["Spins while an update is under way, and reads again if one came in \
                            between."]);
    let docs = docs.outer();
    let about_with = format!(
        " Does the same as [`{method}`](Self::{method}), and calls `read` between the two readings \
         of the counter: only there does a clock fit the values. It may be called more than once."
    );
    let about_publish = format!(
        " Writes what [`{method}`](Self::{method}) reads, as the hypervisor does. There may be one \
         writer at a time."
    );
    quote! {
        #docs
        #[inline]
        #[must_use]
        pub fn #method(self) -> #name {
            self.#with(|| ()).0
        }

        #[doc = #about_with]
        #[inline]
        pub fn #with<T>(self, mut read: impl FnMut() -> T) -> (#name, T) {
            crate::access::consistent(crate::access::location!(self.ptr, #counter), || {
                let values = #name { #(#loads,)* };
                (values, read())
            })
        }

        #[doc = #about_publish]
        #[cfg(feature = "simulated")]
        #[inline]
        pub fn #publish(self, value: &#name) {
            crate::access::update(crate::access::location!(self.ptr, #counter), || {
                #(#stores)*
            });
        }
    }
}

fn type_of(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    block: &Aggregate<'_>,
    snapshot: &Snapshot,
    name: &Ident,
    parts: &[Part<'_>],
) -> TokenStream {
    let cfg = context.item_cfg(block.archs());
    let docs = Docs::of(&snapshot.doc).outer();
    let fields = parts.iter().map(|part| {
        let docs = Docs::of(&part.field.head.doc).outer();
        let cfg = context.cfg(part.archs, block.archs());
        let (name, type_) = (&part.name, part.type_.tokens(scope));
        quote!(#docs #cfg pub #name: #type_)
    });
    let methods = parts.iter().filter_map(|part| {
        let (cfg, name) = (context.cfg(part.archs, block.archs()), &part.name);
        let (result, made) = match &part.sense {
            Sense::Number => return None,
            Sense::Word(is, module) => {
                let (is, module) = (integer(*is), module.tokens(scope));
                let copy = quote!(::tock_registers::LocalRegisterCopy);
                (quote!(#copy<#is, #module::Register>), quote!(#copy::new(self.#name)))
            }
            Sense::Newtype(path) => {
                let path = path.tokens(scope);
                (path.clone(), quote!(#path(self.#name)))
            }
        };
        let about = format!(" Returns [`{name}`](Self#structfield.{name}) with its type.");
        Some(quote! {
            #[doc = #about]
            #cfg
            #[inline]
            #[must_use]
            pub const fn #name(&self) -> #result { #made }
        })
    });
    let methods: TokenStream = methods.collect();
    let methods = (!methods.is_empty()).then(|| quote!(#cfg impl #name { #methods }));
    quote! {
        #docs
        #cfg
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct #name { #(#fields),* }

        #methods
    }
}
