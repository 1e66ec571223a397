//! Structs: where they exist, how large they are, and where each member lies.

use super::cells::{Cells, Here};
use super::findings::Findings;
use super::members::{self, Member, Members};
use crate::document::{Document, Place, Struct, TypeAlias};
use crate::facts::{Extent, Facts, StructFacts, scope};
use crate::resolve::{Integer, Layouts};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What C's padding is called; a member of any other name that the description lacks is a mismatch.
const PADDING: [&str; 5] = ["pad", "rsvd", "reserved", "unused", "spacer"];

/// Compares every struct, in every cell.
pub(super) fn compare(document: &Document, layouts: &Layouts<'_>, facts: &Facts, cells: &Cells, findings: &mut Findings) {
    let newest = document.manifest.newest();
    for (name, structs) in by_name(document, findings) {
        let mut subject = Subject { name, facts, measured: facts.structs.get(name), paths: BTreeMap::new(), unnamed: BTreeSet::new() };
        let listed: Vec<(Here, Option<Listed<'_>>)> = cells.iter().map(|here| (here, list(&structs, layouts, here))).collect();
        // Every path that has a name in any release comes first: padding must not hide one of them.
        for listed in listed.iter().filter_map(|(_, listed)| listed.as_ref()) {
            subject.paths.extend(listed.members.named.iter().map(|member| (member.path.as_str(), &member.place)));
            subject.unnamed.extend(listed.members.unnamed.iter());
        }
        for (here, listed) in &listed {
            match listed {
                Some(listed) => {
                    subject.layout(listed, *here, findings);
                    if here.release == newest {
                        subject.stated(listed.item, *here, findings);
                    }
                }
                None => subject.absent(structs[0], *here, findings),
            }
        }
        findings.unnamed.extend(subject.unnamed.into_iter().cloned());
    }
    aliases(document, layouts, facts, cells, findings);
}

/// A struct as the description has it in one release on one architecture.
struct Listed<'d> {
    item: &'d Struct,
    size: u64,
    members: Members,
}

fn list<'d>(structs: &[&'d Struct], layouts: &Layouts<'_>, here: Here) -> Option<Listed<'d>> {
    let item = structs.iter().find(|item| here.names(&item.head))?;
    let layout = layouts.of(&item.head.name, here.release, here.arch).ok()?;
    Some(Listed { item, size: u64::from(layout.size), members: members::list(layouts, &item.fields, &layout, here) })
}

/// The names of structs that the facts have and the description has not.
#[must_use]
pub(super) fn undescribed(document: &Document, facts: &Facts) -> Vec<String> {
    let structs = document.files.iter().flat_map(|file| &file.structs).filter_map(|item| item.head.c.as_ref());
    let aliases = document.files.iter().flat_map(|file| &file.types).filter_map(|item| item.head.c.as_ref());
    let described: BTreeSet<&String> = structs.chain(aliases).collect();
    facts.structs.keys().filter(|name| !described.contains(name)).cloned().collect()
}

fn by_name<'d>(document: &'d Document, findings: &mut Findings) -> BTreeMap<&'d str, Vec<&'d Struct>> {
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
    /// Every path that the description names in some release, with the text that does.
    paths: BTreeMap<&'a str, &'a Place>,
    unnamed: BTreeSet<&'a Place>,
}

impl Subject<'_> {
    fn known(&self) -> String {
        match self.measured {
            Some(facts) => format!("the headers have it in {}", scope::describe(&self.facts.grid, &facts.size.cells().collect::<Vec<_>>())),
            None => "the headers never have it".to_owned(),
        }
    }

    fn absent(&self, item: &Struct, here: Here, findings: &mut Findings) {
        if self.measured.is_some_and(|facts| facts.size.get(here.cell).is_some()) {
            let message = format!("the headers have `struct {}` where the description has it not", self.name);
            findings.add(&here.blame(&item.head), message, self.known(), here.cell);
        } else {
            findings.tally.absences += 1;
        }
    }

    fn layout(&self, listed: &Listed<'_>, here: Here, findings: &mut Findings) {
        let Listed { item, size, members } = listed;
        findings.tally.sizes += 1;
        let place = item.head.place.as_key();
        let Some((facts, fact)) = self.measured.and_then(|facts| Some((facts, facts.size.get(here.cell)?))) else {
            findings.add(&place, format!("the headers have no `struct {}`", self.name), self.known(), here.cell);
            return;
        };
        if fact != *size {
            findings.add(
                &place,
                format!("`struct {}` is not {size} bytes long", self.name),
                format!("{fact} bytes in the headers"),
                here.cell,
            );
        }
        let there: Vec<(&str, Extent)> =
            facts.members.iter().filter_map(|(path, column)| Some((path.as_str(), column.get(here.cell)?))).collect();
        let by_path: HashMap<&str, Extent> = there.iter().copied().collect();
        for member in &members.named {
            self.member(member, by_path.get(member.path.as_str()), here, findings);
        }
        let described: BTreeMap<&str, &Member> = members.named.iter().map(|member| (member.path.as_str(), member)).collect();
        for (path, extent) in there.iter().filter(|(path, _)| !described.contains_key(path)) {
            self.other(path, *extent, members, &described, (&place, here), findings);
        }
        findings.tally.absences +=
            self.paths.keys().filter(|path| !described.contains_key(*path) && !by_path.contains_key(*path)).count() as u64;
    }

    /// A member that the description has.
    fn member(&self, member: &Member, fact: Option<&Extent>, here: Here, findings: &mut Findings) {
        findings.tally.members += 1;
        let Member { path, extent, .. } = member;
        let name = self.name;
        match fact {
            Some(fact) if fact == extent => {}
            Some(fact) if fact.offset != extent.offset => {
                let message = format!("`{path}` of `struct {name}` is not at byte {}", extent.offset);
                findings.add(&member.place, message, format!("at byte {} in the headers", fact.offset), here.cell);
            }
            Some(fact) => {
                let message = format!("`{path}` of `struct {name}` is not {} bytes long", extent.size);
                findings.add(&member.place, message, format!("{} bytes in the headers", fact.size), here.cell);
            }
            None => {
                let message = format!("the headers' `struct {name}` has no member `{path}`");
                findings.add(&member.place, message, self.where_member(path), here.cell);
            }
        }
    }

    fn where_member(&self, path: &str) -> String {
        match self.measured.and_then(|facts| facts.member(path)) {
            Some(column) => format!("the headers have it in {}", scope::describe(&self.facts.grid, &column.cells().collect::<Vec<_>>())),
            None => "the headers never have it".to_owned(),
        }
    }

    /// A member that only C has: inside something that is opaque to the description, or padding with a name.
    fn other(
        &self,
        path: &str,
        extent: Extent,
        members: &Members,
        described: &BTreeMap<&str, &Member>,
        (place, here): (&Place, Here),
        findings: &mut Findings,
    ) {
        let around = path.match_indices('.').rev().find_map(|(dot, _)| described.get(&path[..dot]));
        if around.is_some_and(|member| member.opaque && within(extent, member.extent)) {
            findings.tally.members += 1;
            return;
        }
        let last = path.rsplit('.').next().unwrap_or(path);
        let padding = PADDING.iter().any(|word| last.contains(word)) && !self.paths.contains_key(path);
        if padding && members.free.iter().any(|free| within(extent, *free)) {
            findings.tally.padding += 1;
            return;
        }
        let message =
            format!("`struct {}` lacks the member `{path}`, {} bytes at byte {} in the headers", self.name, extent.size, extent.offset);
        let place = self.paths.get(path).copied().unwrap_or(place);
        findings.add(place, message, self.where_member(path), here.cell);
    }

    /// The size that the description states for the newest release.
    fn stated(&self, item: &Struct, here: Here, findings: &mut Findings) {
        let stated = item.size.as_ref().and_then(|size| size.get(here.arch));
        let fact = self.measured.and_then(|facts| facts.size.get(here.cell));
        let (Some(stated), Some(fact)) = (stated, fact) else { return };
        findings.tally.sizes += 1;
        if *stated != fact {
            let message = format!("`struct {}` is not {stated} bytes long", self.name);
            findings.add(&item.head.place.key("size"), message, format!("{fact} bytes in the headers"), here.cell);
        }
    }
}

/// Whether `inner` lies wholly in `outer`.
fn within(inner: Extent, outer: Extent) -> bool {
    outer.offset <= inner.offset && inner.offset + inner.size <= outer.offset + outer.size
}

/// Names of integers and of arrays that C makes structs of.
fn aliases(document: &Document, layouts: &Layouts<'_>, facts: &Facts, cells: &Cells, findings: &mut Findings) {
    for alias in document.files.iter().flat_map(|file| &file.types) {
        let Some(measured) = alias.head.c.as_ref().and_then(|c| facts.structs.get(c)) else { continue };
        for here in cells.iter() {
            let fact = measured.size.get(here.cell);
            let size = here.names(&alias.head).then(|| alias_size(alias, layouts, here)).flatten();
            let name = &alias.head.name;
            match (size, fact) {
                (Some(size), Some(fact)) if size == fact => findings.tally.sizes += 1,
                (None, None) => findings.tally.absences += 1,
                (Some(size), Some(fact)) => {
                    let message = format!("`{name}` is not {size} bytes long");
                    findings.add(&alias.head.place.as_key(), message, format!("{fact} bytes in the headers"), here.cell);
                }
                (described, _) => {
                    let has = if described.is_some() { "have no" } else { "have" };
                    let (message, label) = (format!("the headers {has} `{name}`"), "the description says otherwise".to_owned());
                    findings.add(&alias.head.place.as_key(), message, label, here.cell);
                }
            }
        }
    }
}

fn alias_size(alias: &TypeAlias, layouts: &Layouts<'_>, here: Here) -> Option<u64> {
    let names = layouts.names();
    let meaning = names.meaning(alias.is.get(here.arch)?, here.release, here.arch).ok()?;
    let element = Integer::of(meaning.basis.primitive()?, names.manifest().arch(here.arch));
    let own = match &alias.count {
        Some(count) => names.count(count.get(here.arch)?, here.release, here.arch).ok()??,
        None => 1,
    };
    Some(u64::from(element.size) * meaning.count.unwrap_or(1) * own)
}
