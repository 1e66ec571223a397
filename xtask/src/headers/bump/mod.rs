//! A new release in the description: what its headers changed, as edits of the YAML files.
//!
//! Mechanical answers are written: lost names end, other values begin, new constants join the group
//! with their prefix, new fields at the end of a struct are added, and so are new structs of a
//! header that is described. What a person must decide stands under the key `judge`, which `regen`
//! refuses with its place.

mod edit;
mod structs;
#[cfg(test)]
mod tests;

use super::facts::{Cell, Extent, Facts, Grid, StructFacts, Text};
use super::verify::{self, Rules};
use crate::document::{
    Document, Enumeration, File, Head, PerArch, Release, Struct, StructKind, Word,
};
use crate::yaml::{Place, Sources, Step};
use edit::{Editor, item};
use std::collections::{BTreeMap, BTreeSet};

/// What a bump would do.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The files that change, by name without ending, with their new text.
    pub texts: BTreeMap<String, String>,
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What is left to a person, a line each.
    pub left: Vec<String>,
}

/// Proposes the edits for a release whose tables are in `facts`, as the newest. Names that `rules`
/// omit are not added.
///
/// # Errors
/// The manifest's newest release is not older, or the facts lack the release.
pub fn propose(
    sources: &Sources,
    document: &Document,
    facts: &Facts,
    rules: &Rules,
    release: Release,
) -> Result<Proposal, String> {
    let newest = document.manifest.release(document.manifest.newest());
    if newest >= release {
        return Err(format!("expected a release after {newest}, found {release}"));
    }
    let last = facts.grid.releases.last().map(|(last, _)| *last);
    if last != Some(release) {
        return Err(format!("the facts end with another release than {release}"));
    }
    let editors = sources
        .files
        .iter()
        .filter_map(|file| Some((file.name.as_str(), Editor::new(&file.text)?)));
    let mut bump = Bump {
        document,
        facts,
        rules,
        editors: editors.collect(),
        since: format!("\"{release}\""),
        until: format!("\"{newest}\""),
        now: column(&facts.grid, release),
        before: column(&facts.grid, newest),
        proposal: Proposal::default(),
    };
    let manifest = bump.editors.get_mut("manifest").ok_or("there is no manifest")?;
    if !manifest.add_release(&release.to_string()) {
        return Err("the manifest has no list of releases".to_owned());
    }
    bump.proposal.done.push(format!("manifest: release {release}"));
    bump.constants();
    bump.strings();
    bump.structs();
    let structs = bump.new_structs();
    bump.additions(&structs);
    bump.new_strings();
    let Bump { editors, mut proposal, .. } = bump;
    for (name, editor) in editors {
        let text = editor.finish();
        if sources.find(name).is_some_and(|file| file.text != text) {
            proposal.texts.insert(name.to_owned(), text);
        }
    }
    Ok(proposal)
}

/// Returns the measured cells of a release.
fn column(grid: &Grid, release: Release) -> Vec<Cell> {
    grid.archs.iter().filter_map(|arch| grid.find(release, arch)).collect()
}

struct Bump<'d> {
    document: &'d Document,
    facts: &'d Facts,
    rules: &'d Rules,
    editors: BTreeMap<&'d str, Editor<'d>>,
    since: String,
    until: String,
    now: Vec<Cell>,
    before: Vec<Cell>,
    proposal: Proposal,
}

impl Bump<'_> {
    fn edit(&mut self, place: &Place, what: &str, edit: impl FnOnce(&mut Editor<'_>) -> bool) {
        let done = self.editors.get_mut(place.file.as_str()).is_some_and(edit);
        let line = format!("{}.yaml: {what}", place.file);
        if done { self.proposal.done.push(line) } else { self.proposal.left.push(line) }
    }

    /// Returns the value of a constant in the new release, if all architectures that had it agree.
    fn constant(&self, name: &str, cells: &[Cell]) -> Option<i128> {
        let column = self.facts.constants.get(name)?;
        let values: BTreeSet<i128> = cells.iter().filter_map(|cell| column.get(*cell)).collect();
        values.first().copied().filter(|_| values.len() == 1)
    }

    fn is_there(&self, name: &str, cells: &[Cell]) -> bool {
        let column = self.facts.constants.get(name);
        column.is_some_and(|column| cells.iter().any(|cell| column.get(*cell).is_some()))
    }

    /// Returns the architectures of the new release on which something is, as a list; `None` if it
    /// is on all.
    fn archs(&self, is_there: impl Fn(Cell) -> bool) -> Option<String> {
        let archs = self.facts.grid.archs.iter().zip(&self.now);
        let there: Vec<&str> =
            archs.filter(|(_, cell)| is_there(**cell)).map(|(arch, _)| arch.as_str()).collect();
        (there.len() < self.now.len()).then(|| format!("[{}]", there.join(", ")))
    }

    /// Returns the value of a constant in the new release, for each architecture that has it.
    fn values(&self, name: &str) -> Option<String> {
        let column = self.facts.constants.get(name)?;
        let archs = self.facts.grid.archs.iter().zip(&self.now);
        let each = archs.filter_map(|(arch, cell)| Some(format!("{arch}: {}", column.get(*cell)?)));
        Some(format!("{{ {} }}", each.collect::<Vec<_>>().join(", ")))
    }

    /// Ends the strings that the headers lost, and divides those with another text.
    fn strings(&mut self) {
        let newest = self.document.manifest.newest();
        for described in self.document.files.iter().flat_map(|file| &file.strings) {
            let head = &described.head;
            let Some(name) =
                head.c.as_ref().filter(|_| head.availability.releases.contains(newest))
            else {
                continue;
            };
            let Some(column) = self.facts.texts.get(name) else { continue };
            let of = |cells: &[Cell]| -> Vec<Option<Text>> {
                cells.iter().map(|cell| column.get(*cell)).collect()
            };
            let (now, before) = (of(&self.now), of(&self.before));
            if now == before {
                continue;
            }
            let place = item(&head.place);
            let texts: BTreeSet<&str> = now
                .iter()
                .flatten()
                .filter_map(|text| match text {
                    Text::String(text) => Some(&**text),
                    Text::Macro { .. } => None,
                })
                .collect();
            let (until, since) = (self.until.clone(), self.since.clone());
            match texts.first() {
                None => self.edit(&place, &format!("`{name}` is gone"), |editor| {
                    editor.add_key(&place, &format!("until: {until}"))
                }),
                Some(text) if texts.len() == 1 => {
                    let text = format!("\"{text}\"");
                    self.edit(&place, &format!("`{name}` has another text"), |editor| {
                        editor.divide(&place, &until, &since, ("value", &text))
                    });
                }
                Some(_) => {
                    let line = format!("{}.yaml: `{name}` has other texts", place.file);
                    self.proposal.left.push(line);
                }
            }
        }
    }

    /// Adds the strings that no earlier release has, of headers whose strings are described.
    fn new_strings(&mut self) {
        for (name, column) in &self.facts.texts {
            let first = self.now.iter().find_map(|cell| column.get(*cell));
            let Some(Text::String(text)) = first else { continue };
            let Some(header) = self.new_header(name, column.cells()) else { continue };
            let of_header = |file: &&File| {
                file.strings.first().is_some_and(|string| string.head.header == header)
            };
            let known = self.document.files.iter().find(of_header);
            let Some(place) = known.and_then(|file| file.strings.first()).map(|string| Place {
                steps: string.head.place.steps[..1].to_vec(),
                ..item(&string.head.place)
            }) else {
                continue;
            };
            let mut line = format!("{{ name: {name}, value: \"{text}\", since: {}", self.since);
            if let Some(archs) = self.archs(|cell| column.get(cell).is_some()) {
                line += &format!(", arch: {archs}");
            }
            let what = format!("`{name}` of {header} is new");
            self.edit(&place, &what, |editor| {
                editor.append(&place, &[format!("{line},"), "  judge: \"doc\" }".to_owned()])
            });
        }
    }

    /// Returns the header of a name that only the new release has.
    fn new_header(&self, name: &str, mut cells: impl Iterator<Item = Cell>) -> Option<String> {
        if cells.any(|cell| !self.now.contains(&cell)) {
            return None;
        }
        let places = self.facts.places.get(name)?;
        let header = self.now.iter().find_map(|cell| places.get(*cell))?;
        Some(header.to_string())
    }

    /// Described constants that the headers lost, or gave another value.
    fn constants(&mut self) {
        for (name, head, key) in verify::newest_claims(self.document) {
            if !self.is_there(name, &self.before) {
                continue;
            }
            let place = item(&head.place);
            if !self.is_there(name, &self.now) {
                let until = format!("until: {}", self.until);
                self.edit(&place, &format!("`{name}` is gone"), |editor| {
                    editor.add_key(&place, &until)
                });
                continue;
            }
            let changed = self.now.iter().zip(&self.before).any(|(now, before)| {
                let column = &self.facts.constants[name];
                column.get(*now) != column.get(*before)
            });
            if !changed {
                continue;
            }
            let what = format!("`{name}` has another value");
            let column = &self.facts.constants[name];
            let on = |cells: &[Cell]| -> Vec<bool> {
                cells.iter().map(|cell| column.get(*cell).is_some()).collect()
            };
            let same_archs = on(&self.now) == on(&self.before);
            let same_value = self.constant(name, &self.now) == self.constant(name, &self.before);
            let archs = self.archs(|cell| column.get(cell).is_some());
            let value = self.constant(name, &self.now);
            let change = match (same_archs, value, archs) {
                (true, Some(value), _) if matches!(key, "value" | "number") => {
                    Some((key, value.to_string()))
                }
                (true, None, _)
                    if head.place.steps.first() == Some(&Step::Key(CONSTANTS.to_owned())) =>
                {
                    self.values(name).map(|values| (key, values))
                }
                (false, Some(_), Some(archs)) if same_value => Some(("arch", archs)),
                _ => None,
            };
            match change {
                Some((key, value)) => {
                    let (until, since) = (self.until.clone(), self.since.clone());
                    self.edit(&place, &what, |editor| {
                        editor.divide(&place, &until, &since, (key, &value))
                    });
                }
                None => self.proposal.left.push(format!("{}.yaml: {what}", place.file)),
            }
        }
    }

    /// Described structs that the headers lost, or that have new fields at their end.
    fn structs(&mut self) {
        let structs = self.document.files.iter().flat_map(|file| &file.structs);
        let newest = self.document.manifest.newest();
        for described in structs.filter(|item| item.head.availability.releases.contains(newest)) {
            let Some(name) = &described.head.c else { continue };
            let Some(facts) = self.facts.structs.get(name) else { continue };
            let place = item(&described.head.place);
            if !self.now.iter().any(|cell| facts.size.get(*cell).is_some()) {
                let until = format!("until: {}", self.until);
                let what = format!("`struct {name}` is gone");
                self.edit(&place, &what, |editor| editor.add_key(&place, &until));
                continue;
            }
            self.fields(described, name, facts);
        }
    }

    fn fields(&mut self, described: &Struct, name: &str, facts: &StructFacts) {
        let pairs: Vec<(Cell, Cell)> =
            self.now.iter().copied().zip(self.before.iter().copied()).collect();
        let changed = |column: &super::facts::Column<Extent>| {
            pairs.iter().any(|(now, before)| column.get(*now) != column.get(*before))
        };
        let file = described.head.place.file.clone();
        for (path, column) in facts.members.iter().filter(|(_, column)| changed(column)) {
            let extents: BTreeSet<(u64, u64)> = pairs
                .iter()
                .filter_map(|(now, _)| column.get(*now))
                .map(|extent| (extent.offset, extent.size))
                .collect();
            let is_new = pairs.iter().all(|(_, before)| column.get(*before).is_none());
            let end = pairs.iter().filter_map(|(_, before)| last(facts, *before)).max();
            let fits = extents.iter().all(|(offset, _)| Some(*offset) >= end);
            let sizes: BTreeSet<u64> = extents.iter().map(|(_, size)| *size).collect();
            let what = format!("`{name}.{path}`");
            match structs::type_of(&sizes) {
                Some(type_) if is_new && fits && !path.contains('.') => {
                    let archs = self.archs(|cell| column.get(cell).is_some());
                    let archs = archs.map_or_else(String::new, |archs| format!(" arch: {archs},"));
                    let (use_, judge) = match described.kind {
                        StructKind::Block => ("access: plain, writer: xen", "type, access, doc"),
                        StructKind::Argument => ("direction: in", "type, direction, doc"),
                    };
                    let lines = [
                        format!("{{ name: {path}, {type_}, since: {},{archs} {use_},", self.since),
                        format!("  judge: \"{judge}\" }}"),
                    ];
                    let place = item(&described.head.place).key("fields");
                    self.edit(&place, &format!("{what} is new"), |editor| {
                        editor.append(&place, &lines)
                    });
                }
                _ => self.proposal.left.push(format!("{file}.yaml: {what} is new, moved or gone")),
            }
        }
        let resized = |cells: &(Cell, Cell)| facts.size.get(cells.0) != facts.size.get(cells.1);
        if described.size.is_none() || !pairs.iter().any(resized) {
            return;
        }
        let place = item(&described.head.place).key("size");
        let sizes = match &described.size {
            Some(PerArch::Same(_)) => {
                let size = self.now.first().and_then(|cell| facts.size.get(*cell));
                vec![(place.clone(), size)]
            }
            _ => {
                let archs = self.facts.grid.archs.iter().zip(&self.now);
                archs.map(|(arch, cell)| (place.key(arch), facts.size.get(*cell))).collect()
            }
        };
        for (place, size) in sizes {
            let size = size.map(|size| size.to_string()).unwrap_or_default();
            self.edit(&place, &format!("`struct {name}` has {size} bytes"), |editor| {
                editor.set(&place, &size)
            });
        }
    }

    /// Constants that no earlier release has, in headers of which something is described.
    fn additions(&mut self, structs: &BTreeSet<String>) {
        let described: BTreeSet<&str> =
            verify::newest_claims(self.document).into_iter().map(|(name, ..)| name).collect();
        let old = |cell: &Cell| !self.now.contains(cell);
        let mut new: Vec<(String, String)> = self
            .facts
            .constants
            .iter()
            .filter(|(name, column)| {
                !described.contains(name.as_str())
                    && self.is_there(name, &self.now)
                    && !column.cells().any(|cell| old(&cell))
            })
            .filter_map(|(name, _)| {
                let places = self.facts.places.get(name)?;
                let header = self.now.iter().find_map(|cell| places.get(*cell))?;
                Some((name.clone(), header.to_string()))
            })
            .collect();
        new.sort_by_cached_key(|(name, header)| (header.clone(), self.constant(name, &self.now)));
        for (name, header) in new {
            self.addition(&name, &header, structs);
        }
    }

    fn addition(&mut self, name: &str, header: &str, structs: &BTreeSet<String>) {
        let files = &self.document.files;
        let value = self.constant(name, &self.now);
        let here = |head: &Head| head.header == header;
        let since = &self.since;
        let there = |cell| self.facts.constants.get(name).is_some_and(|of| of.get(cell).is_some());
        let archs = self.archs(there).map_or_else(String::new, |archs| format!(" arch: {archs},"));
        let rest = |prefix: &str| name.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        let mut groups: Vec<(usize, Place, Vec<String>)> = Vec::new();
        for set in files.iter().flat_map(|file| &file.commands) {
            let ours = set.list.iter().any(|command| here(&command.head));
            if let (Some(short), true, Some(value)) = (rest(&set.prefix), ours, value) {
                // By Xen's habit, `gnttab_unmap` is the argument of `GNTTABOP_unmap`.
                let end = format!("_{short}");
                let argument = structs.iter().find(|of| **of == short || of.ends_with(&end));
                let argument = argument.map(|argument| format!(" argument: {argument},"));
                let argument = argument.unwrap_or_default();
                let lines = vec![
                    format!(
                        "{{ name: {short}, number: {value}, since: {since},{archs}{argument} \
                         result: none,"
                    ),
                    "  judge: \"argument, result, hazard, doc\" }".to_owned(),
                ];
                groups.push((set.prefix.len(), set.place.key("list"), lines));
            }
        }
        for of in files.iter().flat_map(|file| &file.enumerations) {
            let Enumeration { head, prefix, values, alias, .. } = of;
            let taken = values.iter().any(|known| Some(known.value) == value) && !alias;
            if let (Some(short), true, Some(value), false) =
                (rest(prefix), here(head), value, taken)
            {
                let line = format!(
                    "{{ name: {short}, value: {value}, since: {since},{archs} judge: \"doc\" }}"
                );
                groups.push((prefix.len(), item(&head.place).key("values"), vec![line]));
            }
        }
        for Word { head, prefix, .. } in files.iter().flat_map(|file| &file.words) {
            let bit = value.and_then(|value| u64::try_from(value).ok());
            let bit = bit.filter(|value| value.is_power_of_two()).map(u64::trailing_zeros);
            if let (Some(short), true, Some(bit)) = (rest(prefix), here(head), bit) {
                let line = format!(
                    "{{ name: {short}, bits: {bit}, since: {since},{archs} judge: \"doc\" }}"
                );
                groups.push((prefix.len(), item(&head.place).key("fields"), vec![line]));
            }
        }
        let what = format!("`{name}` of {header} is new");
        match groups.into_iter().max_by_key(|(length, ..)| *length) {
            Some((_, place, lines)) => {
                self.edit(&place, &what, |editor| editor.append(&place, &lines));
            }
            None if self.knows(header) && !self.rules.omit_constant(name, header) => self
                .proposal
                .left
                .push(format!("{what}: describe it, or give the reason in facts/undescribed.txt")),
            None => {}
        }
    }

    /// Returns whether something of a header is described.
    fn knows(&self, header: &str) -> bool {
        let claims = verify::newest_claims(self.document);
        claims.iter().any(|(_, head, _)| head.header == header)
    }
}

/// The section of constants, whose values may differ by architecture.
const CONSTANTS: &str = "constants";

/// Returns the end of the last member in a cell.
fn last(facts: &StructFacts, cell: Cell) -> Option<u64> {
    let ends = facts.members.iter().filter_map(|(_, column)| column.get(cell));
    ends.map(|extent| extent.offset + extent.size).max()
}
