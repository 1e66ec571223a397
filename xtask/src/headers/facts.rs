//! The measured facts: the tables of single releases and architectures, and all of them together as
//! the history of each value.

use super::FactsError;
use crate::document::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the headers of one release hold on one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The release.
    pub release: Release,
    /// `__XEN_LATEST_INTERFACE_VERSION__`, with which the headers were compiled.
    pub interface_version: u32,
    /// Rust's name of the architecture.
    pub arch: String,
    /// Structs by their C tag (or, without a tag, by the name of their typedef).
    pub structs: BTreeMap<String, StructTable>,
    /// Enumerators, and macros that are integer constants.
    pub constants: BTreeMap<String, i128>,
    /// The other macros that have a body.
    pub texts: BTreeMap<String, Text>,
    /// The header of each name, relative to the tree; a struct's behind `struct `.
    pub places: BTreeMap<String, Arc<str>>,
}

/// A macro that is not an integer constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// A string literal: its contents, as C spells them.
    String(Arc<str>),
    /// Anything else: its parameters, if it has any, and a sum over its body.
    Macro {
        /// The parameters, separated by commas.
        parameters: Option<Arc<str>>,
        /// Equal for equal bodies, white space apart.
        sum: u64,
    },
}

/// A struct as a C compiler lays it out.
#[derive(Clone, Debug, Default)]
pub struct StructTable {
    /// Bytes.
    pub size: u64,
    /// Members by path (`u.interdomain.port`), in C's order. Members of anonymous unions and
    /// structs stand where those stand; the elements of arrays are not listed.
    pub members: Vec<(String, Extent)>,
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Bytes from the start of the outermost struct.
    pub offset: u64,
    /// Bytes. A bit field has those of its declared type.
    pub size: u64,
}

impl std::fmt::Display for Text {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(text) => write!(out, "\"{text}\""),
            Self::Macro { parameters: Some(parameters), sum } => {
                write!(out, "({parameters}) #{sum:016x}")
            }
            Self::Macro { parameters: None, sum } => write!(out, "#{sum:016x}"),
        }
    }
}

/// The order of members does not count: it is for readers only.
impl PartialEq for StructTable {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |table: &Self| {
            table
                .members
                .iter()
                .map(|(path, extent)| (path.clone(), (extent.offset, extent.size)))
                .collect::<BTreeMap<_, _>>()
        };
        self.size == other.size && sorted(self) == sorted(other)
    }
}

impl Eq for StructTable {}

impl std::fmt::Display for Extent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}+{}", self.offset, self.size)
    }
}

/// The releases and architectures that were measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// Oldest first, each with its `__XEN_LATEST_INTERFACE_VERSION__`.
    pub releases: Vec<(Release, u32)>,
    /// The architectures' names, sorted.
    pub archs: Vec<String>,
    /// For each cell, whether it was measured.
    pub measured: Vec<bool>,
}

/// The place of a release and an architecture in a [`Grid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell(pub usize);

impl Grid {
    /// Returns the cell of a release and an architecture, both by their place in the grid.
    #[must_use]
    pub fn cell(&self, release: usize, arch: usize) -> Cell {
        Cell(release * self.archs.len() + arch)
    }

    /// Returns the place of the cell's release and of its architecture in the grid.
    #[must_use]
    pub fn split(&self, cell: Cell) -> (usize, usize) {
        (cell.0 / self.archs.len(), cell.0 % self.archs.len())
    }

    /// Returns the cell of that release and architecture, if it was measured.
    #[must_use]
    pub fn find(&self, release: Release, arch: &str) -> Option<Cell> {
        let release = self.releases.iter().position(|(known, _)| *known == release)?;
        let arch = self.archs.iter().position(|known| known == arch)?;
        Some(self.cell(release, arch)).filter(|cell| self.measured[cell.0])
    }

    /// Returns every measured cell, by release and then by architecture.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        (0..self.measured.len()).map(Cell).filter(|cell| self.measured[cell.0])
    }

    /// Returns the number of cells, measured or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.releases.len() * self.archs.len()
    }

    /// Returns the release and the architecture of a cell, for people.
    #[must_use]
    pub fn name(&self, cell: Cell) -> String {
        let (release, arch) = self.split(cell);
        format!("Xen {} on {}", self.releases[release].0, self.archs[arch])
    }
}

/// A value for each cell in which something exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column<T>(Vec<Option<T>>);

impl<T: Clone + PartialEq> Column<T> {
    /// Creates a column that holds nothing yet.
    #[must_use]
    pub fn empty(grid: &Grid) -> Self {
        Self(vec![None; grid.size()])
    }

    /// Returns the value in a cell.
    #[must_use]
    pub fn get(&self, cell: Cell) -> Option<T> {
        self.0.get(cell.0).cloned().flatten()
    }

    /// Puts a value into a cell of the grid, and says what was there.
    pub fn set(&mut self, cell: Cell, value: T) -> Option<T> {
        self.0[cell.0].replace(value)
    }

    /// Returns the cells that hold something.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.0.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(index, _)| Cell(index))
    }

    /// Returns each distinct value, in order of its first cell, with its cells.
    #[must_use]
    pub fn values(&self) -> Vec<(T, Vec<Cell>)> {
        let mut values: Vec<(T, Vec<Cell>)> = Vec::new();
        for (index, value) in self.0.iter().enumerate() {
            let Some(value) = value else { continue };
            match values.iter_mut().find(|(known, _)| known == value) {
                Some((_, cells)) => cells.push(Cell(index)),
                None => values.push((value.clone(), vec![Cell(index)])),
            }
        }
        values
    }
}

/// Every measured value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What was measured.
    pub grid: Grid,
    /// Constants by name.
    pub constants: BTreeMap<String, Column<i128>>,
    /// Structs by name.
    pub structs: BTreeMap<String, StructFacts>,
    /// The other macros by name.
    pub texts: BTreeMap<String, Column<Text>>,
    /// The header of each name; a struct's behind `struct `.
    pub places: BTreeMap<String, Column<Arc<str>>>,
}

/// The history of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructFacts {
    /// Its size in bytes, wherever it exists.
    pub size: Column<u64>,
    /// Its members by path, in C's order as far as the tables agree on one.
    pub members: Vec<(String, Column<Extent>)>,
}

impl StructFacts {
    /// Returns the history of a member.
    #[must_use]
    pub fn member(&self, path: &str) -> Option<&Column<Extent>> {
        self.members.iter().find(|(known, _)| known == path).map(|(_, column)| column)
    }
}

impl Facts {
    /// Puts tables together.
    ///
    /// # Errors
    /// Two tables for one release and architecture, or two interface versions in one release.
    pub fn from_tables(tables: &[Table]) -> Result<Self, FactsError> {
        let grid = grid_of(tables)?;
        let mut facts = Self { grid, ..Self::default() };
        for table in tables {
            // The grid was made of these tables, so each has its cell.
            let Some(cell) = facts.grid.find(table.release, &table.arch) else { continue };
            fill(&mut facts.constants, &facts.grid, cell, &table.constants);
            fill(&mut facts.texts, &facts.grid, cell, &table.texts);
            fill(&mut facts.places, &facts.grid, cell, &table.places);
        }
        let names: BTreeSet<&String> =
            tables.iter().flat_map(|table| table.structs.keys()).collect();
        for name in names {
            let measured: Vec<(Cell, &StructTable)> = tables
                .iter()
                .filter_map(|table| {
                    Some((facts.grid.find(table.release, &table.arch)?, table.structs.get(name)?))
                })
                .collect();
            facts.structs.insert(name.clone(), struct_of(&facts.grid, &measured));
        }
        Ok(facts)
    }

    /// Returns the facts of one release, as if no other had been measured.
    #[must_use]
    pub fn of_release(&self, release: Release) -> Self {
        let archs = self.grid.archs.iter();
        let cells = archs.filter_map(|arch| self.grid.find(release, arch));
        let tables: Vec<Table> = cells.map(|cell| self.table(cell)).collect();
        // Tables of one grid never contradict one another.
        Self::from_tables(&tables).unwrap_or_default()
    }

    /// Takes the tables apart again.
    #[must_use]
    pub fn tables(&self) -> Vec<Table> {
        self.grid.cells().map(|cell| self.table(cell)).collect()
    }

    /// Returns the table of a cell.
    #[must_use]
    pub fn table(&self, cell: Cell) -> Table {
        let (release, arch) = self.grid.split(cell);
        let (release, interface_version) = self.grid.releases[release];
        let structs = self
            .structs
            .iter()
            .filter_map(|(name, facts)| Some((name.clone(), facts.table(cell)?)))
            .collect();
        Table {
            release,
            interface_version,
            arch: self.grid.archs[arch].clone(),
            structs,
            constants: values(&self.constants, cell),
            texts: values(&self.texts, cell),
            places: values(&self.places, cell),
        }
    }
}

impl StructFacts {
    fn table(&self, cell: Cell) -> Option<StructTable> {
        let members = self
            .members
            .iter()
            .filter_map(|(path, column)| Some((path.clone(), column.get(cell)?)))
            .collect();
        Some(StructTable { size: self.size.get(cell)?, members })
    }
}

/// Puts the values of a cell into their columns.
fn fill<T: Clone + PartialEq>(
    columns: &mut BTreeMap<String, Column<T>>,
    grid: &Grid,
    cell: Cell,
    values: &BTreeMap<String, T>,
) {
    for (name, value) in values {
        let column = columns.entry(name.clone()).or_insert_with(|| Column::empty(grid));
        column.set(cell, value.clone());
    }
}

/// Returns the values of a cell.
fn values<T: Clone + PartialEq>(
    columns: &BTreeMap<String, Column<T>>,
    cell: Cell,
) -> BTreeMap<String, T> {
    let there = columns.iter().filter_map(|(name, column)| Some((name.clone(), column.get(cell)?)));
    there.collect()
}

fn grid_of(tables: &[Table]) -> Result<Grid, FactsError> {
    let mut releases = BTreeMap::new();
    for table in tables {
        let known = *releases.entry(table.release).or_insert(table.interface_version);
        if known != table.interface_version {
            let why = format!(
                "Xen {}: interface version {known:#010x} and {:#010x}",
                table.release, table.interface_version
            );
            return Err(FactsError::Tables(why));
        }
    }
    let archs: BTreeSet<&String> = tables.iter().map(|table| &table.arch).collect();
    let mut grid = Grid {
        releases: releases.into_iter().collect(),
        archs: archs.into_iter().cloned().collect(),
        measured: Vec::new(),
    };
    grid.measured = vec![false; grid.size()];
    for table in tables {
        let release = grid.releases.iter().position(|(known, _)| *known == table.release);
        let arch = grid.archs.iter().position(|known| *known == table.arch);
        let (Some(release), Some(arch)) = (release, arch) else { continue };
        let cell = grid.cell(release, arch);
        if std::mem::replace(&mut grid.measured[cell.0], true) {
            return Err(FactsError::Tables(format!("{} is given twice", grid.name(cell))));
        }
    }
    Ok(grid)
}

fn struct_of(grid: &Grid, measured: &[(Cell, &StructTable)]) -> StructFacts {
    let mut facts = StructFacts { size: Column::empty(grid), members: Vec::new() };
    let mut columns: BTreeMap<&str, Column<Extent>> = BTreeMap::new();
    for (cell, table) in measured {
        facts.size.set(*cell, table.size);
        for (path, extent) in &table.members {
            columns.entry(path).or_insert_with(|| Column::empty(grid)).set(*cell, *extent);
        }
    }
    let orders: Vec<Vec<&str>> = measured
        .iter()
        .map(|(_, table)| table.members.iter().map(|(path, _)| path.as_str()).collect())
        .collect();
    for path in merge(&orders) {
        if let Some(column) = columns.remove(path) {
            facts.members.push((path.to_owned(), column));
        }
    }
    facts
}

/// One order of all names in which each given order holds; where they contradict one another, the
/// earlier one wins.
fn merge<'a>(orders: &[Vec<&'a str>]) -> Vec<&'a str> {
    let mut merged: Vec<&str> = Vec::new();
    // The newest order is the backbone: names that only older ones have go right after their
    // predecessor there.
    for order in orders.iter().rev() {
        let mut after = 0;
        for name in order {
            match merged.iter().position(|known| known == name) {
                Some(place) => after = place + 1,
                None => {
                    merged.insert(after, name);
                    after += 1;
                }
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn old_members_stand_where_they_stood() {
        assert_eq!(
            merge(&[vec!["a", "pad1", "c"], vec!["a", "b", "c", "d"]]),
            ["a", "pad1", "b", "c", "d"]
        );
        assert_eq!(merge(&[vec!["x"], vec![], vec!["a"]]), ["x", "a"]);
    }
}
