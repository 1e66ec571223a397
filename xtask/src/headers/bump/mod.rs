//! A new release in the description: what its headers changed, as edits of the YAML files.
//!
//! Mechanical answers are written: lost names end, other values begin, new names join the group
//! with their prefix or the section of their kind, and new fields stand where C has them. What a
//! person must decide stands under the key `judge`, which `regen` refuses with its place. At the
//! end, the proposal itself is compared with the headers.

mod edit;
mod fields;
mod names;
#[cfg(test)]
mod replay;
mod structs;
#[cfg(test)]
mod tests;

use super::facts::{Cell, Column, Facts};
use super::verify::{self, Rules};
use crate::document::{self, ArchId, Document, File, Head, Release};
use crate::yaml::{Place, SourceText, Sources};
use edit::{Editor, Sections};
use std::collections::{BTreeMap, BTreeSet};

/// What a bump would do.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The files that change or are new, by name without ending, with their new text.
    pub texts: BTreeMap<String, String>,
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What is left to a person, a line each: where the proposal differs from the headers.
    pub left: Vec<String>,
}

/// Proposes the edits for a release whose tables are in `facts`, as the newest of the description.
/// Names that `rules` omit are not added. What the edited description says about the release is
/// compared with the facts, and each difference is left to a person.
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
    let mut proposal = edits(sources, document, facts, rules, release)?;
    let after = proposal.applied(sources);
    let (document, wrong) = document::read(&after);
    let Some(document) = document else {
        let first = wrong.first().map_or("", |wrong| wrong.message.as_str());
        return Err(format!("the edits for {release} cannot be read: {first}"));
    };
    for mismatch in verify::run(&document, &facts.of_release(release)).mismatches {
        let file = &mismatch.place.file;
        proposal.left.push(format!("{file}.yaml: {}: {}", mismatch.message, mismatch.label));
    }
    proposal.left.sort();
    Ok(proposal)
}

impl Proposal {
    /// Returns the description with the new texts.
    fn applied(&self, sources: &Sources) -> Sources {
        let mut after = Sources::default();
        for source in &sources.files {
            let text = self.texts.get(&source.name).unwrap_or(&source.text).clone();
            after.files.push(SourceText { text, ..source.clone() });
        }
        for (name, text) in self.texts.iter().filter(|(name, _)| sources.find(name).is_none()) {
            let (name, text, path) = (name.clone(), text.clone(), format!("{name}.yaml"));
            after.files.push(SourceText { name, path, text, fault: None });
        }
        after
    }
}

/// Makes the edits, without comparing them.
fn edits(
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
    let archs = document.manifest.architectures.iter().enumerate();
    let columns: Vec<Here<'_>> = archs
        .filter_map(|(index, arch)| {
            let now = facts.grid.find(release, &arch.name)?;
            let before = facts.grid.find(newest, &arch.name)?;
            Some(Here { arch: ArchId(index), name: &arch.name, now, before })
        })
        .collect();
    if columns.is_empty() {
        return Err(format!("no architecture has facts of both Xen {newest} and Xen {release}"));
    }
    let mut bump = Bump {
        document,
        facts,
        rules,
        sources,
        editors: BTreeMap::new(),
        new_files: BTreeMap::new(),
        since: format!("\"{release}\""),
        until: format!("\"{newest}\""),
        columns: sorted(columns),
        settled: BTreeSet::new(),
        headers: headers(document),
        proposal: Proposal::default(),
    };
    let releases = Place::root("manifest").key("releases");
    let added = format!("manifest: release {release}");
    let quoted = bump.since.clone();
    if !bump.edit(&releases, added, |editor| editor.append_scalar(&releases, &quoted)) {
        return Err("the manifest has no list of releases".to_owned());
    }
    bump.constants();
    bump.strings();
    bump.structs();
    let structs = bump.new_structs();
    bump.new_constants(&structs);
    bump.new_strings();
    Ok(bump.finish())
}

/// The headers are compared in the order of the facts' architectures.
fn sorted(mut columns: Vec<Here<'_>>) -> Vec<Here<'_>> {
    columns.sort_by_key(|here| here.now);
    columns
}

/// An architecture, with its cells of the new release and of the one before.
#[derive(Clone, Copy, Debug)]
struct Here<'d> {
    arch: ArchId,
    name: &'d str,
    now: Cell,
    before: Cell,
}

impl Here<'_> {
    fn now<T: Clone + PartialEq>(self, column: &Column<T>) -> Option<T> {
        column.get(self.now)
    }

    fn before<T: Clone + PartialEq>(self, column: &Column<T>) -> Option<T> {
        column.get(self.before)
    }
}

struct Bump<'d> {
    document: &'d Document,
    facts: &'d Facts,
    rules: &'d Rules,
    sources: &'d Sources,
    /// Those of the files that were edited.
    editors: BTreeMap<&'d str, Editor<'d>>,
    /// The sections of files that the description does not have yet, by their header.
    new_files: BTreeMap<String, Sections>,
    since: String,
    until: String,
    columns: Vec<Here<'d>>,
    /// The items that were ended, divided or named: one item can have several constants.
    settled: BTreeSet<Place>,
    /// The file that describes something of a header.
    headers: BTreeMap<&'d str, &'d str>,
    proposal: Proposal,
}

impl<'d> Bump<'d> {
    /// Edits a file and notes it. An edit that cannot be made shows in the closing comparison.
    fn edit(
        &mut self,
        place: &Place,
        what: String,
        edit: impl FnOnce(&mut Editor<'d>) -> bool,
    ) -> bool {
        let done = self.editor(&place.file).is_some_and(edit);
        if done {
            self.proposal.done.push(what);
        }
        done
    }

    fn editor(&mut self, file: &str) -> Option<&mut Editor<'d>> {
        let source = self.sources.find(file)?;
        if !self.editors.contains_key(file) {
            self.editors.insert(&source.name, Editor::new(&source.text)?);
        }
        self.editors.get_mut(file)
    }

    /// Adds items to a section of the file for a header; that file may be new.
    fn add(&mut self, header: &str, section: &'static str, lines: Vec<String>, what: String) {
        let done = match self.headers.get(header) {
            Some(file) => {
                let file = (*file).to_owned();
                self.editor(&file).is_some_and(|editor| editor.add_to(section, header, lines))
            }
            None => {
                self.new_files.entry(header.to_owned()).or_default().add(section, lines);
                true
            }
        };
        let list = if done { &mut self.proposal.done } else { &mut self.proposal.left };
        list.push(what);
    }

    /// Divides an item into the one until now and the one from now on, in which `key` differs.
    fn divide(&mut self, place: &Place, what: String, key: &str, value: &str) {
        if !self.settled.insert(place.clone()) {
            return;
        }
        let (until, since) = (self.until.clone(), self.since.clone());
        self.edit(place, what, |editor| editor.divide(place, &until, &since, (key, value)));
    }

    /// Ends an item with the release before.
    fn end(&mut self, place: &Place, what: String) {
        if self.settled.insert(place.clone()) {
            let until = format!("until: {}", self.until);
            self.edit(place, what, |editor| editor.add_key(place, &until));
        }
    }

    /// Gives an item its name in C, if the headers had none for it.
    fn name(&mut self, head: &Head, name: &str) -> bool {
        let place = edit::item(&head.place);
        if head.c.is_some() || !self.settled.insert(place.clone()) {
            return false;
        }
        let what = format!("{}.yaml: `{name}` has a name in C", place.file);
        let named = format!("named_since: {}", self.since);
        self.edit(&place, what, |editor| editor.replace_key(&place, "c", &named))
    }

    /// Returns the architectures on which the item exists in the newest described release.
    fn columns_of(&self, head: &Head) -> Vec<Here<'d>> {
        let newest = self.document.manifest.newest();
        let there = |here: &&Here<'_>| head.availability.contains(newest, here.arch);
        self.columns.iter().filter(there).copied().collect()
    }

    /// Returns the architectures as a key, unless they are all.
    fn arch_key(&self, archs: &[&str]) -> String {
        if archs.len() < self.columns.len() {
            format!(" arch: {},", list(archs))
        } else {
            String::new()
        }
    }

    /// Returns the header of a name in the new release; a struct's name stands behind `struct `.
    fn header(&self, name: &str) -> Option<String> {
        let places = self.facts.places.get(name)?;
        let header = self.columns.iter().find_map(|here| here.now(places))?;
        Some(header.to_string())
    }

    /// Gives an item the header in which the new release has it.
    fn follow_header(&mut self, head: &Head, name: &str) {
        let Some(places) = self.facts.places.get(name) else { return };
        let columns = self.columns_of(head);
        let now: BTreeSet<_> = columns.iter().filter_map(|here| here.now(places)).collect();
        let Some(header) = now.first() else { return };
        let place = edit::item(&head.place);
        let same = now.iter().any(|header| **header == *head.header);
        if same || !self.settled.insert(place.key("header")) {
            return;
        }
        let what = format!("{}.yaml: `{name}` is in {header}", place.file);
        self.edit(&place, what, |editor| {
            editor.set(&place.key("header"), header)
                || editor.add_key(&place, &format!("header: {header}"))
        });
    }

    fn finish(mut self) -> Proposal {
        let files = Place::root("manifest").key("files");
        for (header, sections) in std::mem::take(&mut self.new_files) {
            let name = file_name(&header, self.sources);
            self.edit(&files, format!("{name}.yaml: new, for {header}"), |editor| {
                editor.append_scalar(&files, &name)
            });
            self.proposal.texts.insert(name, sections.text(&header));
        }
        let Self { editors, mut proposal, .. } = self;
        let edited = editors.into_iter().map(|(name, editor)| (name.to_owned(), editor.finish()));
        proposal.texts.extend(edited);
        proposal
    }
}

/// Returns the file that describes something of a header, for each header.
fn headers(document: &Document) -> BTreeMap<&str, &str> {
    let mut headers = BTreeMap::new();
    for file in &document.files {
        for head in heads(file) {
            headers.entry(head.header.as_str()).or_insert(file.name.as_str());
        }
    }
    headers
}

fn heads(file: &File) -> impl Iterator<Item = &Head> {
    let constants = file.constants.iter().map(|item| &item.head);
    let strings = file.strings.iter().map(|item| &item.head);
    let enumerations = file.enumerations.iter().map(|item| &item.head);
    let words = file.words.iter().map(|item| &item.head);
    let encodings = file.encodings.iter().map(|item| &item.head);
    let structs = file.structs.iter().map(|item| &item.head);
    let commands = file.commands.iter().flat_map(|set| &set.list).map(|item| &item.head);
    constants
        .chain(structs)
        .chain(commands)
        .chain(enumerations)
        .chain(words)
        .chain(encodings)
        .chain(strings)
}

/// Returns the name of a new file: that of its header, as Rust's name of a module.
fn file_name(header: &str, sources: &Sources) -> String {
    let path = header.trim_end_matches(".h").replace(['-', '.'], "_");
    let stem = path.rsplit('/').next().unwrap_or(&path);
    let name = if sources.find(stem).is_some() { path.replace('/', "_") } else { stem.to_owned() };
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if is_name { name } else { format!("xen_{name}") }
}

/// Returns a list in YAML.
fn list(items: &[&str]) -> String {
    format!("[{}]", items.join(", "))
}
