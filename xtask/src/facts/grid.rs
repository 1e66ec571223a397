//! The releases and architectures that were measured, and values that have one cell for each of
//! them.

use crate::document::Release;

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
    /// The cell of a release and an architecture, both by their place in the grid.
    #[must_use]
    pub fn cell(&self, release: usize, arch: usize) -> Cell {
        Cell(release * self.archs.len() + arch)
    }

    /// The place of the cell's release and of its architecture in the grid.
    #[must_use]
    pub fn split(&self, cell: Cell) -> (usize, usize) {
        (cell.0 / self.archs.len(), cell.0 % self.archs.len())
    }

    /// The cell of that release and architecture, if it was measured.
    #[must_use]
    pub fn find(&self, release: Release, arch: &str) -> Option<Cell> {
        let release = self.releases.iter().position(|(known, _)| *known == release)?;
        let arch = self.archs.iter().position(|known| known == arch)?;
        Some(self.cell(release, arch)).filter(|cell| self.measured[cell.0])
    }

    /// Every measured cell, by release and then by architecture.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        (0..self.measured.len()).map(Cell).filter(|cell| self.measured[cell.0])
    }

    /// How many cells there are, measured or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.releases.len() * self.archs.len()
    }

    /// The release and the architecture of a cell, for people.
    #[must_use]
    pub fn name(&self, cell: Cell) -> String {
        let (release, arch) = self.split(cell);
        format!("Xen {} on {}", self.releases[release].0, self.archs[arch])
    }
}

/// A value for each cell in which something exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column<T>(Vec<Option<T>>);

impl<T: Copy + PartialEq> Column<T> {
    /// A column that holds nothing yet.
    #[must_use]
    pub fn empty(grid: &Grid) -> Self {
        Self(vec![None; grid.size()])
    }

    /// The value in a cell.
    #[must_use]
    pub fn get(&self, cell: Cell) -> Option<T> {
        self.0.get(cell.0).copied().flatten()
    }

    /// Puts a value into a cell of the grid, and says what was there.
    pub fn set(&mut self, cell: Cell, value: T) -> Option<T> {
        self.0[cell.0].replace(value)
    }

    /// The cells that hold something.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.0.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(index, _)| Cell(index))
    }

    /// Each distinct value, in order of its first cell, with its cells.
    #[must_use]
    pub fn values(&self) -> Vec<(T, Vec<Cell>)> {
        let mut values: Vec<(T, Vec<Cell>)> = Vec::new();
        for (index, value) in self.0.iter().enumerate() {
            let Some(value) = *value else { continue };
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, cells)) => cells.push(Cell(index)),
                None => values.push((value, vec![Cell(index)])),
            }
        }
        values
    }
}
