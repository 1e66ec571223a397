//! Constants: numbers of commands, values of enumerations, masks and indices of bit fields, tags of
//! encodings.

use super::cells::{Cells, Here};
use super::claims::Claim;
use super::findings::Findings;
use crate::facts::{Column, Facts, scope};
use std::collections::BTreeMap;

/// Compares every claim, in every cell.
pub(super) fn compare(
    claims: &BTreeMap<&str, Vec<Claim<'_>>>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    for (name, claims) in claims {
        let measured = facts.constants.get(*name);
        for here in cells.iter() {
            one(name, claims, measured, here, facts, findings);
        }
    }
}

fn one(
    name: &str,
    claims: &[Claim<'_>],
    measured: Option<&Column<i128>>,
    here: Here,
    facts: &Facts,
    findings: &mut Findings,
) {
    let fact = measured.and_then(|column| column.get(here.cell));
    let mut claimed = false;
    for claim in claims {
        let Some(value) = claim.value(here) else { continue };
        claimed = true;
        findings.tally.constants += 1;
        match fact {
            Some(fact) if claim.holds(value, fact) => {}
            Some(fact) => findings.add(
                &claim.place,
                format!("`{name}` is not {}", number(value)),
                format!("{} in the headers", number(fact)),
                here.cell,
            ),
            None => findings.add(
                &claim.head.place.key("name"),
                format!("the headers have no `{name}`"),
                known(facts, measured),
                here.cell,
            ),
        }
    }
    if claimed {
        return;
    }
    match (fact, claims.first()) {
        (Some(_), Some(claim)) => {
            let message = format!("the headers have `{name}` where the description has it not");
            findings.add(&here.blame(claim.head), message, known(facts, measured), here.cell);
        }
        _ => findings.tally.absences += 1,
    }
}

/// Where the headers have a name, as a label.
fn known(facts: &Facts, measured: Option<&Column<i128>>) -> String {
    match measured {
        Some(column) => format!(
            "the headers have it in {}",
            scope::describe(&facts.grid, &column.cells().collect::<Vec<_>>())
        ),
        None => "the headers never have it".to_owned(),
    }
}

fn number(value: i128) -> String {
    if value < 10 { value.to_string() } else { format!("{value} ({value:#x})") }
}
