//! Structs: where they exist, how large they are, and where each member lies.
//!
//! Several blocks may describe one C struct: each is one view of a union.

use super::Findings;
use super::cells::{Cells, Here};
use super::members::{self, Member, View, Views};
use crate::document::{Document, Field, Struct};
use crate::headers::facts::{Column, Extent, Facts, StructFacts};
use crate::headers::scope;
use crate::layout::Layouts;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Compares every struct, in every cell.
pub(super) fn compare<'d>(
    document: &'d Document,
    layouts: &Layouts<'d>,
    facts: &Facts,
    cells: &Cells,
    findings: &mut Findings,
) {
    let newest = document.manifest.newest();
    for (name, structs) in by_name(document, findings) {
        let views: Vec<(Here, Views<'_>)> =
            cells.iter().map(|here| (here, views(&structs, layouts, here))).collect();
        let mut subject = Subject::new(name, facts);
        // Every path that has a name in any release comes first: padding must not hide one of them.
        let mut unnamed = BTreeSet::new();
        for view in views.iter().flat_map(|(_, views)| &views.0) {
            subject.paths.extend(
                view.members.named.iter().map(|member| (member.path.as_str(), member.field)),
            );
            unnamed.extend(view.members.unnamed.iter().map(|field| &field.head.place));
        }
        for (here, views) in &views {
            if views.0.is_empty() {
                subject.absent(structs[0], *here, findings);
                continue;
            }
            subject.layout(views, *here, findings);
            if here.release == newest {
                views.0.iter().for_each(|view| subject.stated(view.item, *here, findings));
            }
        }
        findings.unnamed.extend(unnamed.into_iter().map(|place| place.key("name")));
    }
}

fn views<'d>(structs: &[&'d Struct], layouts: &Layouts<'d>, here: Here) -> Views<'d> {
    let items = structs.iter().filter(|item| here.names(&item.head));
    let views = items.filter_map(|item| {
        let layout = layouts.of(&item.head.name, here.release, here.arch).ok()?;
        Some(View {
            item,
            size: u64::from(layout.size),
            members: members::list(layouts, &item.fields, &layout, here),
        })
    });
    Views(views.collect())
}

/// Returns the names of structs that the facts have and the description has not.
#[must_use]
pub(super) fn undescribed(document: &Document, facts: &Facts) -> Vec<String> {
    let structs = document
        .files
        .iter()
        .flat_map(|file| &file.structs)
        .filter_map(|item| item.head.c.as_ref());
    let aliases =
        document.files.iter().flat_map(|file| &file.types).filter_map(|item| item.head.c.as_ref());
    let described: BTreeSet<&String> = structs.chain(aliases).collect();
    facts.structs.keys().filter(|name| !described.contains(name)).cloned().collect()
}

fn by_name<'d>(
    document: &'d Document,
    findings: &mut Findings,
) -> BTreeMap<&'d str, Vec<&'d Struct>> {
    let mut names: BTreeMap<&str, Vec<&Struct>> = BTreeMap::new();
    for item in document.files.iter().flat_map(|file| &file.structs) {
        match &item.head.c {
            Some(c) => names.entry(c).or_default().push(item),
            None => findings.unnamed.push(item.head.place.as_key()),
        }
    }
    names
}

/// A struct of C.
struct Subject<'a> {
    name: &'a str,
    facts: &'a Facts,
    measured: Option<&'a StructFacts>,
    /// Every path that the description names in some release, with the field that does.
    paths: BTreeMap<&'a str, &'a Field>,
    /// Every path that the headers have in some release.
    members: HashMap<&'a str, &'a Column<Extent>>,
}

impl<'a> Subject<'a> {
    fn new(name: &'a str, facts: &'a Facts) -> Self {
        let measured = facts.structs.get(name);
        let members = measured
            .into_iter()
            .flat_map(|facts| &facts.members)
            .map(|(path, column)| (path.as_str(), column))
            .collect();
        Self { name, facts, measured, paths: BTreeMap::new(), members }
    }

    fn there(&self, path: &str, here: Here) -> Option<Extent> {
        self.members.get(path).and_then(|column| column.get(here.cell))
    }

    fn absent(&self, item: &Struct, here: Here, findings: &mut Findings) {
        if self.size(here).is_some() {
            let message =
                format!("the headers have `struct {}` where the description has it not", self.name);
            findings.add(&here.blame(&item.head), message, self.known(), here.cell);
        } else {
            findings.comparisons.absences += 1;
        }
    }

    fn layout(&self, views: &Views<'_>, here: Here, findings: &mut Findings) {
        for view in &views.0 {
            findings.comparisons.sizes += 1;
            let place = view.item.head.place.as_key();
            let Some(fact) = self.size(here) else {
                findings.add(
                    &place,
                    format!("the headers have no `struct {}`", self.name),
                    self.known(),
                    here.cell,
                );
                continue;
            };
            if fact != view.size {
                let message = format!("`struct {}` is not {} bytes long", self.name, view.size);
                findings.add(&place, message, format!("{fact} bytes in the headers"), here.cell);
            }
            for member in &view.members.named {
                self.member(member, self.there(&member.path, here), here, findings);
            }
        }
        for (path, column) in &self.members {
            if let Some(extent) = column.get(here.cell).filter(|_| views.member(path).is_none()) {
                self.other(path, extent, views, here, findings);
            }
        }
        let neither = self
            .paths
            .keys()
            .filter(|path| self.there(path, here).is_none() && views.member(path).is_none());
        findings.comparisons.absences += neither.count() as u64;
    }

    /// A member that the description has.
    fn member(
        &self,
        member: &Member<'_>,
        fact: Option<Extent>,
        here: Here,
        findings: &mut Findings,
    ) {
        findings.comparisons.members += 1;
        let Member { path, extent, field, .. } = member;
        let name = self.name;
        let (message, label) = match fact {
            Some(fact) if fact == *extent => return,
            Some(fact) if fact.offset != extent.offset => (
                format!("`{path}` of `struct {name}` is not at byte {}", extent.offset),
                format!("at byte {} in the headers", fact.offset),
            ),
            Some(fact) => (
                format!("`{path}` of `struct {name}` is not {} bytes long", extent.size),
                format!("{} bytes in the headers", fact.size),
            ),
            None => (
                format!("the headers' `struct {name}` has no member `{path}`"),
                self.known_member(path),
            ),
        };
        findings.add(&field.head.place.key("name"), message, label, here.cell);
    }

    /// A member that only C has.
    fn other(
        &self,
        path: &str,
        extent: Extent,
        views: &Views<'_>,
        here: Here,
        findings: &mut Findings,
    ) {
        if views.imply(path, extent) {
            findings.comparisons.members += 1;
            return;
        }
        if !self.paths.contains_key(path) && views.pad(path, extent) {
            findings.comparisons.padding += 1;
            return;
        }
        let message = format!(
            "`struct {}` lacks the member `{path}`, {} bytes at byte {} in the headers",
            self.name, extent.size, extent.offset
        );
        let place = match self.paths.get(path) {
            Some(field) => field.head.place.key("name"),
            None => views.0[0].item.head.place.as_key(),
        };
        findings.add(&place, message, self.known_member(path), here.cell);
    }

    /// The size that the description states for the newest release.
    fn stated(&self, item: &Struct, here: Here, findings: &mut Findings) {
        let stated = item.size.as_ref().and_then(|size| size.get(here.arch));
        let (Some(stated), Some(fact)) = (stated, self.size(here)) else { return };
        findings.comparisons.sizes += 1;
        if *stated != fact {
            let message = format!("`struct {}` is not {stated} bytes long", self.name);
            findings.add(
                &item.head.place.key("size"),
                message,
                format!("{fact} bytes in the headers"),
                here.cell,
            );
        }
    }

    fn size(&self, here: Here) -> Option<u64> {
        self.measured.and_then(|facts| facts.size.get(here.cell))
    }

    fn known(&self) -> String {
        self.known_in(self.measured.map(|facts| &facts.size))
    }

    fn known_member(&self, path: &str) -> String {
        self.known_in(self.members.get(path).copied())
    }

    fn known_in<T: Copy + PartialEq>(&self, column: Option<&Column<T>>) -> String {
        match column {
            Some(column) => format!(
                "the headers have it in {}",
                scope::describe(&self.facts.grid, &column.cells().collect::<Vec<_>>())
            ),
            None => "the headers never have it".to_owned(),
        }
    }
}
