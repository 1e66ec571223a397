//! Checks the keys that every item has: the documentation must say more than the name, the item
//! must exist somewhere, and its successor must exist too.

use super::report::{Report, fault};
use super::{Context, Kind, Named, items, name_of, structs};
use crate::document::{Head, VariantKind};
use crate::yaml::Place;
use std::collections::HashMap;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let all = items(context.document);
    let known = known(context, &all);
    for item in &all {
        somewhere(report, item);
        named_in_time(context, report, item);
        honoured_in_time(context, report, item);
        honoured_somewhere(context, report, item);
        superseded(context, report, item, &known);
    }
}

/// What takes a thing's place is something else that exists where the thing does, or comes later.
fn superseded(context: &Context<'_>, report: &mut Report<'_>, item: &Named<'_>, known: &Known<'_>) {
    let Some(name) = &item.head.superseded_by else { return };
    let place = item.head.place.key("superseded_by");
    let own = item.head;
    let Some(others) = known.get(name.as_str()) else {
        let found = fault(place, format!("there is no `{name}` to use instead"));
        return report.add_near(found, name, known.keys().copied());
    };
    // A set of commands takes the place of anything.
    if others.iter().any(Option::is_none) {
        return;
    }
    let others = || others.iter().flatten().copied();
    let all = || others().filter(|other| other.place != own.place);
    let Some(first) = all().next() else {
        report.add(fault(place, format!("`{name}` cannot be used instead of itself")));
        return;
    };
    let manifest = context.manifest();
    let (archs, until) = (own.availability.archs, own.availability.releases.until);
    if all().all(|other| other.availability.archs.and(archs).is_empty()) {
        let found = fault(place, format!("`{name}` exists on other architectures only"));
        report.add(found.related(name_of(first), "described here"));
    } else if all().all(|other| other.availability.releases.until < until) {
        let gone = manifest.release(first.availability.releases.until);
        let found = fault(place, format!("`{name}` is gone earlier than `{}`", own.name));
        report.add(found.related(name_of(first), format!("the headers have it until {gone}")));
    } else if let Some(circle) = circle(own, known) {
        // Each item of a circle sees the same one; the first in the alphabet reports it.
        if circle.iter().min() == Some(&own.name.as_str()) {
            let found = fault(place, "items that are to be used instead of one another");
            report.add(found.label(format!("{} > {}", circle.join(" > "), own.name)));
        }
    }
}

/// Returns the way from an item by what supersedes each, if it leads back.
fn circle<'d>(start: &'d Head, known: &Known<'d>) -> Option<Vec<&'d str>> {
    let mut path = vec![start.name.as_str()];
    let mut here = start;
    while let Some(next) = here.superseded_by.as_deref() {
        here = known.get(next)?.iter().flatten().copied().find(|other| other.name == next)?;
        if here.place == start.place {
            return Some(path);
        }
        if path.contains(&next) {
            return None;
        }
        path.push(next);
    }
    None
}

/// What can take a thing's place, by its name or by C's: items, or a set of commands (`None`).
type Known<'d> = HashMap<&'d str, Vec<Option<&'d Head>>>;

fn known<'d>(context: &Context<'d>, all: &[Named<'d>]) -> Known<'d> {
    let mut known = Known::new();
    for head in all.iter().map(|item| item.head) {
        known.entry(&head.name).or_default().push(Some(head));
        if let Some(c) = head.c.as_deref().filter(|c| *c != head.name) {
            known.entry(c).or_default().push(Some(head));
        }
    }
    for set in context.document.files.iter().flat_map(|file| &file.commands) {
        known.entry(&set.hypercall).or_default().push(None);
    }
    known
}

fn somewhere(report: &mut Report<'_>, item: &Named<'_>) {
    let availability = item.head.availability;
    let what = if availability.archs.is_empty() {
        "on no architecture"
    } else if availability.releases.is_empty() {
        "in no release"
    } else {
        return;
    };
    let fault = fault(name_of(item.head), format!("`{}` exists {what}", item.head.name));
    report.add(fault.help("an item exists at most where the one that holds it does"));
}

/// What no header offers any more is not honoured from then on.
fn honoured_in_time(context: &Context<'_>, report: &mut Report<'_>, item: &Named<'_>) {
    let Some(honoured) = item.head.availability.honoured_since else { return };
    let until = item.head.availability.releases.until;
    if honoured > until {
        let (manifest, name) = (context.manifest(), &item.head.name);
        let found = fault(
            item.head.place.key("honoured_since"),
            format!("`{name}` is honoured only after it is gone"),
        );
        report.add(found.label(format!("the headers have it until {}", manifest.release(until))));
    }
}

/// `honoured_arch` names some of the architectures that have the item, and not all.
fn honoured_somewhere(context: &Context<'_>, report: &mut Report<'_>, item: &Named<'_>) {
    let Some(honoured) = item.head.honoured_arch else { return };
    let own = item.head.availability.archs;
    let name = &item.head.name;
    let found = |why| fault(item.head.place.key("honoured_arch"), why);
    if let Some(other) = honoured.iter().find(|arch| !own.contains(*arch)) {
        let arch = &context.manifest().arch(other).name;
        report.add(found(format!("`{name}` does not exist on {arch}")));
    } else if honoured == own {
        let found = found(format!("`{name}` exists on no other architecture"));
        report.add(found.help("leave `honoured_arch` out if every architecture supports the item"));
    }
}

fn named_in_time(context: &Context<'_>, report: &mut Report<'_>, item: &Named<'_>) {
    let Some(named) = item.head.named_since else { return };
    let releases = item.head.availability.releases;
    if !releases.is_empty() && !releases.contains(named) {
        let (manifest, name) = (context.manifest(), &item.head.name);
        let span = format!(
            "`{name}` exists from {} to {}",
            manifest.release(releases.since),
            manifest.release(releases.until)
        );
        report.add(
            fault(
                item.head.place.key("named_since"),
                "the name is given when there is nothing to name",
            )
            .label(span),
        );
    }
}

/// Words that say nothing beside a name.
const FILLERS: [&str; 16] = [
    "a", "an", "the", "of", "this", "is", "it", "for", "to", "in", "field", "value", "constant",
    "type", "struct", "command",
];

pub(super) fn docs(context: &Context<'_>, report: &mut Report<'_>) {
    for arch in &context.document.manifest.architectures {
        doc(report, &arch.doc, &arch.name, &arch.place);
    }
    for file in &context.document.files {
        doc(report, &file.doc, &file.name, &Place::root(&file.name));
        for convention in &file.conventions {
            doc(report, &convention.doc, "convention", &convention.place);
        }
        for set in &file.commands {
            doc(report, &set.doc, &set.hypercall, &set.place);
        }
        for variant in file.encodings.iter().flat_map(|encoding| &encoding.variants) {
            let VariantKind::Fields { fields, .. } = &variant.kind else { continue };
            for field in fields {
                doc(report, &field.doc, &field.name, &field.place);
            }
        }
    }
    for item in items(context.document).iter().filter(|item| item.kind != Kind::Padding) {
        doc(report, &item.head.doc, &item.head.name, &item.head.place);
    }
    for snapshot in structs(context.document).flat_map(|block| &block.snapshots) {
        doc(report, &snapshot.doc, &snapshot.name, &snapshot.place);
    }
}

/// A text that is missing was told of by the parser.
fn doc(report: &mut Report<'_>, doc: &str, name: &str, place: &Place) {
    if !doc.is_empty() && restates(doc, name) {
        let help = "say what it is for, in which unit, or what one must know to use it";
        report.add(
            fault(place.key("doc"), format!("the `doc` of `{name}` only restates the name"))
                .help(help),
        );
    }
}

/// Returns whether a text has no word that is not in the name.
fn restates(doc: &str, name: &str) -> bool {
    let of_name: Vec<String> = words(name).collect();
    words(doc).all(|word| FILLERS.contains(&word.as_str()) || of_name.contains(&word))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::restates;

    #[test]
    fn a_text_must_add_something_to_the_name() {
        for (doc, name) in [
            ("The upcall mask.", "upcall_mask"),
            ("Port", "port"),
            ("...", "x"),
            ("The value of the DOM field.", "dom"),
        ] {
            assert!(restates(doc, name), "{doc} {name}");
        }
        for (doc, name) in
            [("Masks upcalls.", "upcall_mask"), ("The local port.", "port"), ("A UUID.", "handle")]
        {
            assert!(!restates(doc, name), "{doc} {name}");
        }
    }
}
