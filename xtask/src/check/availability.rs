//! Everything exists somewhere, and what takes a thing's place exists too.

use super::Context;
use super::places::name_of;
use super::report::{Report, fault};
use super::walk::{Named, items};
use std::collections::HashSet;

pub(super) fn check(context: &Context<'_>, report: &mut Report<'_>) {
    let all = items(context.document);
    let known = known(context, &all);
    for item in &all {
        somewhere(report, item);
        named_in_time(context, report, item);
        if let Some(name) =
            item.head.superseded_by.as_ref().filter(|name| !known.contains(name.as_str()))
        {
            let place = item.head.place.key("superseded_by");
            report.add_near(
                fault(place, format!("there is no `{name}` to use instead")),
                name,
                known.iter().copied(),
            );
        }
    }
}

/// What can take a thing's place: any item, by its name or by C's, or a set of commands.
fn known<'d>(context: &Context<'d>, all: &[Named<'d>]) -> HashSet<&'d str> {
    let names = all.iter().map(|item| item.head.name.as_str());
    let names = names.chain(all.iter().filter_map(|item| item.head.c.as_deref()));
    names
        .chain(
            context
                .document
                .files
                .iter()
                .flat_map(|file| &file.commands)
                .map(|set| set.hypercall.as_str()),
        )
        .collect()
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
