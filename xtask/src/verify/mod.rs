//! Holds the description to the measured facts, and the facts to the description.
//!
//! Every C name that the description uses is compared in every release and on every architecture:
//! where the description has it, the headers must have it with the same value or layout; where the
//! description has it not, the headers must not have it either.

mod aliases;
mod cells;
mod claims;
mod constants;
mod findings;
pub mod fresh;
mod members;
pub mod report;
mod structs;
pub mod undescribed;
mod views;

pub use findings::{Mismatch, Tally};
pub use undescribed::{Rules, Undescribed};

use crate::document::{Document, Place};
use crate::facts::Facts;
use crate::resolve::Layouts;
use cells::Cells;
use findings::Findings;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many comparisons were made, by kind.
    pub tally: Tally,
    /// What differs, in no particular order.
    pub mismatches: Vec<Mismatch>,
    /// Described items for which the headers have no name.
    pub unchecked: Vec<Place>,
    /// How many types are described. The tables hold no typedefs: a type is compared only where it
    /// is a struct in C, or a member of one has it.
    pub types: usize,
    /// Names of constants that the facts have and the description has not, sorted.
    pub undescribed_constants: Vec<String>,
    /// Names of structs that the facts have and the description has not, sorted.
    pub undescribed_structs: Vec<String>,
    /// Releases and architectures of the manifest that nobody measured, for people.
    pub unmeasured: Vec<String>,
}

/// Compares the description with the facts, wherever both have the release and the architecture.
#[must_use]
pub fn run(document: &Document, facts: &Facts) -> Report {
    let layouts = Layouts::new(document);
    let cells = Cells::new(&document.manifest, &facts.grid);
    let mut findings = Findings::default();
    let claims = claims::collect(document);
    constants::compare(&claims.constants, facts, &cells, &mut findings);
    structs::compare(document, &layouts, facts, &cells, &mut findings);
    aliases::compare(document, &layouts, facts, &cells, &mut findings);
    Report {
        undescribed_constants: facts
            .constants
            .keys()
            .filter(|name| !claims.constants.contains_key(name.as_str()))
            .cloned()
            .collect(),
        undescribed_structs: structs::undescribed(document, facts),
        types: document.files.iter().map(|file| file.types.len()).sum(),
        unmeasured: cells.unmeasured(),
        unchecked: [claims.unnamed, std::mem::take(&mut findings.unnamed)].concat(),
        tally: findings.tally,
        mismatches: findings.finish(&facts.grid),
    }
}
