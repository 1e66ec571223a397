//! Names of integers and of arrays that C makes structs of.

use super::cells::{Cells, Here};
use super::findings::Findings;
use crate::document::{Document, TypeAlias};
use crate::facts::Facts;
use crate::resolve::{Integer, Layouts};

/// Compares the size and the existence of each, in every cell.
pub(super) fn compare(
    document: &Document,
    layouts: &Layouts<'_>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for alias in document.files.iter().flat_map(|file| &file.types) {
        let Some(measured) = alias.head.c.as_ref().and_then(|c| facts.structs.get(c)) else {
            continue;
        };
        for here in cells.iter() {
            let fact = measured.size.get(here.cell);
            let size = here.names(&alias.head).then(|| alias_size(alias, layouts, here)).flatten();
            let name = &alias.head.name;
            match (size, fact) {
                (Some(size), Some(fact)) if size == fact => findings.tally.sizes += 1,
                (None, None) => findings.tally.absences += 1,
                (Some(size), Some(fact)) => {
                    let message = format!("`{name}` is not {size} bytes long");
                    findings.add(
                        &alias.head.place.as_key(),
                        message,
                        format!("{fact} bytes in the headers"),
                        here.cell,
                    );
                }
                (described, _) => {
                    let has = if described.is_some() { "have no" } else { "have" };
                    let (message, label) = (
                        format!("the headers {has} `{name}`"),
                        "the description says otherwise".to_owned(),
                    );
                    findings.add(&alias.head.place.as_key(), message, label, here.cell);
                }
            }
        }
    }
}

fn alias_size(alias: &TypeAlias, layouts: &Layouts<'_>, here: Here) -> Option<u64> {
    let names = layouts.names();
    let meaning = names.meaning(alias.is.get(here.arch)?, here.release, here.arch).ok()?;
    let element = Integer::of(meaning.basis.primitive()?, names.manifest().arch(here.arch));
    let own = match &alias.count {
        Some(count) => names.count(count.get(here.arch)?, here.release, here.arch).ok()??,
        None => 1,
    };
    Some(u64::from(element.size) * meaning.count.unwrap_or(1) * own)
}
