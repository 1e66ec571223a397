//! The kept form of the facts: files of lines, grouped by header, with every value that a constant,
//! a macro, a struct or a member ever had.
//!
//! ```text
//! [sched.h]
//! SHUTDOWN_MAX 4 @ 4.4-4.5 | 5 @ 4.6-
//! [event_channel.h]
//! evtchn_status 24
//!   dom 0+2
//! ```
//!
//! After `@` stands where the value holds ([`super::scope`]); without `@` it holds everywhere (a
//! member's: wherever the struct exists). A member's value is its offset and its size in bytes. A
//! name is below the header that has it last; `< xen.h @ 4.4-4.9` below the name says where it was
//! before. The last line of each file is `end`.

use super::facts::{Cell, Column, Extent, Facts, Grid, StructFacts, Text};
use super::{FactsError, scope};
use crate::document::Release;
use crate::replace::replace;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The files: the releases, each with its interface version and the architectures that were
/// measured; the constants; the other macros; the structs.
const FILES: [&str; 4] = ["releases.txt", "constants.txt", "macros.txt", "structs.txt"];

/// What the files begin with.
const HEADS: [&str; 4] = [
    "# release, __XEN_LATEST_INTERFACE_VERSION__, architectures",
    "# [header], then NAME value @ where | value @ where",
    "# [header], then NAME \"string\" or NAME (parameters) #sum-of-the-body @ where",
    "# [header], then struct size @ where, and each member: path offset+size @ where",
];

/// The last line of a file; without it, the file is cut off.
const END: &str = "end";

/// A value as text.
trait Form: Clone + PartialEq {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Form for i128 {
    fn write(&self) -> String {
        // Small numbers are counted, large ones are masks and addresses.
        if *self < 0x1000 { self.to_string() } else { format!("{self:#x}") }
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix("0x")
            .map_or_else(|| text.parse().ok(), |digits| Self::from_str_radix(digits, 16).ok())
    }
}

impl Form for u64 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Form for Extent {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (offset, size) = text.split_once('+')?;
        Some(Self { offset: offset.parse().ok()?, size: size.parse().ok()? })
    }
}

impl Form for Text {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('"') {
            return Some(Self::String(rest.strip_suffix('"')?.into()));
        }
        let (parameters, sum) = text.split_once('#')?;
        let parameters = match parameters.trim() {
            "" => None,
            some => Some(some.strip_prefix('(')?.strip_suffix(')')?.into()),
        };
        Some(Self::Macro { parameters, sum: u64::from_str_radix(sum, 16).ok()? })
    }
}

/// The path of a header.
impl Form for Arc<str> {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

/// Reads the facts of a folder.
///
/// # Errors
/// A file that cannot be read or is cut off, or a line that is not of its form.
pub fn load(folder: &Path) -> Result<Facts, FactsError> {
    let mut texts = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).map_err(|error| FactsError::Io { path, error })?;
        texts.push(text);
    }
    read(&texts)
}

/// Writes the facts into a folder; returns the names of the files that changed.
///
/// # Errors
/// A file that cannot be written.
pub fn save(facts: &Facts, folder: &Path) -> Result<Vec<&'static str>, FactsError> {
    let mut changed = Vec::new();
    fs::create_dir_all(folder)
        .map_err(|error| FactsError::Io { path: folder.to_owned(), error })?;
    for (name, text) in FILES.into_iter().zip(write(facts)) {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        replace(&path, text).map_err(|error| FactsError::Io { path, error })?;
        changed.push(name);
    }
    Ok(changed)
}

/// Returns the texts of the files.
fn write(facts: &Facts) -> [String; 4] {
    let grid = &facts.grid;
    let everywhere: Vec<Cell> = grid.cells().collect();
    let mut releases = Sections::default();
    for (index, (release, version)) in grid.releases.iter().enumerate() {
        let archs = grid.archs.iter().enumerate();
        let here = archs.filter(|(arch, _)| grid.measured[grid.cell(index, *arch).0]);
        let archs: Vec<&str> = here.map(|(_, arch)| arch.as_str()).collect();
        releases.add("", &format!("{release} {version:#010x} {}\n", archs.join(" ")));
    }
    let mut constants = Sections::default();
    for (name, column) in &facts.constants {
        constants.item(facts, name, name, &history(grid, column, &everywhere), "");
    }
    let mut macros = Sections::default();
    for (name, column) in &facts.texts {
        macros.item(facts, name, name, &history(grid, column, &everywhere), "");
    }
    let mut structs = Sections::default();
    for (name, item) in &facts.structs {
        let there: Vec<Cell> = item.size.cells().collect();
        let mut members = String::new();
        for (path, column) in &item.members {
            let _ = writeln!(members, "  {path} {}", history(grid, column, &there));
        }
        let size = history(grid, &item.size, &everywhere);
        structs.item(facts, &format!("struct {name}"), name, &size, &members);
    }
    let mut heads = HEADS.into_iter();
    [releases, constants, macros, structs]
        .map(|sections| sections.finish(heads.next().unwrap_or_default()))
}

/// The lines of a file by header.
#[derive(Default)]
struct Sections(BTreeMap<String, String>);

impl Sections {
    fn add(&mut self, header: &str, text: &str) {
        self.0.entry(header.to_owned()).or_default().push_str(text);
    }

    /// Adds an item below its last header; `key` is its name among the places.
    fn item(&mut self, facts: &Facts, key: &str, name: &str, history_: &str, below: &str) {
        let mut text = format!("{name} {history_}\n");
        let mut last = String::new();
        if let Some(column) = facts.places.get(key) {
            let newest = column.cells().last().and_then(|cell| column.get(cell));
            last = newest.as_deref().unwrap_or_default().to_owned();
            let mut moved = Column::empty(&facts.grid);
            for cell in column.cells() {
                if let Some(header) = column.get(cell).filter(|header| **header != *last) {
                    moved.set(cell, header);
                }
            }
            if moved.cells().next().is_some() {
                // Never everywhere, so that each part has its scope.
                let _ = writeln!(text, "  < {}", history(&facts.grid, &moved, &[]));
            }
        }
        text.push_str(below);
        self.add(&last, &text);
    }

    fn finish(self, head: &str) -> String {
        let mut text = format!("{head}\n");
        for (header, lines) in self.0 {
            if !header.is_empty() {
                let _ = writeln!(text, "[{header}]");
            }
            text.push_str(&lines);
        }
        text + END + "\n"
    }
}

fn history<T: Form>(grid: &Grid, column: &Column<T>, default: &[Cell]) -> String {
    let mut parts = Vec::new();
    for (value, cells) in column.values() {
        if cells == default {
            parts.push(value.write());
        } else {
            let scopes = scope::write(grid, &cells).into_iter();
            parts.extend(scopes.map(|scope| format!("{} @ {scope}", value.write())));
        }
    }
    parts.join(" | ")
}

/// Reads the texts of the files.
fn read(texts: &[String]) -> Result<Facts, FactsError> {
    let lines = |file: usize| lines(FILES[file], &texts[file]);
    let mut facts = Facts { grid: read_grid(&lines(0)?)?, ..Facts::default() };
    let everywhere: Vec<Cell> = facts.grid.cells().collect();
    for line in lines(1)? {
        line.item(&mut facts, "", |facts| {
            let column = line.column(&facts.grid, &everywhere)?;
            let there = column.cells().collect();
            Ok((facts.constants.insert(line.name.to_owned(), column).is_none(), there))
        })?;
    }
    for line in lines(2)? {
        line.item(&mut facts, "", |facts| {
            let column = line.column(&facts.grid, &everywhere)?;
            let there = column.cells().collect();
            Ok((facts.texts.insert(line.name.to_owned(), column).is_none(), there))
        })?;
    }
    for line in lines(3)? {
        line.item(&mut facts, "struct ", |facts| {
            let size = line.column(&facts.grid, &everywhere)?;
            let there: Vec<Cell> = size.cells().collect();
            let mut item = StructFacts { size, members: Vec::new() };
            let mut paths = BTreeSet::new();
            for member in line.below.iter().filter(|below| below.name != "<") {
                let column = member.column(&facts.grid, &there)?;
                if !paths.insert(member.name) {
                    return Err(member.wrong(format!("`{}` is given twice", member.name)));
                }
                if let Some(cell) = column.cells().find(|cell| item.size.get(*cell).is_none()) {
                    return Err(member.wrong(format!(
                        "`{}` exists in {}, where its struct does not",
                        member.name,
                        facts.grid.name(cell)
                    )));
                }
                item.members.push((member.name.to_owned(), column));
            }
            Ok((facts.structs.insert(line.name.to_owned(), item).is_none(), there))
        })?;
    }
    Ok(facts)
}

fn read_grid(lines: &[Line<'_>]) -> Result<Grid, FactsError> {
    let mut rows: Vec<(Release, u32, Vec<&str>)> = Vec::new();
    for line in lines {
        let release: Release = line
            .name
            .parse()
            .map_err(|()| line.wrong(format!("expected a release, found `{}`", line.name)))?;
        if rows.last().is_some_and(|(last, ..)| *last >= release) {
            let why = format!("expected a release after the one before, found {release}");
            return Err(line.wrong(why));
        }
        let mut words = line.rest.split_whitespace();
        let version =
            words.next().and_then(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let version = version.ok_or_else(|| {
            line.wrong(format!("expected an interface version, found `{}`", line.rest))
        })?;
        rows.push((release, version, words.collect()));
    }
    let archs: BTreeSet<&str> = rows.iter().flat_map(|(.., archs)| archs).copied().collect();
    let measured =
        rows.iter().flat_map(|(.., here)| archs.iter().map(|arch| here.contains(arch))).collect();
    Ok(Grid {
        releases: rows.iter().map(|(release, version, _)| (*release, *version)).collect(),
        archs: archs.into_iter().map(str::to_owned).collect(),
        measured,
    })
}

/// A line with something on it, and the indented lines below.
struct Line<'a> {
    file: &'static str,
    number: usize,
    header: &'a str,
    name: &'a str,
    rest: &'a str,
    below: Vec<Line<'a>>,
}

/// Returns the lines of a file, which must be whole.
fn lines<'a>(file: &'static str, text: &'a str) -> Result<Vec<Line<'a>>, FactsError> {
    let error = |line, why| FactsError::Text { file: file.to_owned(), line, why };
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut header = "";
    let mut ended = false;
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        if ended {
            return Err(error(number, format!("expected nothing after `{END}`, found `{text}`")));
        }
        if let Some(name) = text.strip_prefix('[') {
            header = name.strip_suffix(']').unwrap_or(name);
        } else if text == END {
            ended = true;
        } else if !text.trim().is_empty() && !text.starts_with('#') {
            let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            let line = Line { file, number, header, name, rest, below: Vec::new() };
            match lines.last_mut() {
                Some(last) if text.starts_with(' ') => last.below.push(line),
                None if text.starts_with(' ') => {
                    return Err(error(number, format!("expected an item before `{name}`")));
                }
                _ => lines.push(line),
            }
        }
    }
    if ended {
        return Ok(lines);
    }
    let why = format!("expected a last line `{END}`, found the end of the file: it is cut off");
    Err(error(text.lines().count(), why))
}

impl Line<'_> {
    fn wrong(&self, why: String) -> FactsError {
        FactsError::Text { file: self.file.to_owned(), line: self.number, why }
    }

    /// Adds an item by `add`, which says whether it is new and where it exists; and its headers.
    fn item(
        &self,
        facts: &mut Facts,
        kind: &str,
        add: impl FnOnce(&mut Facts) -> Result<(bool, Vec<Cell>), FactsError>,
    ) -> Result<(), FactsError> {
        let (is_new, there) = add(facts)?;
        if !is_new {
            return Err(self.wrong(format!("`{}` is given twice", self.name)));
        }
        let mut headers = match self.below.iter().find(|below| below.name == "<") {
            Some(moved) => moved.column(&facts.grid, &[])?,
            None => Column::empty(&facts.grid),
        };
        if !self.header.is_empty() {
            let last: Arc<str> = self.header.into();
            for cell in there {
                if headers.get(cell).is_none() {
                    headers.set(cell, Arc::clone(&last));
                }
            }
            // A name can be a constant in some releases and another macro in others.
            let known = facts.places.entry(format!("{kind}{}", self.name));
            let known = known.or_insert_with(|| Column::empty(&facts.grid));
            for cell in headers.cells() {
                if let Some(header) = headers.get(cell) {
                    known.set(cell, header);
                }
            }
        }
        Ok(())
    }

    fn column<T: Form>(&self, grid: &Grid, default: &[Cell]) -> Result<Column<T>, FactsError> {
        let mut column = Column::empty(grid);
        for part in outside(self.rest, '|') {
            let mut words = outside(part, '@');
            let value = words.next().unwrap_or_default().trim();
            let cells = match words.next() {
                Some(scope) => scope::read(grid, scope).map_err(|why| self.wrong(why))?,
                None => default.to_vec(),
            };
            let value = T::read(value)
                .ok_or_else(|| self.wrong(format!("expected a value, found `{value}`")))?;
            for cell in cells {
                if !grid.measured[cell.0] {
                    return Err(self.wrong(format!("{} was not measured", grid.name(cell))));
                }
                if column.set(cell, value.clone()).is_some() {
                    return Err(self.wrong(format!("two values in {}", grid.name(cell))));
                }
            }
        }
        Ok(column)
    }
}

/// Returns the parts of a text between separators, those in string literals apart.
fn outside(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter| {
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> [String; 4] {
        let releases = "4.4 0x00040400 x86 x86_64\n4.5 0x00040500 x86 x86_64\nend\n";
        let constants = "[a.h]\nA 1\n  < b.h @ 4.4-4.4\nB 4096 @ x86 4.4-4.4 | -2 @ 4.5-\nend\n";
        let macros = "[a.h]\nB #00000000000000ff @ x86_64 4.4-4.4\n\
                      M (x,y) #00000000000000ff @ 4.5-\nS \"a|b @ \\\"\"\nend\n";
        let structs = "[a.h]\ns 4 @ 4.5-\n  u.x 0+4\n  y 0+2 @ x86 4.5-\nend\n";
        [releases, constants, macros, structs].map(str::to_owned)
    }

    #[test]
    fn every_kind_of_line_survives() {
        let facts = read(&texts()).unwrap();
        let cell = |release: usize, arch: usize| facts.grid.cell(release, arch);
        assert_eq!(facts.places["A"].get(cell(0, 0)).as_deref(), Some("b.h"));
        assert_eq!(facts.places["A"].get(cell(1, 0)).as_deref(), Some("a.h"));
        assert_eq!(facts.constants["B"].get(cell(0, 0)), Some(4096));
        assert_eq!(facts.constants["B"].get(cell(0, 1)), None);
        // The name is another macro there.
        for cell in facts.grid.cells() {
            assert_eq!(facts.places["B"].get(cell).as_deref(), Some("a.h"));
        }
        let text = facts.texts["S"].get(cell(0, 0));
        assert_eq!(text, Some(Text::String("a|b @ \\\"".into())));
        let written = write(&facts);
        assert_eq!(read(&written).unwrap(), facts);
        let plain = |text: &String| text.replace("0x1000", "4096");
        for (text, written) in texts().iter().zip(&written) {
            assert_eq!(*text, plain(&written.split_once('\n').unwrap().1.to_owned()));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (file, from, to, expected) in [
            (1, "end\n", "", "constants.txt:4: expected a last line `end`"),
            (1, "A 1", "A x", "constants.txt:2: expected a value, found `x`"),
            (1, "B 4096", "A 4096", "constants.txt:4: `A` is given twice"),
            (1, "4.5-\n", "4.9-\n", "constants.txt:4: `4.9` is no measured release"),
            (1, "[a.h]\n", "  x 1\n", "constants.txt:1: expected an item before `x`"),
            (3, "  y", "  u.x", "structs.txt:4: `u.x` is given twice"),
            (3, "x86 4.5-", "x86", "structs.txt:4: `y` exists in Xen 4.4 on x86, where"),
            (0, "4.5 ", "4.4 ", "releases.txt:2: expected a release after the one before"),
            (0, " 0x00040500", "", "releases.txt:2: expected an interface version"),
        ] {
            let mut texts = texts();
            assert!(texts[file].contains(from), "{from}");
            texts[file] = texts[file].replacen(from, to, 1);
            let error = read(&texts).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
