//! The description as a table: what it says about the headers of one release.

use super::cells::Here;
use super::constants::{self, Claims};
use super::members;
use super::strings::{self, Strings};
use crate::document::{ArchId, Document, Head, ReleaseId, Struct};
use crate::headers::facts::{Cell, Table, Text};
use crate::layout::Layouts;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the tables of one release, one for each architecture of the manifest.
#[must_use]
pub fn tables(document: &Document, release: ReleaseId) -> Vec<Table> {
    let [tables] = Collected::new(document).tables([release], |_| true);
    tables
}

/// Returns the tables of two releases, without the names that are the same in both: a comparison
/// needs no others.
#[must_use]
pub fn different(document: &Document, from: ReleaseId, to: ReleaseId) -> [Vec<Table>; 2] {
    let collected = Collected::new(document);
    let changed = collected.changed(from, to);
    collected.tables([from, to], |key| changed.contains(key))
}

/// What the tables of all releases are made of.
struct Collected<'d> {
    document: &'d Document,
    layouts: Layouts<'d>,
    claims: Claims<'d>,
    strings: Strings<'d>,
}

impl<'d> Collected<'d> {
    fn new(document: &'d Document) -> Self {
        Self {
            document,
            layouts: Layouts::new(document),
            claims: constants::collect(document),
            strings: strings::collect(document),
        }
    }

    /// Returns the tables of some releases, with the names that are wanted; a struct's stands
    /// behind `struct `.
    fn tables<const N: usize>(
        &self,
        releases: [ReleaseId; N],
        wants: impl Fn(&str) -> bool,
    ) -> [Vec<Table>; N] {
        releases.map(|release| self.archs().map(|arch| self.table(release, arch, &wants)).collect())
    }

    fn archs(&self) -> impl Iterator<Item = ArchId> + use<> {
        (0..self.document.manifest.architectures.len()).map(ArchId)
    }

    fn structs(&self) -> impl Iterator<Item = (&'d str, &'d Struct)> + use<'d> {
        let structs = self.document.files.iter().flat_map(|file| &file.structs);
        structs.filter_map(|item| Some((item.head.c.as_deref()?, item)))
    }

    fn table(&self, release: ReleaseId, arch: ArchId, wants: impl Fn(&str) -> bool) -> Table {
        let Self { document, layouts, claims, strings } = self;
        let manifest = &document.manifest;
        let here = here(release, arch);
        let mut table = Table {
            release: manifest.release(release),
            interface_version: 0,
            arch: manifest.arch(arch).name.clone(),
            structs: BTreeMap::new(),
            constants: BTreeMap::new(),
            texts: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for (name, claims) in claims.constants.iter().filter(|(name, _)| wants(name)) {
            let there = claims.iter().find_map(|claim| Some((claim.value(here)?, claim.head)));
            if let Some((value, head)) = there {
                table.constants.insert((*name).to_owned(), value);
                table.places.insert((*name).to_owned(), head.header.as_str().into());
            }
        }
        for (name, items) in strings.iter().filter(|(name, _)| wants(name)) {
            if let Some((value, head)) = strings::claimed(items, here) {
                table.texts.insert((*name).to_owned(), Text::String(value.into()));
                table.places.insert((*name).to_owned(), head.header.as_str().into());
            }
        }
        for (name, item) in self.structs().filter(|(_, item)| here.names(&item.head)) {
            let key = format!("struct {name}");
            if !wants(&key) {
                continue;
            }
            let Ok(layout) = layouts.of(&item.head.name, release, arch) else { continue };
            let listed = members::list(layouts, &item.fields, &layout, here);
            // Several blocks can describe one struct: each is a view of a union.
            let struct_ = table.structs.entry(name.to_owned()).or_default();
            struct_.size = struct_.size.max(layout.size.into());
            struct_
                .members
                .extend(listed.named.into_iter().map(|member| (member.path, member.extent)));
            struct_.members.sort_by_key(|(_, extent)| extent.offset);
            table.places.insert(key, item.head.header.as_str().into());
        }
        table
    }

    /// Returns the names that may differ between two releases; a struct's stands behind `struct `.
    fn changed(&self, from: ReleaseId, to: ReleaseId) -> BTreeSet<String> {
        let differs = |of: &dyn Fn(Here) -> bool| self.archs().any(|arch| of(here(from, arch)));
        let other = |at: Here| Here { release: to, ..at };
        let constants = self.claims.constants.iter().filter(|(_, claims)| {
            let value = |at| claims.iter().find_map(|claim| claim.value(at));
            differs(&|at| value(at) != value(other(at)))
        });
        let strings = self.strings.iter().filter(|(_, items)| {
            let value = |at| strings::claimed(items, at).map(|(value, _)| value);
            differs(&|at| value(at) != value(other(at)))
        });
        let between = |release: &ReleaseId| from.min(to) < *release && *release <= from.max(to);
        let structs = self.structs().filter(|(_, item)| {
            let named = |at| here(at, ArchId(0)).is_named(&item.head);
            named(from) != named(to) || self.layouts.changes(item).iter().any(between)
        });
        let structs = structs.map(|(name, _)| format!("struct {name}"));
        let names = constants.map(|(name, _)| name).chain(strings.map(|(name, _)| name));
        names.map(|name| (*name).to_owned()).chain(structs).collect()
    }
}

/// A place in the description; the facts are not asked here.
fn here(release: ReleaseId, arch: ArchId) -> Here {
    Here { release, arch, cell: Cell(0) }
}

/// Returns the tables of the whole description: of each name, what its newest release has.
#[must_use]
pub fn newest(document: &Document) -> Vec<Table> {
    let mut releases = (0..document.manifest.releases.len()).map(ReleaseId).rev();
    let mut whole = releases.next().map(|release| tables(document, release)).unwrap_or_default();
    for release in releases {
        for (newer, older) in whole.iter_mut().zip(tables(document, release)) {
            for (name, value) in older.constants {
                newer.constants.entry(name).or_insert(value);
            }
            for (name, text) in older.texts {
                newer.texts.entry(name).or_insert(text);
            }
            for (name, item) in older.structs {
                newer.structs.entry(name).or_insert(item);
            }
            for (name, header) in older.places {
                newer.places.entry(name).or_insert(header);
            }
        }
    }
    whole
}

/// Returns every constant that the description has in its newest release: the C name, the item, and
/// the key of its value.
#[must_use]
pub fn newest_claims(document: &Document) -> Vec<(&str, &Head, &'static str)> {
    let newest = document.manifest.newest();
    let mut found = Vec::new();
    for (name, claims) in constants::collect(document).constants {
        let there = claims.iter().filter(|claim| claim.head.availability.releases.contains(newest));
        found.extend(there.map(|claim| (name, claim.head, claim.key)));
    }
    found
}
