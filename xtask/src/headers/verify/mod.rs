//! Compares the description with the measured facts, and the facts with the description.
//!
//! Every C name that the description uses is compared in every release and on every architecture:
//! where the description has it, the headers must have it with the same value or layout; where the
//! description does not have it, the headers must not have it either.

mod cells;
mod constants;
mod coverage;
pub mod fresh;
mod members;
mod places;
mod strings;
mod structs;
mod table;
mod undescribed;

pub use coverage::{Part, Row, coverage, table as coverage_table};
pub use table::{different, newest, newest_claims, tables};
pub use undescribed::{FILE, Rules, Undescribed};

use super::facts::{Cell, Column, Facts, Grid, Text};
use super::scope;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::layout::Layouts;
use crate::yaml::Place;
use cells::Cells;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many comparisons were made, by kind.
    pub comparisons: Comparisons,
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
    /// Names of strings that the facts have and the description has not, sorted.
    pub undescribed_strings: Vec<String>,
    /// Names of macros that are code, sorted; the description has none.
    pub undescribed_macros: Vec<String>,
    /// The newest header of each name that is not described; a struct's behind `struct `.
    pub headers: BTreeMap<String, Arc<str>>,
    /// Releases and architectures of the manifest that the facts lack, for people.
    pub unmeasured: Vec<String>,
    /// Releases and architectures of the facts that the manifest lacks, for people.
    pub unlisted: Vec<String>,
}

/// Compares the description with the facts, wherever both have the release and the architecture.
#[must_use]
pub fn run(document: &Document, facts: &Facts) -> Report {
    let layouts = Layouts::new(document);
    let cells = Cells::new(&document.manifest, &facts.grid);
    let mut findings = Findings::default();
    let claims = constants::collect(document);
    constants::compare(&claims.constants, facts, &cells, &mut findings);
    structs::compare(document, &layouts, facts, &cells, &mut findings);
    constants::compare_aliases(document, &layouts, facts, &cells, &mut findings);
    let strings = strings::collect(document);
    strings::compare(&strings, facts, &cells, &mut findings);
    places::compare(document, &claims, &strings, facts, &cells, &mut findings);
    let constants = facts.constants.keys();
    let undescribed_constants: Vec<String> =
        constants.filter(|name| !claims.constants.contains_key(name.as_str())).cloned().collect();
    let undescribed_structs = structs::undescribed(document, facts);
    let texts = facts.texts.iter().filter(|(name, _)| {
        !strings.contains_key(name.as_str()) && !facts.constants.contains_key(*name)
    });
    let (undescribed_strings, undescribed_macros) =
        texts.partition::<Vec<_>, _>(|(_, column)| is_string(column));
    let names =
        |texts: Vec<(&String, _)>| texts.into_iter().map(|(name, _)| name.clone()).collect();
    let (undescribed_strings, undescribed_macros): (Vec<String>, Vec<String>) =
        (names(undescribed_strings), names(undescribed_macros));
    let named = [&undescribed_constants, &undescribed_strings, &undescribed_macros];
    Report {
        headers: places::newest(facts, named.into_iter().flatten(), &undescribed_structs),
        undescribed_constants,
        undescribed_structs,
        undescribed_strings,
        undescribed_macros,
        types: document.files.iter().map(|file| file.types.len()).sum(),
        unmeasured: cells.unmeasured(),
        unlisted: cells.unlisted(),
        unchecked: [claims.unnamed, std::mem::take(&mut findings.unnamed)].concat(),
        comparisons: findings.comparisons,
        mismatches: findings.finish(&facts.grid),
    }
}

/// Whether a macro is a string in some release on some architecture.
fn is_string(column: &Column<Text>) -> bool {
    column.cells().any(|cell| matches!(column.get(cell), Some(Text::String(_))))
}

/// How many comparisons were made, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// Values of constants and strings, described and measured.
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

impl Comparisons {
    /// Returns all of them.
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
    pub(super) comparisons: Comparisons,
    /// Described items for which the headers have no name.
    pub(super) unnamed: Vec<Place>,
    found: BTreeMap<(Place, String, String), Vec<Cell>>,
}

impl Findings {
    /// Notes that something is wrong in a cell.
    pub(super) fn add(&mut self, place: &Place, message: String, label: String, cell: Cell) {
        self.found.entry((place.clone(), message, label)).or_default().push(cell);
    }

    /// Returns everything that is wrong, with the cells as text.
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

/// Returns the closing lines: how much was compared, what was not, and how it ended.
#[must_use]
pub fn summary(report: &Report, cells: usize) -> String {
    let made = &report.comparisons;
    let mut text = format!(
        "{} comparisons over {cells} releases and architectures: {} constants, {} struct sizes, {} \
         members, {} named paddings, {} absences\n",
        made.total(),
        made.constants,
        made.sizes,
        made.members,
        made.padding,
        made.absences
    );
    let _ = writeln!(
        text,
        "{} described items have no name in C and were not compared",
        report.unchecked.len()
    );
    let _ = writeln!(
        text,
        "{} described types were compared only where they are structs in C, or members of one",
        report.types
    );
    let _ = writeln!(
        text,
        "{} constants, {} structs, {} strings and {} macros of the headers are not described",
        report.undescribed_constants.len(),
        report.undescribed_structs.len(),
        report.undescribed_strings.len(),
        report.undescribed_macros.len()
    );
    let _ = write!(
        text,
        "{}",
        match report.mismatches.len() {
            0 => "no mismatches".to_owned(),
            1 => "1 mismatch".to_owned(),
            many => format!("{many} mismatches"),
        }
    );
    text
}

/// What is left out, by reason: the names too, or only how many.
#[must_use]
pub fn undescribed(judged: &Undescribed, names: bool) -> String {
    let mut text = String::new();
    for (why, excused) in &judged.excused {
        let _ = writeln!(text, "{:5}  {why}", excused.len());
        if names {
            text.push_str(&list(excused));
        }
    }
    if !judged.unexcused.is_empty() {
        let _ = writeln!(text, "{:5}  left out without a reason:", judged.unexcused.len());
        text.push_str(&list(&judged.unexcused));
    }
    text
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("         {name}\n")).collect()
}
