//! What every generator needs: the description, its meaning, and where things stand in the
//! generated crate.

use crate::diagnostic::Diagnostic;
use crate::document::{
    ArchId, ArchSet, Availability, Document, Head, Manifest, Radix, Release, ReleaseId,
    ReleaseRange,
};
use crate::layout::{LayoutError, Layouts, Problem, Symbols};
use crate::naming::{self, Names, Rule};
use crate::yaml::Place;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// Something that the checks let pass and Rust would not accept.
pub(super) struct CodegenError {
    place: Place,
    message: String,
}

impl CodegenError {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }

    /// Blames `place` for a problem.
    pub(super) fn at(place: &Place) -> impl FnOnce(Problem) -> Self {
        |problem| Self::new(place, problem.to_string())
    }
}

impl From<LayoutError> for CodegenError {
    fn from(error: LayoutError) -> Self {
        Self { message: error.to_string(), place: error.place }
    }
}

impl From<CodegenError> for Diagnostic {
    fn from(error: CodegenError) -> Self {
        Self::new(error.place, error.message)
    }
}

/// The description as the generators see it.
pub(super) struct Context<'l, 'd> {
    pub(super) document: &'d Document,
    pub(super) layouts: &'l Layouts<'d>,
    names: Names<'d>,
}

/// The module that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'d> {
    /// The file, and so the module, to which it belongs.
    pub(super) file: &'d str,
    /// The number of modules between it and the file's.
    depth: usize,
    /// Whether it is a module of layouts.
    pub(super) raw: bool,
}

impl<'d> Scope<'d> {
    /// Returns the module of a file.
    pub(super) fn of(file: &'d str) -> Self {
        Self { file, depth: 0, raw: false }
    }

    /// Creates a module inside this one.
    pub(super) fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    /// Returns the module of layouts inside this one.
    pub(super) fn raw(self) -> Self {
        Self { raw: true, ..self.inside() }
    }

    /// Returns what stands before the name of something in the module of `file`.
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
        Self { document, layouts, names: Names::new(document) }
    }

    pub(super) fn manifest(&self) -> &'d Manifest {
        &self.document.manifest
    }

    pub(super) fn symbols(&self) -> &'l Symbols<'d> {
        self.layouts.symbols()
    }

    /// Returns the Rust name of a top-level item.
    pub(super) fn item_name(&self, rule: Rule, head: &Head) -> String {
        self.names.item(rule, head)
    }

    /// Returns the Rust name of a top-level item, as a token.
    pub(super) fn item_ident(&self, rule: Rule, head: &Head) -> Ident {
        naming::ident(&self.item_name(rule, head))
    }

    /// Returns `#[cfg(...)]` for what exists on `archs` only, inside something that exists on
    /// `within`.
    pub(super) fn cfg(&self, archs: ArchSet, within: ArchSet) -> TokenStream {
        if archs.and(within) == within {
            return TokenStream::new();
        }
        let names = archs.and(within).iter().map(|arch| self.arch_name(arch));
        match names.collect::<Vec<_>>().as_slice() {
            [one] => quote!(#[cfg(target_arch = #one)]),
            several => quote!(#[cfg(any(#(target_arch = #several),*))]),
        }
    }

    /// Returns `#[cfg(...)]` for a whole item.
    pub(super) fn item_cfg(&self, archs: ArchSet) -> TokenStream {
        self.cfg(archs, self.manifest().all_archs())
    }

    /// Does the same as text, on a line of its own.
    pub(super) fn item_cfg_text(&self, archs: ArchSet) -> String {
        let condition = |arch| format!("target_arch = \"{}\"", self.arch_name(arch));
        match archs.iter().map(condition).collect::<Vec<_>>().as_slice() {
            _ if archs == self.manifest().all_archs() => String::new(),
            [one] => format!("#[cfg({one})]\n"),
            several => format!("#[cfg(any({}))]\n", several.join(", ")),
        }
    }

    /// Returns `(4, 17)`, the arguments of `Release::new`.
    pub(super) fn release(&self, release: ReleaseId) -> TokenStream {
        let Release { major, minor } = self.manifest().release(release);
        let number = |part: u16| number(part.into(), Radix::Decimal);
        let (major, minor) = (number(major), number(minor));
        quote!((#major, #minor))
    }

    /// Returns an architecture's name in Rust.
    pub(super) fn arch_name(&self, arch: ArchId) -> &'d str {
        &self.manifest().arch(arch).name
    }

    /// Returns the release for which an item is laid out: the newest that has it.
    pub(super) fn release_of(&self, availability: Availability) -> ReleaseId {
        availability.releases.until.min(self.manifest().newest())
    }

    /// Returns `#[deprecated]` for an item that the newest headers dropped, that something else
    /// replaces, or that the oldest release of the program does not have.
    pub(super) fn deprecated(&self, head: &Head) -> TokenStream {
        self.deprecated_in(head, self.manifest().all_releases())
    }

    /// Does the same for what is inside something that exists in the releases `within`.
    pub(super) fn deprecated_in(&self, head: &Head, within: ReleaseRange) -> TokenStream {
        let until = head.availability.releases.until;
        let dropped = (until < within.until).then(|| {
            format!("the headers dropped it after Xen {}", self.manifest().release(until))
        });
        self.attribute(dropped.into_iter().chain(replaced(head)), head, within)
    }

    /// Does the same for a field. One that newer headers dropped is not generated at all.
    pub(super) fn deprecated_field(&self, head: &Head, within: ReleaseRange) -> TokenStream {
        self.attribute(replaced(head).into_iter(), head, within)
    }

    /// An item can have one such attribute only; what holds for every program comes first. The
    /// build script of xen-pac sets `xen_before` for each release after the oldest one.
    fn attribute(
        &self,
        notes: impl Iterator<Item = String>,
        head: &Head,
        within: ReleaseRange,
    ) -> TokenStream {
        let note = notes.collect::<Vec<_>>().join("; ");
        if !note.is_empty() {
            return quote!(#[deprecated(note = #note)]);
        }
        let since = head.availability.releases.since;
        if since <= within.since {
            return TokenStream::new();
        }
        let since = self.manifest().release(since).to_string();
        let note = format!("since Xen {since}");
        quote!(#[cfg_attr(xen_before = #since, doc(hidden), deprecated(note = #note))])
    }
}

fn replaced(head: &Head) -> Option<String> {
    head.superseded_by.as_ref().map(|other| format!("use {other} instead"))
}

/// Sorts architectures by what `of` says of each.
pub(super) fn by_arch<T: PartialEq>(
    archs: ArchSet,
    mut of: impl FnMut(ArchId) -> Result<T, CodegenError>,
) -> Result<Vec<(ArchSet, T)>, CodegenError> {
    let each = archs.iter().map(|arch| Ok((arch, of(arch)?)));
    Ok(grouped(each.collect::<Result<Vec<_>, CodegenError>>()?))
}

/// Puts together the architectures of equal values.
pub(super) fn grouped<T: PartialEq>(
    each: impl IntoIterator<Item = (ArchId, T)>,
) -> Vec<(ArchSet, T)> {
    let mut groups: Vec<(ArchSet, T)> = Vec::new();
    for (arch, value) in each {
        match groups.iter_mut().find(|(_, known)| *known == value) {
            Some((archs, _)) => *archs = archs.iter().chain([arch]).collect(),
            None => groups.push((ArchSet::from_iter([arch]), value)),
        }
    }
    groups
}

/// Returns a number without a type, in the radix of the description.
pub(super) fn number(value: i128, radix: Radix) -> TokenStream {
    let digits = match radix {
        Radix::Decimal => separated(&value.unsigned_abs().to_string(), 3, 5),
        Radix::Hexadecimal => {
            format!("0x{}", separated(&format!("{:X}", value.unsigned_abs()), 4, 4))
        }
    };
    let digits = digits.parse().unwrap_or_else(|_| Literal::u128_unsuffixed(value.unsigned_abs()));
    if value < 0 { quote!(-#digits) } else { quote!(#digits) }
}

/// Returns a number without a type, in hexadecimal.
pub(super) fn hex(value: u64) -> TokenStream {
    number(value.into(), Radix::Hexadecimal)
}

/// Puts a line between groups of digits, if there are more than `most`.
fn separated(digits: &str, group: usize, most: usize) -> String {
    if digits.len() <= most {
        return digits.to_owned();
    }
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(group) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_radix_and_long_ones_are_separated() {
        for (value, radix, text) in [
            (0, Radix::Decimal, "0"),
            (-22, Radix::Decimal, "- 22"),
            (65280, Radix::Decimal, "65280"),
            (1_450_075_480, Radix::Decimal, "1_450_075_480"),
            (0x7FF0, Radix::Hexadecimal, "0x7FF0"),
            (0x8000_0000_0000_0000, Radix::Hexadecimal, "0x8000_0000_0000_0000"),
            (0xF_FFFF, Radix::Hexadecimal, "0xF_FFFF"),
        ] {
            assert_eq!(number(value, radix).to_string(), text);
        }
    }
}
