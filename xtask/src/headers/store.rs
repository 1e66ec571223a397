//! The compact form: one line for each constant, struct and member, with every value it ever had.
//!
//! ```text
//! SHUTDOWN_MAX 4 @ 4.4-4.5 | 5 @ 4.6-
//! evtchn_status 24
//!   dom 0+2
//! ```
//!
//! After `@` stands where the value holds ([`super::scope`]); without `@` it holds everywhere (a
//! member's: wherever the struct exists). A member's value is its offset and its size in bytes.

use super::facts::{Cell, Column, Extent, Facts, Grid, StructFacts};
use super::{FactsError, scope};
use crate::document::Release;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The first file: the releases, each with its interface version and the architectures that were
/// measured.
pub const RELEASES: &str = "releases.txt";
/// The second file: the constants.
pub const CONSTANTS: &str = "constants.txt";
/// The third file: the structs.
pub const STRUCTS: &str = "structs.txt";

/// What a value looks like.
trait Text: Copy + PartialEq {
    fn write(self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Text for i128 {
    fn write(self) -> String {
        // Small numbers are counted, large ones are masks and addresses.
        if self < 0x1000 { self.to_string() } else { format!("{self:#x}") }
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix("0x")
            .map_or_else(|| text.parse().ok(), |digits| Self::from_str_radix(digits, 16).ok())
    }
}

impl Text for u64 {
    fn write(self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Text for Extent {
    fn write(self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (offset, size) = text.split_once('+')?;
        Some(Self { offset: offset.parse().ok()?, size: size.parse().ok()? })
    }
}

/// Writes the three files, in the order of their constants above.
#[must_use]
pub fn write(facts: &Facts) -> [(&'static str, String); 3] {
    let grid = &facts.grid;
    let everywhere: Vec<Cell> = grid.cells().collect();
    let mut releases = String::from("# release, __XEN_LATEST_INTERFACE_VERSION__, architectures\n");
    for (index, (release, version)) in grid.releases.iter().enumerate() {
        let _ = write!(releases, "{release} {version:#010x}");
        for (_, arch) in grid
            .archs
            .iter()
            .enumerate()
            .filter(|(arch, _)| grid.measured[grid.cell(index, *arch).0])
        {
            let _ = write!(releases, " {arch}");
        }
        releases.push('\n');
    }
    let mut constants = String::from("# NAME value @ where | value @ where\n");
    for (name, column) in &facts.constants {
        let _ = writeln!(constants, "{name} {}", history(grid, column, &everywhere));
    }
    let mut structs =
        String::from("# struct size @ where, then each member: path offset+size @ where\n");
    for (name, facts) in &facts.structs {
        let _ = writeln!(structs, "{name} {}", history(grid, &facts.size, &everywhere));
        let there: Vec<Cell> = facts.size.cells().collect();
        for (path, column) in &facts.members {
            let _ = writeln!(structs, "  {path} {}", history(grid, column, &there));
        }
    }
    [(RELEASES, releases), (CONSTANTS, constants), (STRUCTS, structs)]
}

fn history<T: Text>(grid: &Grid, column: &Column<T>, default: &[Cell]) -> String {
    let mut parts = Vec::new();
    for (value, cells) in column.values() {
        if cells == default {
            parts.push(value.write());
        } else {
            parts.extend(
                scope::write(grid, &cells)
                    .into_iter()
                    .map(|scope| format!("{} @ {scope}", value.write())),
            );
        }
    }
    parts.join(" | ")
}

/// Reads the three files, in the order of their constants above.
///
/// # Errors
/// The first line that is not of the form above.
pub fn read(releases: &str, constants: &str, structs: &str) -> Result<Facts, FactsError> {
    let mut facts = Facts { grid: read_grid(releases)?, ..Facts::default() };
    let everywhere: Vec<Cell> = facts.grid.cells().collect();
    for line in Lines::of(CONSTANTS, constants) {
        let column = line.column(&facts.grid, &everywhere)?;
        if facts.constants.insert(line.name.to_owned(), column).is_some() {
            return Err(line.wrong(format!("`{}` is given twice", line.name)));
        }
    }
    let mut current: Option<(String, StructFacts)> = None;
    for line in Lines::of(STRUCTS, structs) {
        if line.indented {
            let Some((_, open)) = &mut current else {
                return Err(line.wrong("a member without its struct".to_owned()));
            };
            let there: Vec<Cell> = open.size.cells().collect();
            let column = line.column(&facts.grid, &there)?;
            if open.member(line.name).is_some() {
                return Err(line.wrong(format!("`{}` is given twice", line.name)));
            }
            if let Some(cell) = column.cells().find(|cell| open.size.get(*cell).is_none()) {
                return Err(line.wrong(format!(
                    "`{}` exists in {}, where its struct does not",
                    line.name,
                    facts.grid.name(cell)
                )));
            }
            open.members.push((line.name.to_owned(), column));
        } else {
            let opened =
                StructFacts { size: line.column(&facts.grid, &everywhere)?, members: Vec::new() };
            if facts.structs.contains_key(line.name)
                || current.as_ref().is_some_and(|(name, _)| name == line.name)
            {
                return Err(line.wrong(format!("`{}` is given twice", line.name)));
            }
            facts.structs.extend(current.replace((line.name.to_owned(), opened)));
        }
    }
    facts.structs.extend(current);
    Ok(facts)
}

fn read_grid(text: &str) -> Result<Grid, FactsError> {
    let mut rows: Vec<(Release, u32, Vec<&str>)> = Vec::new();
    for line in Lines::of(RELEASES, text) {
        let release: Release =
            line.name.parse().map_err(|()| line.wrong(format!("`{}` is no release", line.name)))?;
        if rows.last().is_some_and(|(last, ..)| *last >= release) {
            return Err(line.wrong("the oldest release comes first, and each once".to_owned()));
        }
        let mut words = line.rest.split_whitespace();
        let version =
            words.next().and_then(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let version =
            version.ok_or_else(|| line.wrong("the interface version is missing".to_owned()))?;
        rows.push((release, version, words.collect()));
    }
    let mut archs: Vec<String> =
        rows.iter().flat_map(|(.., archs)| archs).map(|arch| (*arch).to_owned()).collect();
    archs.sort_unstable();
    archs.dedup();
    let measured = rows
        .iter()
        .flat_map(|(.., here)| archs.iter().map(|arch| here.contains(&arch.as_str())))
        .collect();
    Ok(Grid {
        releases: rows.iter().map(|(release, version, _)| (*release, *version)).collect(),
        archs,
        measured,
    })
}

/// A line with something on it.
struct Line<'a> {
    file: &'static str,
    number: usize,
    indented: bool,
    name: &'a str,
    rest: &'a str,
}

struct Lines;

impl Lines {
    fn of<'a>(file: &'static str, text: &'a str) -> impl Iterator<Item = Line<'a>> {
        let numbered = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        numbered.map(move |(index, line)| {
            let (name, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            Line { file, number: index + 1, indented: line.starts_with(' '), name, rest }
        })
    }
}

impl Line<'_> {
    fn wrong(&self, why: String) -> FactsError {
        FactsError::Text { file: self.file.to_owned(), line: self.number, why }
    }

    fn column<T: Text>(&self, grid: &Grid, default: &[Cell]) -> Result<Column<T>, FactsError> {
        let mut column = Column::empty(grid);
        for part in self.rest.split('|') {
            let (value, scope) =
                part.split_once('@').map_or((part, None), |(value, scope)| (value, Some(scope)));
            let value = T::read(value.trim())
                .ok_or_else(|| self.wrong(format!("`{}` is no value", value.trim())))?;
            let cells = match scope {
                Some(scope) => scope::read(grid, scope).map_err(|why| self.wrong(why))?,
                None => default.to_vec(),
            };
            for cell in cells {
                if !grid.measured[cell.0] {
                    return Err(self.wrong(format!("{} was not measured", grid.name(cell))));
                }
                if column.set(cell, value).is_some() {
                    return Err(self.wrong(format!("two values in {}", grid.name(cell))));
                }
            }
        }
        Ok(column)
    }
}

/// Reads the compact form.
///
/// # Errors
/// A file that cannot be read, or a line that is not of its form.
pub fn load(folder: &Path) -> Result<Facts, FactsError> {
    let file = |name: &str| read_file(&folder.join(name));
    read(&file(RELEASES)?, &file(CONSTANTS)?, &file(STRUCTS)?)
}

/// Writes the compact form, and says which files changed.
///
/// # Errors
/// A file that cannot be written.
pub fn save(facts: &Facts, folder: &Path) -> Result<Vec<&'static str>, FactsError> {
    let mut changed = Vec::new();
    fs::create_dir_all(folder)
        .map_err(|error| FactsError::Io { path: folder.to_owned(), error })?;
    for (name, text) in write(facts) {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&path, text).map_err(|error| FactsError::Io { path, error })?;
        changed.push(name);
    }
    Ok(changed)
}

fn read_file(path: &Path) -> Result<String, FactsError> {
    fs::read_to_string(path).map_err(|error| FactsError::Io { path: path.to_owned(), error })
}
