//! Strings: each has the text that the headers have.

use super::Findings;
use super::cells::{Cells, Here};
use crate::document::{Document, Head, StringConstant};
use crate::headers::facts::{Column, Facts, Text};
use crate::headers::scope;
use std::collections::BTreeMap;

/// The described strings by C name; there may be several for one, in different releases.
pub(super) type Strings<'d> = BTreeMap<&'d str, Vec<&'d StringConstant>>;

/// Collects them.
#[must_use]
pub(super) fn collect(document: &Document) -> Strings<'_> {
    let mut strings = Strings::new();
    for item in document.files.iter().flat_map(|file| &file.strings) {
        if let Some(c) = &item.head.c {
            strings.entry(c).or_default().push(item);
        }
    }
    strings
}

/// The text that the headers must have there; `None` where they must have none.
pub(super) fn claimed<'d>(items: &[&'d StringConstant], here: Here) -> Option<(&'d str, &'d Head)> {
    let item = items.iter().find(|item| here.names(&item.head))?;
    Some((item.value.get(here.arch)?, &item.head))
}

/// Compares every string, in every cell.
pub(super) fn compare(
    strings: &Strings<'_>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for (name, items) in strings {
        let measured = facts.texts.get(*name);
        for here in cells.iter() {
            one(name, items, measured, here, facts, findings);
        }
    }
}

fn one(
    name: &str,
    items: &[&StringConstant],
    measured: Option<&Column<Text>>,
    here: Here,
    facts: &Facts,
    findings: &mut Findings,
) {
    let fact = measured.and_then(|column| column.get(here.cell));
    let known = || match measured {
        Some(column) => {
            let cells = column.cells().collect::<Vec<_>>();
            format!("the headers have it in {}", scope::describe(&facts.grid, &cells))
        }
        None => "the headers never have it".to_owned(),
    };
    match (claimed(items, here), fact) {
        (Some((value, head)), Some(fact)) => {
            findings.comparisons.constants += 1;
            if fact != Text::String(value.into()) {
                let message = format!("`{name}` is not \"{value}\"");
                let label = format!("{fact} in the headers");
                findings.add(&head.place.key("value"), message, label, here.cell);
            }
        }
        (Some((_, head)), None) => {
            let message = format!("the headers have no `{name}`");
            findings.add(&head.place.key("name"), message, known(), here.cell);
        }
        (None, Some(_)) => {
            let message = format!("the headers have `{name}` where the description has it not");
            findings.add(&here.blame(&items[0].head), message, known(), here.cell);
        }
        (None, None) => findings.comparisons.absences += 1,
    }
}
