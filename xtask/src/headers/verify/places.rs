//! Headers: each described name stands in the header that the description gives.

use super::Findings;
use super::cells::{Cells, Here};
use super::constants::Claims;
use super::strings::{Strings, claimed};
use crate::document::{Document, Head};
use crate::headers::facts::Facts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest header of each of these names and structs; a struct's behind `struct `.
#[must_use]
pub(super) fn newest<'n>(
    facts: &Facts,
    names: impl Iterator<Item = &'n String>,
    structs: &[String],
) -> BTreeMap<String, Arc<str>> {
    let structs = structs.iter().map(|name| format!("struct {name}"));
    let newest = names.cloned().chain(structs).filter_map(|name| {
        let column = facts.places.get(&name)?;
        let header = column.get(column.cells().last()?)?;
        Some((name, header))
    });
    newest.collect()
}

/// Compares the header of every named constant, string and struct in the newest release with it.
pub(super) fn compare(
    document: &Document,
    claims: &Claims<'_>,
    strings: &Strings<'_>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for (name, claims) in &claims.constants {
        for claim in claims {
            let there = cells.iter().filter(|here| claim.value(*here).is_some()).collect();
            one(name, claim.head, there, facts, findings);
        }
    }
    for (name, items) in strings {
        for item in items {
            let there = cells.iter().filter(|here| claimed(&[item], *here).is_some()).collect();
            one(name, &item.head, there, facts, findings);
        }
    }
    for item in document.files.iter().flat_map(|file| &file.structs) {
        let Some(c) = &item.head.c else { continue };
        let there = cells.iter().filter(|here| here.names(&item.head)).collect();
        one(&format!("struct {c}"), &item.head, there, facts, findings);
    }
}

fn one(name: &str, head: &Head, there: Vec<Here>, facts: &Facts, findings: &mut Findings) {
    let Some(newest) = there.iter().map(|here| here.release).max() else { return };
    let Some(places) = facts.places.get(name) else { return };
    let here = there.into_iter().filter(|here| here.release == newest);
    let found: Vec<_> = here.filter_map(|here| Some((here, places.get(here.cell)?))).collect();
    let Some((first, _)) = found.first() else { return };
    if found.iter().any(|(_, header)| **header == *head.header) {
        return;
    }
    let headers: BTreeSet<&str> = found.iter().map(|(_, header)| &**header).collect();
    findings.add(
        &head.place.key("header"),
        format!("`{name}` is not in {}", head.header),
        format!("in {} of the newest headers", headers.into_iter().collect::<Vec<_>>().join(", ")),
        first.cell,
    );
}
