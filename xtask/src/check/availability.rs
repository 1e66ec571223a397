//! Everything exists somewhere, and what takes a thing's place exists too.

use super::Context;
use super::places::name_of;
use super::report::{Report, fault};
use super::walk::{Named, items};
use crate::document::Head;
use std::collections::HashMap;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let all = items(context.document);
    let known = known(context, &all);
    for item in &all {
        somewhere(report, item);
        named_in_time(context, report, item);
        honoured_in_time(context, report, item);
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

/// The way from an item by what supersedes each, if it leads back.
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
