//! The orderings of the sources, held against the table.

use std::collections::BTreeMap;

use crate::explore::{Outcome, explore};
use crate::scenarios::SCENARIOS;
use crate::sites::{Sites, Weakening};

/// The file, function, access and orderings of a weakening, with the scenario that finds it, or the
/// reason why the ordering is stronger than needed.
const TABLE: &str = include_str!("../table.md");

/// Runs a scenario.
fn run(name: &str, weakening: Option<Weakening>) -> Outcome {
    let (_, scenario) = SCENARIOS.iter().find(|(known, _)| *known == name).expect("a scenario");
    let mut outcome = Outcome::default();
    scenario(&mut |scenario| outcome = explore(scenario, weakening));
    outcome
}

/// The rows of the table: the first four cells, and the last one.
fn rows() -> BTreeMap<&'static str, &'static str> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let end = row.match_indices('|').nth(4).expect("five cells").0 + 1;
        (&row[..end], row[end..].trim_matches([' ', '|']))
    })
    .collect()
}

/// The scenario that a last cell names.
fn scenario(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn every_scenario_holds() {
    for (name, _) in SCENARIOS {
        let start = std::time::Instant::now();
        let outcome = run(name, None);
        let (all, valid) = (outcome.executions, outcome.valid);
        println!("{name}: {all} executions, {valid} valid, {:.2?}", start.elapsed());
        if let Some((what, trace)) = outcome.failure {
            panic!("{name}: {what}\n{}", trace.join("\n"));
        }
        assert!(valid > all / 20, "{name}: only {valid} of {all} executions are not discarded");
        assert!(outcome.complete, "{name}: more than {} executions", outcome.executions);
    }
}

#[test]
fn the_table_has_every_ordering() {
    let (sites, mut rows) = (Sites::read(), rows());
    let all = sites.weakenings().into_iter().map(|weakening| sites.describe(weakening));
    let missing: Vec<_> = all.filter(|row| rows.remove(row.as_str()).is_none()).collect();
    assert!(missing.is_empty(), "table.md lacks\n{}", missing.join("\n"));
    assert!(rows.is_empty(), "table.md has rows without an access: {rows:#?}");
}

#[test]
fn each_weakening_of_the_table_is_found() {
    let (sites, rows) = (Sites::read(), rows());
    let mut found = 0;
    for weakening in sites.weakenings() {
        let row = sites.describe(weakening);
        let Some(name) = rows.get(row.as_str()).and_then(|cell| scenario(cell)) else { continue };
        let outcome = run(name, Some(weakening));
        assert!(outcome.failure.is_some(), "`{name}` does not find {row}");
        found += 1;
    }
    println!("{found} weakenings are found");
}

/// Tries every weakening in every scenario that makes the access.
#[test]
#[ignore = "`cargo xtask mutants --orderings` runs it"]
fn the_table_is_what_a_full_run_finds() {
    let (sites, rows) = (Sites::read(), rows());
    let reached: Vec<_> =
        SCENARIOS.iter().map(|(name, _)| (*name, run(name, None).sites)).collect();
    let mut wrong = Vec::new();
    for weakening in sites.weakenings() {
        let (row, mut finders, mut tried) = (sites.describe(weakening), Vec::new(), 0);
        for (name, _) in reached.iter().filter(|(_, made)| made.contains(&weakening.site)) {
            tried += 1;
            if run(name, Some(weakening)).failure.is_some() {
                finders.push(format!("`{name}`"));
            }
        }
        println!("{row} {} | of {tried}", finders.join(", "));
        let cell = rows.get(row.as_str()).copied().unwrap_or("no row");
        if scenario(cell).is_some() == finders.is_empty() {
            wrong.push(format!("{row} {cell}"));
        }
    }
    assert!(wrong.is_empty(), "expected other rows than\n{}", wrong.join("\n"));
}
