//! Writes and reads sets of cells as text: `x86 4.6-4.9 4.12-` is 32-bit x86 from 4.6 to 4.9 and
//! from 4.12 on. A cell is one release on one architecture.
//!
//! Architectures come first. Without one, the text means all architectures; without a range, all
//! releases. A range without an end lasts to the newest release, so a new release without changes
//! changes no line.

use super::facts::{Cell, Grid};
use crate::document::Release;
use std::fmt::Write as _;

/// Returns the parts of a set of cells, each a set of architectures with the same releases, as
/// text.
#[must_use]
pub fn write(grid: &Grid, cells: &[Cell]) -> Vec<String> {
    let mut parts: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for arch in 0..grid.archs.len() {
        let releases: Vec<usize> = cells
            .iter()
            .map(|cell| grid.split(*cell))
            .filter(|(_, of)| *of == arch)
            .map(|(release, _)| release)
            .collect();
        if releases.is_empty() {
            continue;
        }
        match parts.iter_mut().find(|(_, known)| *known == releases) {
            Some((archs, _)) => archs.push(arch),
            None => parts.push((vec![arch], releases)),
        }
    }
    parts.iter().map(|(archs, releases)| part(grid, archs, releases)).collect()
}

fn part(grid: &Grid, archs: &[usize], releases: &[usize]) -> String {
    let mut words: Vec<String> = Vec::new();
    if archs.len() < grid.archs.len() {
        words.extend(archs.iter().map(|arch| grid.archs[*arch].clone()));
    }
    if releases.len() < grid.releases.len() {
        words.extend(runs(releases).into_iter().map(|(first, last)| range(grid, first, last)));
    }
    words.join(" ")
}

fn range(grid: &Grid, first: usize, last: usize) -> String {
    let mut text = format!("{}-", grid.releases[first].0);
    if last + 1 < grid.releases.len() {
        let _ = write!(text, "{}", grid.releases[last].0);
    }
    text
}

/// Runs of consecutive numbers, as first and last.
fn runs(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}

/// Describes a set of cells in words: `Xen 4.6 and later on x86_64 and aarch64`.
#[must_use]
pub fn describe(grid: &Grid, cells: &[Cell]) -> String {
    let parts: Vec<String> =
        write(grid, cells).iter().map(|part| describe_part(grid, part)).collect();
    parts.join("; ")
}

fn describe_part(grid: &Grid, part: &str) -> String {
    let (ranges, archs): (Vec<&str>, Vec<&str>) =
        part.split_whitespace().partition(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let releases = if let [(only, _)] = grid.releases.as_slice() {
        format!("Xen {only}")
    } else if ranges.is_empty() {
        "every release".to_owned()
    } else {
        let ranges: Vec<String> = ranges.iter().map(|range| describe_range(grid, range)).collect();
        format!("Xen {}", list(&ranges))
    };
    if archs.is_empty() { releases } else { format!("{releases} on {}", list(&archs)) }
}

fn describe_range(grid: &Grid, range: &str) -> String {
    let newest = grid.releases.last().map(|(release, _)| release.to_string());
    match range.split_once('-') {
        Some((first, "")) if Some(first) == newest.as_deref() => first.to_owned(),
        Some((first, "")) => format!("{first} and later"),
        Some((first, last)) if first == last => first.to_owned(),
        Some((first, last)) => format!("{first} to {last}"),
        None => range.to_owned(),
    }
}

/// Returns a list in words: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// Reads one part. Returns its cells, measured or not.
///
/// # Errors
/// The word that is neither an architecture nor a range of the grid's releases.
pub fn read(grid: &Grid, part: &str) -> Result<Vec<Cell>, String> {
    let mut archs = Vec::new();
    let mut releases = Vec::new();
    for word in part.split_whitespace() {
        if let Some((first, last)) = word.split_once('-') {
            let first = release(grid, first)?;
            let last = if last.is_empty() { grid.releases.len() - 1 } else { release(grid, last)? };
            if last < first {
                return Err(format!("`{word}` ends before it begins"));
            }
            releases.extend(first..=last);
        } else {
            let arch = grid
                .archs
                .iter()
                .position(|arch| arch == word)
                .ok_or_else(|| format!("`{word}` is no architecture"))?;
            archs.push(arch);
        }
    }
    if archs.is_empty() {
        archs.extend(0..grid.archs.len());
    }
    if releases.is_empty() {
        releases.extend(0..grid.releases.len());
    }
    let mut cells: Vec<Cell> = releases
        .iter()
        .flat_map(|release| archs.iter().map(|arch| grid.cell(*release, *arch)))
        .collect();
    cells.sort_unstable();
    Ok(cells)
}

fn release(grid: &Grid, text: &str) -> Result<usize, String> {
    let wanted: Option<Release> = text.parse().ok();
    grid.releases
        .iter()
        .position(|(known, _)| Some(*known) == wanted)
        .ok_or_else(|| format!("`{text}` is no measured release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let releases = (4..10).map(|minor| (Release { major: 4, minor }, 0)).collect();
        Grid {
            releases,
            archs: vec!["aarch64".to_owned(), "x86".to_owned()],
            measured: vec![true; 12],
        }
    }

    #[test]
    fn what_is_written_is_read_back_for_every_set_of_cells() {
        let grid = grid();
        for set in 1_u32..1 << grid.size() {
            let cells: Vec<Cell> =
                (0..grid.size()).filter(|index| set & (1 << index) != 0).map(Cell).collect();
            let mut back: Vec<Cell> = write(&grid, &cells)
                .iter()
                .flat_map(|part| read(&grid, part).expect("written by us"))
                .collect();
            back.sort_unstable();
            assert_eq!(back, cells);
        }
    }

    #[test]
    fn a_range_that_lasts_has_no_end() {
        let grid = grid();
        let cells = read(&grid, "x86 4.6-").expect("valid");
        assert_eq!(cells.len(), 4);
        assert_eq!(write(&grid, &cells), ["x86 4.6-"]);
        assert_eq!(describe(&grid, &cells), "Xen 4.6 and later on x86");
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(read(&grid(), "riscv"), Err("`riscv` is no architecture".to_owned()));
        assert_eq!(read(&grid(), "4.3-"), Err("`4.3` is no measured release".to_owned()));
        assert_eq!(read(&grid(), "4.8-4.6"), Err("`4.8-4.6` ends before it begins".to_owned()));
    }
}
