//! From the description to Rust: one file of `xen-pac` for each file of the description. Nothing is
//! read or written here but by [`output`].
//!
//! There is a file for each kind of item, which makes tokens; `text` sets them. Every name comes
//! from [`crate::naming`].

mod aggregate;
mod blocks;
#[cfg(feature = "tools")]
pub mod c_header;
#[cfg(feature = "tools")]
pub mod c_library;
mod commands;
mod context;
mod docs;
mod encodings;
mod items;
pub mod output;
mod proofs;
mod snapshots;
mod structs;
#[cfg(test)]
mod tests;
mod text;
mod types;

use crate::diagnostic::Diagnostic;
use crate::document::{Document, File, Head, StructKind};
use crate::layout::Layouts;
use crate::naming;
use crate::yaml::Place;
use aggregate::Aggregate;
use context::{CodegenError, Context, Scope};
use docs::Docs;
pub use output::{Generated, MARK};
use proc_macro2::TokenStream;
use quote::quote;

/// Generates the files of a description that has passed the checks.
///
/// # Errors
/// What the checks cannot see because it concerns Rust only; all of it, in the order of the files.
pub fn generate<'d>(
    document: &'d Document,
    layouts: &Layouts<'d>,
) -> Result<Vec<Generated>, Vec<Diagnostic>> {
    let context = Context::new(document, layouts);
    let files = document.files.iter().map(|file| subject(&context, file));
    let (mut made, mut errors) = (Vec::new(), Vec::new());
    let more = [root as fn(&Document) -> _, releases].map(|file| file(document));
    for file in more.into_iter().chain(files) {
        match file {
            Ok(file) => made.push(file),
            Err(error) => errors.push(error.into()),
        }
    }
    if errors.is_empty() { Ok(made) } else { Err(errors) }
}

/// Returns the number of items in a description: types, constants, values, fields, forms, commands.
#[must_use]
pub fn items(document: &Document) -> usize {
    let of_file = |file: &File| {
        let values = file.enumerations.iter().map(|item| 1 + item.values.len());
        let bits = file
            .words
            .iter()
            .map(|item| 1 + item.fields.iter().map(|field| 1 + field.values.len()).sum::<usize>());
        let forms = file.encodings.iter().map(|item| 1 + item.variants.len());
        let fields = file.structs.iter().map(|item| 1 + item.fields.len() + item.snapshots.len());
        let commands = file.commands.iter().map(|set| set.list.len());
        file.types.len()
            + file.constants.len()
            + file.strings.len()
            + file.conventions.len()
            + values.chain(bits).chain(forms).chain(fields).chain(commands).sum::<usize>()
    };
    document.files.iter().map(of_file).sum()
}

/// `mod.rs`: the modules.
fn root(document: &Document) -> Result<Generated, CodegenError> {
    let modules = document.files.iter().map(|file| {
        let name = naming::MODULE.ident(&file.name);
        let feature = file.feature.iter();
        quote! {
            #(#[cfg(feature = #feature)])*
            #[rustfmt::skip]
            #[allow(deprecated, reason = "what the headers dropped is still described")]
            pub mod #name;
        }
    });
    set("manifest", "mod.rs", quote!(#(#modules)*), "")
}

/// `releases.rs`: the releases, for the build script of xen-pac.
fn releases(document: &Document) -> Result<Generated, CodegenError> {
    let releases = document.manifest.releases.iter().map(ToString::to_string);
    let tokens = quote! {
        /// The described releases of Xen, oldest first.
        const RELEASES: &[&str] = &[#(#releases),*];
    };
    set("manifest", "releases.rs", tokens, "")
}

/// Returns the module of one subject file.
fn subject<'d>(context: &Context<'_, 'd>, file: &'d File) -> Result<Generated, CodegenError> {
    let scope = Scope::of(&file.name);
    let mut tokens = Docs::of(&file.doc).inner();
    for item in &file.types {
        tokens.extend(items::alias(context, scope, item)?);
    }
    let heads: Vec<&Head> = file.constants.iter().map(|item| &item.head).collect();
    let names = naming::distinct(naming::CONSTANT, &heads);
    for (item, _) in file.constants.iter().zip(names).filter(|(_, name)| name.is_some()) {
        tokens.extend(items::constant(context, scope, item)?);
    }
    let heads: Vec<&Head> = file.strings.iter().map(|item| &item.head).collect();
    let names = naming::distinct(naming::CONSTANT, &heads);
    for (item, _) in file.strings.iter().zip(names).filter(|(_, name)| name.is_some()) {
        tokens.extend(items::string(context, item)?);
    }
    tokens.extend(file.enumerations.iter().map(|item| items::enumeration(context, item)));
    tokens.extend(file.words.iter().map(|item| items::word(context, item)));
    for item in &file.encodings {
        tokens.extend(encodings::encoding(context, item)?);
    }
    for item in &file.conventions {
        tokens.extend(items::convention(context, item)?);
    }
    let (structs, aggregates) = all_structs(context, scope, file)?;
    tokens.extend(structs);
    tokens.extend(commands::commands(context, scope, file)?);
    let proofs = proofs::proofs(context, &file.name, &aggregates)?;
    set(&file.name, &format!("{}.rs", naming::MODULE.name(&file.name)), tokens, &proofs)
}

/// Blocks and arguments, and the layouts that are to be proved.
fn all_structs<'d>(
    context: &Context<'_, 'd>,
    scope: Scope<'d>,
    file: &'d File,
) -> Result<(TokenStream, Vec<Aggregate<'d>>), CodegenError> {
    let mut raw = TokenStream::new();
    let mut tokens = TokenStream::new();
    let mut aggregates = Vec::new();
    for item in &file.structs {
        match item.kind {
            StructKind::Block => {
                let block = blocks::block(context, scope, item)?;
                raw.extend(block.raw);
                tokens.extend(block.handle);
                aggregates.push(block.aggregate);
            }
            StructKind::Argument => {
                let (argument, parts) = structs::argument(context, scope, item)?;
                tokens.extend(argument);
                aggregates.extend(parts);
            }
        }
    }
    if !raw.is_empty() {
        tokens.extend(quote! {
            /// Layouts of shared memory. Do not create references to such memory: use the handles
            /// of the parent module.
            pub mod raw { #raw }
        });
    }
    Ok((tokens, aggregates))
}

/// Sets the tokens as text, and puts more text behind them.
fn set(
    source: &str,
    path: &str,
    tokens: TokenStream,
    more: &str,
) -> Result<Generated, CodegenError> {
    let text = text::set(tokens).map_err(|error| {
        CodegenError::new(&Place::root(source), format!("it would become invalid Rust: {error}"))
    })?;
    let text = format!("{MARK}abi-yaml/{source}.yaml. Do not edit.\n{text}{more}");
    Ok(Generated { path: path.to_owned(), text })
}
