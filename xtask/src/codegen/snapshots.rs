//! Snapshots of a block: fields that are read together, under their counter.

use super::aggregate::Aggregate;
use super::context::{Context, Scope, by_arch};
use super::docs::Docs;
use super::error::CodegenError;
use super::types::{Cell, Type, View, integer, meaning};
use crate::document::{ArchId, ArchSet, Field, Shape, Snapshot, SnapshotMember, Struct};
use crate::layout::{Basis, Item};
use crate::naming;
use proc_macro2::TokenStream;
use quote::quote;

/// A member of a snapshot on some architectures.
struct Part {
    archs: ArchSet,
    /// From the block to the field.
    path: String,
    type_: Type,
    /// What the integer is to the description.
    meaning: Sense,
}

#[derive(PartialEq, Clone)]
enum Sense {
    Number,
    /// A word: its integer and its module.
    Word(String, String),
    /// An enumeration: its newtype.
    Newtype(String),
}

/// The methods of the handle, and the types of what they return.
pub(super) fn render<'d>(
    context: &Context<'_, 'd>,
    item: &'d Struct,
    outer: &Aggregate<'d>,
) -> Result<(TokenStream, TokenStream), CodegenError> {
    let mut methods = TokenStream::new();
    let mut types = TokenStream::new();
    for snapshot in &item.snapshots {
        let members = snapshot
            .members
            .iter()
            .map(|member| Ok((member, parts(context, item, outer, member)?)));
        let members: Vec<(&SnapshotMember, Vec<Part>)> =
            members.collect::<Result<_, CodegenError>>()?;
        let name = naming::ident(&format!("{}{}", outer.name, naming::TYPE.apply(&snapshot.name)));
        methods.extend(methods_of(context, outer, snapshot, &name, &members));
        types.extend(type_of(context, item, outer, snapshot, &name, &members)?);
    }
    Ok((methods, types))
}

fn parts(
    context: &Context<'_, '_>,
    item: &Struct,
    outer: &Aggregate<'_>,
    member: &SnapshotMember,
) -> Result<Vec<Part>, CodegenError> {
    let there: ArchSet =
        outer.archs().iter().filter(|arch| exists(context, item, outer, member, *arch)).collect();
    let groups = by_arch(there, |arch| {
        let path = member
            .path
            .get(arch)
            .ok_or_else(|| CodegenError::new(&member.place, "no path for this architecture"))?;
        let (field, cell) = (
            find(context, item, outer, path, arch, member)?,
            Cell { release: outer.release, arch, view: View::Raw },
        );
        let Shape::Type(type_) = &field.shape else {
            return Err(CodegenError::new(&member.place, "a snapshot holds integers only"));
        };
        let mut rust = Type::of(context, type_, &field.head.place, cell)?;
        if let Some(count) = field.count.as_ref().and_then(|count| count.get(arch)) {
            rust = rust.array(super::types::Length::of(context, count, &field.head.place, cell)?);
        }
        let path: Vec<String> = path.split('.').map(|step| naming::FIELD.apply(step)).collect();
        let sense = match meaning(context.names(), type_, &field.head.place, cell)? {
            _ if field.count.is_some() => Sense::Number,
            Basis::Word(word) => {
                let module = module_path(outer, &word.head.place.file)
                    + &context.item_name(naming::MODULE, &word.head);
                Sense::Word(integer(word.is).to_string(), module)
            }
            Basis::Enumeration(of) => Sense::Newtype(
                module_path(outer, &of.head.place.file)
                    + &context.item_name(naming::TYPE, &of.head),
            ),
            Basis::Integer(_) => Sense::Number,
            Basis::Struct(_) | Basis::Handle(_) => {
                return Err(CodegenError::new(&member.place, "a snapshot holds integers only"));
            }
        };
        Ok((path.join("."), rust, sense))
    })?;
    Ok(groups
        .into_iter()
        .map(|(archs, (path, type_, meaning))| Part { archs, path, type_, meaning })
        .collect())
}

fn module_path(outer: &Aggregate<'_>, file: &str) -> String {
    let own = outer.fields.first().is_some_and(|field| field.head.place.file == file);
    if own { String::new() } else { format!("crate::{}::", naming::MODULE.apply(file)) }
}

/// Whether the field that a member names is there on `arch`; a path that leads nowhere is an error
/// elsewhere.
fn exists(
    context: &Context<'_, '_>,
    item: &Struct,
    outer: &Aggregate<'_>,
    member: &SnapshotMember,
    arch: ArchId,
) -> bool {
    member.path.get(arch).is_some_and(|path| find(context, item, outer, path, arch, member).is_ok())
}

/// The field at the end of a path.
fn find<'a>(
    context: &'a Context<'_, '_>,
    item: &'a Struct,
    outer: &Aggregate<'_>,
    path: &str,
    arch: ArchId,
    member: &SnapshotMember,
) -> Result<&'a Field, CodegenError> {
    let lost = || {
        CodegenError::new(
            &member.place,
            format!("there is no field `{path}` on {}", context.arch_name(arch)),
        )
    };
    let mut fields: &[Field] = &item.fields;
    let mut found = None;
    for step in path.split('.') {
        let field = fields.iter().find(|field| {
            field.head.name == step && field.head.availability.contains(outer.release, arch)
        });
        let field = field.ok_or_else(lost)?;
        fields = match &field.shape {
            Shape::Type(crate::document::TypeRef::Named(name)) => {
                match context.names().type_(name, outer.release, arch) {
                    Ok(Item::Struct(inner)) => &inner.fields,
                    _ => &[],
                }
            }
            Shape::Type(_) => &[],
            Shape::Union { members, .. } | Shape::Struct(members) => members,
        };
        found = Some(field);
    }
    found.ok_or_else(lost)
}

fn methods_of(
    context: &Context<'_, '_>,
    outer: &Aggregate<'_>,
    snapshot: &Snapshot,
    name: &proc_macro2::Ident,
    members: &[(&SnapshotMember, Vec<Part>)],
) -> TokenStream {
    let plain = naming::FIELD.ident(&snapshot.name);
    let (with, publish) =
        (naming::ident(&format!("{plain}_with")), naming::ident(&format!("publish_{plain}")));
    let counter = naming::FIELD.ident(&snapshot.counter);
    let list: Vec<TokenStream> = members
        .iter()
        .flat_map(|(member, parts)| parts.iter().map(|part| (*member, part)))
        .map(|(member, part)| {
            let cfg = context.cfg(part.archs, outer.archs());
            let name = naming::FIELD.ident(&member.name);
            let path: TokenStream = part.path.parse().unwrap_or_default();
            quote!(#cfg #name: #path,)
        })
        .collect();
    let docs = Docs::of(&snapshot.doc)
        .paragraph(
            "Waits while an update is under way, and reads again until none came in between.",
        )
        .outer(context);
    let about_with = format!(
        " As [`{plain}`](Self::{plain}), together with what `read` gives, which is called between the two readings of the counter: only there does a clock\n fit the values. It may be called more than once."
    );
    let about_with = about_with.lines();
    let about_publish = format!(
        " Plays the other side: writes what [`{plain}`](Self::{plain}) reads, as the hypervisor does. There may be one writer at a time."
    );
    quote! {
        #docs
        #[must_use]
        pub fn #plain(self) -> #name {
            self.#with(|| ()).0
        }

        #(#[doc = #about_with])*
        pub fn #with<T>(self, mut read: impl FnMut() -> T) -> (#name, T) {
            crate::access::versioned!(self.ptr, #counter, read, #name { #(#list)* })
        }

        #[doc = #about_publish]
        #[cfg(feature = "simulated")]
        pub fn #publish(self, value: &#name) {
            crate::access::publish!(self.ptr, #counter, value, #name { #(#list)* });
        }
    }
}

fn type_of(
    context: &Context<'_, '_>,
    item: &Struct,
    outer: &Aggregate<'_>,
    snapshot: &Snapshot,
    name: &proc_macro2::Ident,
    members: &[(&SnapshotMember, Vec<Part>)],
) -> Result<TokenStream, CodegenError> {
    let cfg = context.item_cfg(item.head.availability);
    let docs = Docs::of(&snapshot.doc).outer(context);
    let scope = Scope::of(&item.head.place.file);
    let mut fields = TokenStream::new();
    let mut methods = TokenStream::new();
    for (member, part) in
        members.iter().flat_map(|(member, parts)| parts.iter().map(move |part| (*member, part)))
    {
        let arch = part.archs.iter().next().unwrap_or(ArchId(0));
        let path = member.path.get(arch).map_or("", String::as_str);
        let field = find(context, item, outer, path, arch, member)?;
        let docs = Docs::of(&field.head.doc).outer(context);
        let cfg = context.cfg(part.archs, outer.archs());
        let (name, type_) = (naming::FIELD.ident(&member.name), part.type_.tokens(scope));
        fields.extend(quote!(#docs #cfg pub #name: #type_,));
        let (result, made) = match &part.meaning {
            Sense::Number => continue,
            Sense::Word(is, module) => {
                let (is, module): (TokenStream, TokenStream) =
                    (is.parse().unwrap_or_default(), module.parse().unwrap_or_default());
                let copy = quote!(tock_registers::LocalRegisterCopy);
                (quote!(#copy<#is, #module::Register>), quote!(#copy::new(self.#name)))
            }
            Sense::Newtype(path) => {
                let path: TokenStream = path.parse().unwrap_or_default();
                (path.clone(), quote!(#path(self.#name)))
            }
        };
        let about = format!(" [`{name}`](Self#structfield.{name}) as what it means.");
        methods.extend(
            quote!(#[doc = #about] #cfg #[must_use] pub const fn #name(&self) -> #result { #made }),
        );
    }
    let methods = (!methods.is_empty()).then(|| quote!(#cfg impl #name { #methods }));
    Ok(quote! {
        #docs
        #cfg
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct #name { #fields }

        #methods
    })
}
