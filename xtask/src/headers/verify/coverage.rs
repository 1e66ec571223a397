//! How much of the headers is described: by header, on one architecture, in the newest release of
//! the facts.

use super::undescribed::{Kind, Rules};
use super::{Report, constants, is_string, strings};
use crate::document::Document;
use crate::headers::facts::{Facts, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The reason under which stands what is for guests and still missing.
const MISSING: &str = "For guests, and not described yet.";

/// How many there are of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Described.
    pub described: usize,
    /// For guests: described, or missing.
    pub visible: usize,
    /// Left out with a reason.
    pub omitted: usize,
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Constants and numbers of commands.
    pub constants: Part,
    /// Structs.
    pub structs: Part,
    /// Members of structs.
    pub fields: Part,
    /// Strings.
    pub strings: Part,
    /// Macros that are code.
    pub macros: Part,
}

/// Returns the rows of one architecture by header; `None` if it was not measured in that release.
#[must_use]
pub fn coverage(
    document: &Document,
    facts: &Facts,
    rules: &Rules,
    report: &Report,
    arch: &str,
) -> Option<BTreeMap<String, Row>> {
    let (newest, _) = facts.grid.releases.last()?;
    let table = facts.table(facts.grid.find(*newest, arch)?);
    let claims = constants::collect(document);
    let strings = strings::collect(document);
    let left_out: BTreeSet<&String> = report.undescribed_structs.iter().collect();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for name in table.constants.keys() {
        let header = header(facts, &table, name);
        let described = claims.constants.contains_key(name.as_str());
        let missing = rules.why(Kind::Constants, name, &header).is_none_or(|why| why == MISSING);
        rows.entry(header).or_default().constants.add(described, missing, 1);
    }
    for (name, item) in &table.structs {
        let header = header(facts, &table, &format!("struct {name}"));
        let described = !left_out.contains(name);
        let missing = rules.why(Kind::Structs, name, &header).is_none_or(|why| why == MISSING);
        let row = rows.entry(header).or_default();
        row.structs.add(described, missing, 1);
        row.fields.add(described, missing, item.members.len());
    }
    for name in table.texts.keys() {
        let header = header(facts, &table, name);
        let is_string = facts.texts.get(name).is_some_and(is_string);
        let kind = if is_string { Kind::Strings } else { Kind::Macros };
        let described = strings.contains_key(name.as_str());
        let missing = rules.why(kind, name, &header).is_none_or(|why| why == MISSING);
        let row = rows.entry(header).or_default();
        let part = if is_string { &mut row.strings } else { &mut row.macros };
        part.add(described, missing, 1);
    }
    Some(rows)
}

/// Returns the header of a name; where it is not known on this architecture, the newest that is.
fn header(facts: &Facts, table: &Table, name: &str) -> String {
    let elsewhere = || facts.places.get(name).and_then(|column| column.get(column.cells().last()?));
    let header = table.places.get(name).cloned().or_else(elsewhere);
    header.map_or_else(|| "(no header)".to_owned(), |header| header.to_string())
}

impl Part {
    fn add(&mut self, described: bool, missing: bool, count: usize) {
        if described {
            self.described += count;
        }
        if described || missing {
            self.visible += count;
        } else {
            self.omitted += count;
        }
    }

    fn sum(&mut self, other: Self) {
        self.described += other.described;
        self.visible += other.visible;
        self.omitted += other.omitted;
    }
}

/// Returns the rows as a table, with a total.
#[must_use]
pub fn table(arch: &str, rows: &BTreeMap<String, Row>) -> String {
    let mut text = format!(
        "{arch:28} {:>12} {:>12} {:>12} {:>8} {:>8} {:>8}\n",
        "constants", "structs", "fields", "strings", "macros", "omitted"
    );
    let mut total = Row::default();
    for (header, row) in rows {
        line(&mut text, header, row);
        total.constants.sum(row.constants);
        total.structs.sum(row.structs);
        total.fields.sum(row.fields);
        total.strings.sum(row.strings);
        total.macros.sum(row.macros);
    }
    line(&mut text, "total", &total);
    text
}

fn line(text: &mut String, name: &str, row: &Row) {
    let of = |part: Part| match part.visible {
        0 => "-".to_owned(),
        visible => format!("{}/{visible}", part.described),
    };
    let omitted =
        row.constants.omitted + row.structs.omitted + row.strings.omitted + row.macros.omitted;
    let _ = writeln!(
        text,
        "{name:28} {:>12} {:>12} {:>12} {:>8} {:>8} {omitted:>8}",
        of(row.constants),
        of(row.structs),
        of(row.fields),
        of(row.strings),
        of(row.macros)
    );
}
