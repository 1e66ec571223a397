//! What every item may say.

use super::context::{Context, Keys};
use super::node::At;
use crate::diagnostic::Diagnostic;
use crate::document::{ArchSet, Availability, Head, Manifest, ReleaseId, ReleaseRange};

/// What an item has from the one that holds it.
#[derive(Clone, Debug)]
pub(super) struct Outer {
    pub(super) availability: Availability,
    pub(super) header: String,
}

impl Outer {
    /// What the items of a file have from it.
    pub(super) fn file(manifest: &Manifest, header: &str) -> Self {
        let availability = Availability {
            releases: manifest.all_releases(),
            honoured_since: None,
            archs: manifest.all_archs(),
        };
        Self { availability, header: header.to_owned() }
    }

    /// What the items inside an item have from it.
    pub(super) fn of(head: &Head) -> Self {
        Self {
            availability: Availability { honoured_since: None, ..head.availability },
            header: head.header.clone(),
        }
    }
}

/// How an item's head may differ from the others'.
#[derive(Clone, Copy)]
pub(super) struct Rules<'r> {
    /// What the C name begins with, where `c` does not say it.
    pub(super) prefix: &'r str,
    /// Whether `doc` may be left out.
    pub(super) silent: bool,
}

/// The rules for most items.
pub(super) const PLAIN: Rules<'static> = Rules { prefix: "", silent: false };

/// Returns the value of `name`.
pub(super) fn name(context: &Context<'_>, keys: &Keys<'_>) -> Option<String> {
    context.errors.need(keys.need(context.errors, "name")?.text("a name")).map(str::to_owned)
}

/// What every item may say.
pub(super) fn head(
    context: &Context<'_>,
    keys: &Keys<'_>,
    name: String,
    outer: &Outer,
    rules: Rules<'_>,
) -> Head {
    let c = match optional_text(context, keys, "c") {
        Some(none) if none == "none" => None,
        Some(c) => Some(c),
        None => Some(format!("{}{name}", rules.prefix)),
    };
    Head {
        doc: doc(context, keys, rules.silent),
        header: optional_text(context, keys, "header").unwrap_or_else(|| outer.header.clone()),
        availability: availability(context, keys, outer.availability),
        c,
        named_since: release(context, keys, "named_since"),
        honoured_arch: archs(context, keys, "honoured_arch"),
        superseded_by: optional_text(context, keys, "superseded_by"),
        place: keys.at.place(),
        name,
    }
}

/// What every item may say that groups others: it has a name in C only where `c` says so.
pub(super) fn group_head(
    context: &Context<'_>,
    keys: &Keys<'_>,
    name: &str,
    outer: &Outer,
) -> Head {
    let head = head(context, keys, name.to_owned(), outer, PLAIN);
    Head { c: head.c.filter(|_| keys.has("c")), ..head }
}

/// What something is, without line breaks at the ends. Without one, the rest can still be judged.
pub(super) fn doc(context: &Context<'_>, keys: &Keys<'_>, may_be_left_out: bool) -> String {
    match keys.get("doc") {
        Some(at) => context.errors.or(at.text("a text that says what it is"), "").trim().to_owned(),
        None => {
            if !may_be_left_out {
                keys.missing(context.errors, "doc", "say in a sentence what it is");
            }
            String::new()
        }
    }
}

/// Returns a text that may be left out.
pub(super) fn optional_text(
    context: &Context<'_>,
    keys: &Keys<'_>,
    key: &'static str,
) -> Option<String> {
    let at = keys.get(key)?;
    context.errors.or(at.text("a text").map(|text| Some(text.to_owned())), None)
}

fn release(context: &Context<'_>, keys: &Keys<'_>, key: &'static str) -> Option<ReleaseId> {
    let at = keys.get(key)?;
    context.errors.or(at.known_release(context.manifest).map(Some), None)
}

/// Where the item exists, which is at most where the outer one does.
fn availability(context: &Context<'_>, keys: &Keys<'_>, outer: Availability) -> Availability {
    let (since, until) = (release(context, keys, "since"), release(context, keys, "until"));
    let all = context.manifest.all_releases();
    let mut releases =
        ReleaseRange { since: since.unwrap_or(all.since), until: until.unwrap_or(all.until) };
    if releases.is_empty() && since.is_some() && until.is_some() {
        let of = |id| context.manifest.release(id);
        let message =
            format!("`since` {} is after `until` {}", of(releases.since), of(releases.until));
        let place = keys.at.place();
        context.errors.add(
            Diagnostic::new(place.key("since"), message)
                .label("later")
                .related(place.key("until"), "earlier"),
        );
        releases = outer.releases;
    }
    Availability {
        releases: releases.and(outer.releases),
        honoured_since: release(context, keys, "honoured_since"),
        archs: archs(context, keys, "arch").unwrap_or(outer.archs).and(outer.archs),
    }
}

fn archs(context: &Context<'_>, keys: &Keys<'_>, key: &'static str) -> Option<ArchSet> {
    let at = keys.get(key)?;
    let items: Vec<At<'_>> = context
        .errors
        .or(at.items("a list of architectures").map(|items| Some(items.collect())), None)?;
    let mut set = Vec::new();
    for item in &items {
        let arch =
            item.text("the name of an architecture").and_then(|name| item.arch(context, name));
        match context.errors.or(arch.map(Some), None) {
            Some(arch) if set.contains(&arch) => context
                .errors
                .add(item.wrong("the architecture is listed twice").label("listed again")),
            Some(arch) => set.push(arch),
            None => {}
        }
    }
    if items.is_empty() {
        context.errors.add(
            Diagnostic::new(at.place().as_key(), "the list of architectures is empty")
                .help("without the key, all have it"),
        );
    }
    (!set.is_empty()).then(|| set.into_iter().collect())
}
