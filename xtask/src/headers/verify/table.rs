//! The description as a table: what it says about the headers of one release.

use super::cells::Here;
use super::{constants, members, strings};
use crate::document::{ArchId, Document, Head, ReleaseId};
use crate::headers::facts::{Cell, Table, Text};
use crate::layout::Layouts;
use std::collections::BTreeMap;

/// Returns the tables of one release, one for each architecture of the manifest.
#[must_use]
pub fn tables(document: &Document, release: ReleaseId) -> Vec<Table> {
    let layouts = Layouts::new(document);
    let claims = constants::collect(document);
    let strings = strings::collect(document);
    let manifest = &document.manifest;
    let archs = (0..manifest.architectures.len()).map(ArchId);
    let tables = archs.map(|arch| {
        // The cell is a place in the facts, which are not asked here.
        let here = Here { release, arch, cell: Cell(0) };
        let mut table = Table {
            release: manifest.release(release),
            interface_version: 0,
            arch: manifest.arch(arch).name.clone(),
            structs: BTreeMap::new(),
            constants: BTreeMap::new(),
            texts: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for (name, claims) in &claims.constants {
            let there = claims.iter().find_map(|claim| Some((claim.value(here)?, claim.head)));
            if let Some((value, head)) = there {
                table.constants.insert((*name).to_owned(), value);
                table.places.insert((*name).to_owned(), head.header.as_str().into());
            }
        }
        for (name, items) in &strings {
            if let Some((value, head)) = strings::claimed(items, here) {
                table.texts.insert((*name).to_owned(), Text::String(value.into()));
                table.places.insert((*name).to_owned(), head.header.as_str().into());
            }
        }
        for item in document.files.iter().flat_map(|file| &file.structs) {
            let Some(name) = item.head.c.as_ref().filter(|_| here.names(&item.head)) else {
                continue;
            };
            let Ok(layout) = layouts.of(&item.head.name, release, arch) else { continue };
            let listed = members::list(&layouts, &item.fields, &layout, here);
            // Several blocks can describe one struct: each is a view of a union.
            let struct_ = table.structs.entry(name.clone()).or_default();
            struct_.size = struct_.size.max(layout.size.into());
            struct_
                .members
                .extend(listed.named.into_iter().map(|member| (member.path, member.extent)));
            struct_.members.sort_by_key(|(_, extent)| extent.offset);
            table.places.insert(format!("struct {name}"), item.head.header.as_str().into());
        }
        table
    });
    tables.collect()
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
