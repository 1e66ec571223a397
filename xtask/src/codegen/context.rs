//! What every renderer needs to know: the description, its meaning, and where in the generated
//! crate things stand.

use super::error::CodegenError;
use super::lifespan;
use super::pages::Pages;
use crate::document::{ArchId, ArchSet, Availability, Document, Head, Manifest, ReleaseId};
use crate::layout::{Layouts, Symbols};
use crate::naming::{self, Rule};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use std::collections::HashMap;

/// The description, as the renderers see it.
pub(super) struct Context<'l, 'd> {
    pub(super) document: &'d Document,
    pub(super) layouts: &'l Layouts<'d>,
    /// The documentation that is rendered.
    pub(super) pages: Pages,
    /// Items whose name a later release gave to something else, by their place.
    renamed: HashMap<*const Head, String>,
}

/// The module that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'d> {
    /// The file, and so the module, to which it belongs.
    pub(super) file: &'d str,
    /// How many modules it lies inside the file's.
    pub(super) depth: usize,
    /// Whether it is a module of layouts.
    pub(super) raw: bool,
}

impl<'d> Scope<'d> {
    /// The module of a file.
    pub(super) fn of(file: &'d str) -> Self {
        Self { file, depth: 0, raw: false }
    }

    /// A module inside this one.
    pub(super) fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    /// The module of layouts inside this one.
    pub(super) fn raw(self) -> Self {
        Self { raw: true, ..self.inside() }
    }

    /// What stands before the name of something in the module of `file`.
    pub(super) fn path_to(self, file: &str) -> TokenStream {
        if file == self.file {
            let up = (0..self.depth).map(|_| quote!(super::));
            quote!(#(#up)*)
        } else {
            let file = naming::MODULE.ident(file);
            quote!(crate::#file::)
        }
    }
}

impl<'l, 'd> Context<'l, 'd> {
    pub(super) fn new(document: &'d Document, layouts: &'l Layouts<'d>) -> Self {
        Self {
            document,
            layouts,
            pages: Pages::default(),
            renamed: lifespan::renamed_types(document),
        }
    }

    pub(super) fn manifest(&self) -> &'d Manifest {
        &self.document.manifest
    }

    pub(super) fn names(&self) -> &'l Symbols<'d> {
        self.layouts.names()
    }

    /// The Rust name of a top-level item.
    pub(super) fn item_name(&self, rule: Rule, head: &Head) -> String {
        self.renamed
            .get(&std::ptr::from_ref(head))
            .cloned()
            .unwrap_or_else(|| rule.apply(&head.name))
    }

    /// The Rust name of a top-level item, as a token.
    pub(super) fn item_ident(&self, rule: Rule, head: &Head) -> Ident {
        naming::ident(&self.item_name(rule, head))
    }

    /// `#[cfg(...)]` for what exists on `archs` only, inside something that exists on `within`.
    pub(super) fn cfg(&self, archs: ArchSet, within: ArchSet) -> TokenStream {
        if archs.and(within) == within {
            return TokenStream::new();
        }
        let condition = self.condition(archs.and(within));
        quote!(#[cfg(#condition)])
    }

    /// The same as text.
    pub(super) fn cfg_text(&self, archs: ArchSet, within: ArchSet) -> String {
        let there = archs.and(within);
        let names: Vec<String> = there
            .iter()
            .map(|arch| format!("target_arch = \"{}\"", self.arch_name(arch)))
            .collect();
        match names.as_slice() {
            _ if there == within => String::new(),
            [one] => format!("#[cfg({one})]"),
            several => format!("#[cfg(any({}))]", several.join(", ")),
        }
    }

    /// The same as [`cfg`](Self::cfg) for a whole item.
    pub(super) fn item_cfg(&self, availability: Availability) -> TokenStream {
        self.cfg(availability.archs, self.manifest().all_archs())
    }

    /// What `cfg` is to ask for these architectures.
    pub(super) fn condition(&self, archs: ArchSet) -> TokenStream {
        let names: Vec<_> = archs.iter().map(|arch| self.arch_name(arch)).collect();
        match names.as_slice() {
            [one] => quote!(target_arch = #one),
            several => quote!(any(#(target_arch = #several),*)),
        }
    }

    /// An architecture's name in Rust.
    pub(super) fn arch_name(&self, arch: ArchId) -> &'d str {
        &self.manifest().arch(arch).name
    }

    /// The release for which an item is laid out: the newest that has it.
    pub(super) fn release_of(&self, availability: Availability) -> ReleaseId {
        availability.releases.until.min(self.manifest().newest())
    }
}

/// Sorts architectures by what `of` says of each.
pub(super) fn by_arch<T: PartialEq>(
    archs: ArchSet,
    mut of: impl FnMut(ArchId) -> Result<T, CodegenError>,
) -> Result<Vec<(ArchSet, T)>, CodegenError> {
    let mut groups: Vec<(Vec<ArchId>, T)> = Vec::new();
    for arch in archs.iter() {
        let value = of(arch)?;
        match groups.iter_mut().find(|(_, known)| *known == value) {
            Some((members, _)) => members.push(arch),
            None => groups.push((vec![arch], value)),
        }
    }
    Ok(groups.into_iter().map(|(members, value)| (members.into_iter().collect(), value)).collect())
}

/// A number without a type.
pub(super) fn number(value: i128) -> TokenStream {
    let digits = Literal::u128_unsuffixed(value.unsigned_abs());
    if value < 0 { quote!(-#digits) } else { quote!(#digits) }
}

/// A number without a type, in hexadecimal.
pub(super) fn hex(value: u64) -> TokenStream {
    let literal: Literal =
        format!("{value:#x}").parse().unwrap_or_else(|_| Literal::u64_unsuffixed(value));
    quote!(#literal)
}
