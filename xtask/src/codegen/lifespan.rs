//! Symbols over the releases: what the newest headers no longer have, and names that came to mean
//! something else.

use crate::document::{Document, Head, Manifest, ReleaseRange};
use crate::naming::{self, Rule};
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::HashMap;

/// The Rust names of `heads`, in their order. Where two of one name exist on one architecture, in
/// different releases, only the latest has it: what a name meant in an older release is of no use
/// beside what it means now.
pub(super) fn distinct(rule: Rule, heads: &[&Head]) -> Vec<Option<String>> {
    let names: Vec<String> = heads.iter().map(|head| rule.apply(&head.name)).collect();
    let later = later(heads, &names);
    names.into_iter().zip(later).map(|(name, later)| (!later).then_some(name)).collect()
}

/// For each of `heads` whether another of its name comes after it on one of its architectures.
fn later(heads: &[&Head], names: &[String]) -> Vec<bool> {
    let mut by_name: HashMap<&str, Vec<&Head>> = HashMap::new();
    for (head, name) in heads.iter().zip(names) {
        by_name.entry(name).or_default().push(head);
    }
    let comes_after = |head: &Head, other: &Head| {
        other.availability.releases.since > head.availability.releases.until
            && !other.availability.archs.and(head.availability.archs).is_empty()
    };
    heads
        .iter()
        .zip(names)
        .map(|(head, name)| by_name[name.as_str()].iter().any(|other| comes_after(head, other)))
        .collect()
}

/// The types of each file whose name a later release gave to something else. They keep it with
/// their last release at its end, because other items of that release may need them.
pub(super) fn renamed_types(document: &Document) -> HashMap<*const Head, String> {
    let mut renamed = HashMap::new();
    for file in &document.files {
        let mut types: Vec<&Head> = file.types.iter().map(|item| &item.head).collect();
        types.extend(file.enumerations.iter().map(|item| &item.head));
        types.extend(file.encodings.iter().map(|item| &item.head));
        types.extend(file.structs.iter().map(|item| &item.head));
        let words: Vec<&Head> = file.words.iter().map(|item| &item.head).collect();
        for (rule, heads) in [(naming::TYPE, types), (naming::MODULE, words)] {
            let names: Vec<String> = heads.iter().map(|head| rule.apply(&head.name)).collect();
            for (head, _) in heads.iter().zip(later(&heads, &names)).filter(|(_, later)| *later) {
                let until = document.manifest.release(head.availability.releases.until);
                renamed.insert(
                    std::ptr::from_ref(*head),
                    rule.apply(&format!("{}_until_{}_{}", head.name, until.major, until.minor)),
                );
            }
        }
    }
    renamed
}

/// `#[deprecated]` for what newer headers than those of `within` dropped, or what something else
/// replaces.
pub(super) fn deprecated(manifest: &Manifest, head: &Head, within: ReleaseRange) -> TokenStream {
    let until = head.availability.releases.until;
    let dropped = (until < within.until)
        .then(|| format!("the headers dropped it after Xen {}", manifest.release(until)));
    let superseded = head.superseded_by.as_ref().map(|other| format!("use {other} instead"));
    let notes: Vec<String> = dropped.into_iter().chain(superseded).collect();
    if notes.is_empty() {
        return TokenStream::new();
    }
    let note = notes.join("; ");
    quote!(#[deprecated(note = #note)])
}

/// `#[deprecated]` for a field that something else replaces. One that newer headers dropped is not
/// generated at all.
pub(super) fn superseded(head: &Head) -> TokenStream {
    let Some(other) = &head.superseded_by else { return TokenStream::new() };
    let note = format!("use {other} instead");
    quote!(#[deprecated(note = #note)])
}
