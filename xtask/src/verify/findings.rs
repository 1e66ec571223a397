//! What was found: the same finding in several releases and architectures is one mismatch.

use crate::diagnostic::Diagnostic;
use crate::document::Place;
use crate::facts::{Cell, Grid, scope};
use std::collections::BTreeMap;

/// How many comparisons were made, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Values of constants, described and measured.
    pub constants: u64,
    /// Sizes of structs.
    pub sizes: u64,
    /// Offsets and sizes of members.
    pub members: u64,
    /// Padding that C names, against padding that was computed.
    pub padding: u64,
    /// Names that the description does not have in a release on an architecture, and the headers
    /// have not either.
    pub absences: u64,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.constants + self.sizes + self.members + self.padding + self.absences
    }
}

/// Something that the description says otherwise than the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which text says it.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What the headers have there.
    pub label: String,
    /// In how many releases and architectures.
    pub cells: usize,
}

impl Mismatch {
    /// It as rustc would show it.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.place.clone(), self.message.clone()).label(self.label.clone())
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many comparisons were made.
    pub(super) tally: Tally,
    /// Described items for which the headers have no name.
    pub(super) unnamed: Vec<Place>,
    found: BTreeMap<(Place, String, String), Vec<Cell>>,
}

impl Findings {
    /// Notes that something is wrong in a cell.
    pub(super) fn add(&mut self, place: &Place, message: String, label: String, cell: Cell) {
        self.found.entry((place.clone(), message, label)).or_default().push(cell);
    }

    /// Everything that is wrong, with the cells as text.
    #[must_use]
    pub(super) fn finish(self, grid: &Grid) -> Vec<Mismatch> {
        let found = self.found.into_iter();
        let mismatches = found.map(|((place, message, label), mut cells)| {
            cells.sort_unstable();
            cells.dedup();
            Mismatch {
                place,
                message: format!("{message} ({})", scope::describe(grid, &cells)),
                label,
                cells: cells.len(),
            }
        });
        mismatches.collect()
    }
}
