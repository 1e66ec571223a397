//! `commands`: a unit struct for each command, with what a call needs to know.

use super::context::{Context, Scope, by_arch, number};
use super::docs::Docs;
use super::error::CodegenError;
use super::lifespan;
use super::types::{Cell, Type, View};
use crate::document::{
    CallResult, CallShape, Command, CommandSet, Count, Enumeration, Field, File, Head, Release,
    ReleaseId, Shape, TypeRef,
};
use crate::layout::{Basis, Item};
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::collections::HashSet;

/// The module `command` of a file; with a module for each hypercall in it, if there are several.
pub(super) fn render(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    file: &File,
) -> Result<TokenStream, CodegenError> {
    match file.commands.as_slice() {
        [] => Ok(TokenStream::new()),
        [set] => {
            let docs = Docs::of(&set.doc).outer(context);
            let commands = commands(context, scope.inside(), set)?;
            Ok(quote!(#docs pub mod command { #commands }))
        }
        sets => {
            let modules = sets.iter().map(|set| {
                let docs = Docs::of(&set.doc).outer(context);
                let name = naming::MODULE.ident(&set.hypercall);
                let commands = commands(context, scope.inside().inside(), set)?;
                Ok(quote!(#docs pub mod #name { #commands }))
            });
            let modules = modules.collect::<Result<Vec<_>, CodegenError>>()?;
            Ok(quote! {
                /// The commands, in a module for each hypercall.
                pub mod command { #(#modules)* }
            })
        }
    }
}

fn commands(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    set: &CommandSet,
) -> Result<TokenStream, CodegenError> {
    let heads: Vec<&Head> = set.list.iter().map(|command| &command.head).collect();
    let names = lifespan::distinct(naming::TYPE, &heads);
    let hypercall = hypercall(context, set)?;
    let mut tokens = TokenStream::new();
    for (command, name) in set.list.iter().zip(names) {
        let Some(name) = name else { continue };
        tokens.extend(one(context, scope, command, &naming::ident(&name), &hypercall)?);
    }
    Ok(tokens)
}

/// The constant with a hypercall's number, in the type that `xen_pac::command` knows.
fn hypercall(context: &Context<'_, '_>, set: &CommandSet) -> Result<Ident, CodegenError> {
    let missing = || {
        CodegenError::new(
            &set.place,
            format!("the enumeration `hypercall` has no value `{}`", set.hypercall),
        )
    };
    let all = context.names().types("hypercall").iter();
    let of: &Enumeration = all
        .filter_map(|item| if let Item::Enumeration(of) = item { Some(*of) } else { None })
        .next()
        .ok_or_else(missing)?;
    of.values.iter().find(|value| value.head.name == set.hypercall).ok_or_else(missing)?;
    Ok(naming::CONSTANT.ident(&set.hypercall))
}

fn one(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    command: &Command,
    name: &Ident,
    hypercall: &Ident,
) -> Result<TokenStream, CodegenError> {
    let head = &command.head;
    let manifest = context.manifest();
    let all = manifest.all_archs();
    let newest = context.release_of(head.availability);
    let mut docs = Docs::item(context, head).fact(format!("Command {}.", command.number));
    if let Some(hazard) = &command.hazard {
        docs = docs.hazard(hazard);
    }
    let docs = docs.outer(context);
    let cfg = context.item_cfg(head.availability);
    let deprecated = lifespan::deprecated(manifest, head, manifest.all_releases());
    let arguments = by_arch(head.availability.archs, |arch| match &command.argument {
        None => Ok(None),
        Some(type_) => Type::of(
            context,
            type_,
            &head.place,
            Cell { release: newest, arch, view: View::Argument },
        )
        .map(Some),
    })?;
    let is_safe = command.hazard.is_none()
        && !command.argument.as_ref().is_some_and(|of| reaches_beyond(context, of, newest));
    let safe = is_safe.then(|| quote!(safe));
    let (shape, result) = (shape(command.shape), result(command.result));
    let number = number(i128::from(command.number));
    let c = head.c.as_deref().unwrap_or(&head.name);
    let since = head.availability.releases.since;
    let (offered, honoured) =
        (release(manifest.release(since)), head.availability.honoured_since.unwrap_or(since));
    let honoured = release(manifest.release(honoured));
    let calls = arguments.into_iter().map(|(archs, argument)| {
        let cfg = context.cfg(archs, all);
        let argument = argument.map_or_else(|| quote!(()), |type_| type_.tokens(scope));
        quote! {
            #cfg
            crate::command::command!(#safe #name: #hypercall, #number, #c, #shape(#argument) -> #result, since #offered, honoured #honoured);
        }
    });
    Ok(quote! {
        #docs
        #cfg
        #deprecated
        #[derive(Clone, Copy, Debug)]
        pub struct #name;

        #(#calls)*
    })
}

fn release(release: Release) -> TokenStream {
    let (major, minor) = (number(i128::from(release.major)), number(i128::from(release.minor)));
    quote!((#major, #minor))
}

fn shape(shape: CallShape) -> Ident {
    naming::ident(match shape {
        CallShape::Bare => "Bare",
        CallShape::Argument => "Argument",
        CallShape::Vcpu => "Vcpu",
        CallShape::Array => "Array",
        CallShape::Buffer => "Buffer",
        CallShape::Value => "Value",
    })
}

fn result(result: CallResult) -> Ident {
    naming::ident(match result {
        CallResult::None => "Nothing",
        CallResult::Value => "Value",
        CallResult::Count => "Count",
        CallResult::Boolean => "Boolean",
    })
}

/// Whether Xen can touch memory beyond the argument: through a guest pointer anywhere in it, or
/// behind a flexible tail.
fn reaches_beyond(context: &Context<'_, '_>, type_: &TypeRef, release: ReleaseId) -> bool {
    let mut seen = HashSet::new();
    let mut types = vec![type_];
    while let Some(type_) = types.pop() {
        for arch in context.manifest().all_archs().iter() {
            let item =
                match context.names().meaning(type_, release, arch).map(|meaning| meaning.basis) {
                    Ok(Basis::Handle(_)) => return true,
                    Ok(Basis::Struct(item)) if seen.insert(std::ptr::from_ref(item)) => item,
                    Ok(_) | Err(_) => continue,
                };
            let mut fields: Vec<&Field> = item.fields.iter().collect();
            while let Some(field) = fields.pop() {
                if field.count.as_ref().and_then(|count| count.get(arch)) == Some(&Count::Flexible)
                {
                    return true;
                }
                match &field.shape {
                    Shape::Type(type_) => types.push(type_),
                    Shape::Union { members, .. } | Shape::Struct(members) => fields.extend(members),
                }
            }
        }
    }
    false
}
