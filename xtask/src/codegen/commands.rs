//! `commands`: a unit struct for each command, with what a call needs to know.

use super::context::{CodegenError, Context, Scope, by_arch, number};
use super::docs::Docs;
use super::text::call;
use super::types::{Cell, Type, View};
use crate::document::{CallResult, CallShape, Command, CommandSet, File, Head, Radix};
use crate::naming;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// Returns the module `command` of a file; with a module for each hypercall in it, if there are
/// several.
pub(super) fn commands(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    file: &File,
) -> Result<TokenStream, CodegenError> {
    match file.commands.as_slice() {
        [] => Ok(TokenStream::new()),
        [set] => {
            let docs = Docs::of(&set.doc).outer();
            let commands = commands_of(context, scope.inside(), set)?;
            Ok(quote!(#docs pub mod command { #commands }))
        }
        sets => {
            let modules = sets.iter().map(|set| {
                let docs = Docs::of(&set.doc).outer();
                let name = naming::MODULE.ident(&set.hypercall);
                let commands = commands_of(context, scope.inside().inside(), set)?;
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

fn commands_of(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    set: &CommandSet,
) -> Result<TokenStream, CodegenError> {
    let heads: Vec<&Head> = set.list.iter().map(|command| &command.head).collect();
    let names = naming::distinct(naming::TYPE, &heads);
    let hypercall = naming::CONSTANT.ident(&set.hypercall);
    let mut tokens = TokenStream::new();
    for (command, name) in set.list.iter().zip(names) {
        let Some(name) = name else { continue };
        tokens.extend(one(context, scope, command, &naming::ident(&name), &hypercall)?);
    }
    Ok(tokens)
}

fn one(
    context: &Context<'_, '_>,
    scope: Scope<'_>,
    command: &Command,
    name: &Ident,
    hypercall: &Ident,
) -> Result<TokenStream, CodegenError> {
    let head = &command.head;
    let newest = context.release_of(head.availability);
    let mut docs = Docs::item(context, head).fact(format!("Command {}.", command.number));
    if let Some(hazard) = &command.hazard {
        docs = docs.hazard(hazard);
    }
    let docs = docs.outer();
    let (cfg, deprecated) = (context.item_cfg(head.availability.archs), context.deprecated(head));
    let arguments = by_arch(head.availability.archs, |arch| {
        let cell = Cell { release: newest, arch, view: View::Argument };
        let argument = command.argument.as_ref();
        argument.map(|type_| Type::of(context, type_, &head.place, cell)).transpose()
    })?;
    let reaches_beyond =
        command.argument.as_ref().is_some_and(|of| context.symbols().reaches_beyond(of, newest));
    let safe = (command.hazard.is_none() && !reaches_beyond).then(|| quote!(safe));
    let (shape, result) = (shape(command.shape), result(command.result));
    let number = number(command.number.into(), Radix::Decimal);
    let c = head.c.as_deref().unwrap_or(&head.name);
    let since = head.availability.releases.since;
    let honoured = head.availability.honoured_since.unwrap_or(since);
    let (since, honoured) = (context.release(since), context.release(honoured));
    let on = head.honoured_arch.map(|archs| {
        let names = archs.iter().map(|arch| context.arch_name(arch));
        quote!(on(#(#names),*))
    });
    let calls = arguments.into_iter().map(|(archs, argument)| {
        let cfg = context.item_cfg(archs);
        let argument = argument.map_or_else(|| quote!(()), |type_| type_.tokens(scope));
        let arguments = quote! {
            #safe #name: crate::hypercall::HypercallNr::#hypercall.0, #number, #c,
            #shape(#argument) -> #result,
            since #since, honoured #honoured #on
        };
        let call = call(&quote!(crate::command::command), arguments);
        quote!(#cfg #call;)
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
