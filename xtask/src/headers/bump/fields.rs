//! Described structs: fields that the new release adds, drops, or gives another size.

use super::edit::{Side, item};
use super::structs::{Style, tree};
use super::{Bump, Here, list};
use crate::document::{Count, Field, PerArch, Shape, Struct, StructKind, TypeRef};
use crate::headers::facts::{Column, Extent, StructFacts};
use crate::yaml::Place;
use std::collections::{BTreeMap, BTreeSet};

/// The described fields of a struct by their path in C.
type Fields<'d> = BTreeMap<String, Vec<&'d Field>>;

/// A struct whose fields may have changed.
struct Subject<'d> {
    described: &'d Struct,
    name: &'d str,
    facts: &'d StructFacts,
    columns: Vec<Here<'d>>,
    fields: Fields<'d>,
}

impl<'d> Bump<'d> {
    /// Ends the described structs that the headers lost, and follows the fields of the others.
    pub(super) fn structs(&mut self) {
        let structs = self.document.files.iter().flat_map(|file| &file.structs);
        for described in structs {
            let columns = self.columns_of(&described.head);
            let Some(name) = described.head.c.as_deref() else { continue };
            let Some(facts) = self.facts.structs.get(name).filter(|_| !columns.is_empty()) else {
                continue;
            };
            let place = item(&described.head.place);
            let file = &place.file;
            if columns.iter().all(|here| here.before(&facts.size).is_none()) {
                continue;
            }
            let still: Vec<&str> = columns
                .iter()
                .filter(|here| here.now(&facts.size).is_some())
                .map(|here| here.name)
                .collect();
            if still.is_empty() {
                self.end(&place, format!("{file}.yaml: `struct {name}` is gone"));
                continue;
            }
            self.follow_header(&described.head, &format!("struct {name}"));
            let mut fields = Fields::new();
            collect(&described.fields, "", &mut fields);
            let mut subject = Subject { described, name, facts, columns, fields };
            subject.keep_newest(self);
            self.fields(&subject);
            self.size(&subject);
        }
    }

    fn fields(&mut self, subject: &Subject<'d>) {
        for (path, column) in &subject.facts.members {
            let columns = &subject.columns;
            if columns.iter().all(|here| here.now(column) == here.before(column)) {
                continue;
            }
            let what = format!("{}.yaml: `{}.{path}`", subject.file(), subject.name);
            match subject.fields.get(path.as_str()).map(Vec::as_slice) {
                Some([field]) => self.changed(subject, field, column, &what),
                Some(_) => {}
                None => self.added(subject, path, column, &what),
            }
        }
    }

    /// Follows a described field that was lost somewhere, or has another size.
    fn changed(
        &mut self,
        subject: &Subject<'d>,
        field: &Field,
        column: &Column<Extent>,
        what: &str,
    ) {
        let columns = self.columns_of(&field.head);
        let place = item(&field.head.place);
        let there = columns.iter().filter(|here| here.before(column).is_some()).count();
        let still: Vec<Here<'_>> =
            columns.iter().filter(|here| here.now(column).is_some()).copied().collect();
        if still.is_empty() {
            // A member of what is lost goes with it.
            if there > 0 && !subject.outer_is_lost(&field.head.place) {
                self.end(&place, format!("{what} is gone"));
            }
            return;
        }
        let size = |extent: Option<Extent>| extent.map(|extent| extent.size);
        let resized = still
            .iter()
            .any(|here| size(here.now(column)) != size(here.before(column).or(here.now(column))));
        let archs: Vec<&str> = still.iter().map(|here| here.name).collect();
        if still.len() < there {
            self.divide(
                &place,
                format!("{what} is gone on some architectures"),
                "arch",
                &list(&archs),
            );
        } else if resized {
            let sizes = still.iter().filter_map(|here| size(here.now(column)));
            let sizes: BTreeSet<u64> = sizes.collect();
            let before = still.iter().find_map(|here| size(here.before(column)));
            if let Some((key, value)) = resize(field, &sizes, before) {
                self.divide(&place, format!("{what} has another size"), key, &value);
            }
        }
    }

    /// Adds a field, with the members inside, where C has it: beside the fields around it, in the
    /// same union.
    fn added(&mut self, subject: &Subject<'d>, path: &str, column: &Column<Extent>, what: &str) {
        let fresh: Vec<Here<'_>> = subject
            .columns
            .iter()
            .filter(|here| here.now(column).is_some() && here.before(column).is_none())
            .copied()
            .collect();
        if fresh.is_empty() {
            return;
        }
        let Some((home, side)) = subject.home(path, &fresh) else { return };
        let since = format!("since: {}", self.since);
        // A field of the struct itself, not of a union in it.
        let style = match subject.described.kind {
            _ if home.steps.len() > subject.described.head.place.steps.len() + 2 => Style::INNER,
            StructKind::Block => Style::BLOCK,
            StructKind::Argument => Style::ARGUMENT,
        };
        let archs: Vec<&str> = subject.columns.iter().map(|here| here.name).collect();
        let members = tree(subject.facts, path, &fresh);
        let mut lines = Vec::new();
        let style = Style { since: &since, ..style };
        self.lines(subject.facts, &members, (0, style), &archs, &mut lines);
        let lines: Vec<String> = lines.into_iter().map(|line| line[2..].to_owned()).collect();
        self.edit(&home, format!("{what} is new"), |editor| editor.insert(&home, side, &lines));
    }

    /// Follows the size that the description states.
    fn size(&mut self, subject: &Subject<'d>) {
        let Some(stated) = &subject.described.size else { return };
        let place = item(&subject.described.head.place).key("size");
        let sizes =
            subject.columns.iter().filter_map(|here| Some((*here, here.now(&subject.facts.size)?)));
        let sizes: Vec<(Here<'_>, u64)> = sizes.collect();
        let differs = sizes.iter().any(|(here, size)| stated.get(here.arch) != Some(size));
        if !differs {
            return;
        }
        let what =
            |size| format!("{}.yaml: `struct {}` has {size} bytes", place.file, subject.name);
        match stated {
            PerArch::Each(_) => {
                for (here, size) in &sizes {
                    let place = place.key(here.name);
                    self.edit(&place, what(size), |editor| editor.set(&place, &size.to_string()));
                }
            }
            PerArch::Same(_) => {
                let same = sizes.iter().all(|(_, size)| *size == sizes[0].1);
                let each = sizes.iter().map(|(here, size)| format!("{}: {size}", here.name));
                let text = match same {
                    true => sizes[0].1.to_string(),
                    false => format!("{{ {} }}", each.collect::<Vec<_>>().join(", ")),
                };
                self.edit(&place, what(&sizes[0].1), |editor| editor.set(&place, &text));
            }
        }
    }
}

impl<'d> Subject<'d> {
    fn file(&self) -> &'d str {
        &self.described.head.place.file
    }

    /// Leaves out the fields that the newest described release has not.
    fn keep_newest(&mut self, bump: &Bump<'d>) {
        for fields in self.fields.values_mut() {
            fields.retain(|field| !bump.columns_of(&field.head).is_empty());
        }
        self.fields.retain(|_, fields| !fields.is_empty());
    }

    /// Returns the described item beside which a new field stands.
    fn home(&self, path: &str, fresh: &[Here<'_>]) -> Option<(Place, Side)> {
        let outer = path.rsplit_once('.').map(|(outer, _)| outer);
        if let Some(outer) = outer {
            // Only unions and structs that are written out have a place for members.
            let fields = self.fields.get(outer)?;
            fields.iter().any(|field| !field.members().is_empty()).then_some(())?;
        }
        let siblings = self
            .facts
            .members
            .iter()
            .filter(|(known, _)| known.rsplit_once('.').map(|(outer, _)| outer) == outer);
        let siblings: Vec<&(String, Column<Extent>)> = siblings.collect();
        let at = siblings.iter().position(|(known, _)| known == path)?;
        let described = |known: &str| self.fields.get(known).and_then(|fields| fields.last());
        let before = siblings[..at]
            .iter()
            .rev()
            .find_map(|(known, column)| Some((described(known)?, column)));
        let Some((field, column)) = before else {
            let behind = siblings[at..].iter().find_map(|(known, _)| described(known))?;
            return Some((item(&behind.head.place), Side::Before));
        };
        let place = item(&field.head.place);
        // Behind an anonymous union, unless it overlaps its members.
        let overlaps = fresh.iter().any(|here| {
            let (new, old) = (here.now(&siblings[at].1), here.now(column));
            new.zip(old).is_some_and(|(new, old)| new.offset < old.offset + old.size)
        });
        let union = self.anonymous(&place).filter(|_| !overlaps);
        Some((union.unwrap_or(place), Side::Behind))
    }

    /// Returns the anonymous union that a field is a member of.
    fn anonymous(&self, place: &Place) -> Option<Place> {
        let mut fields: Vec<&Field> = self.described.fields.iter().collect();
        while let Some(field) = fields.pop() {
            if let Shape::Union { members, anonymous: true } = &field.shape
                && members.iter().any(|member| item(&member.head.place) == *place)
            {
                return Some(item(&field.head.place));
            }
            fields.extend(field.members());
        }
        None
    }

    /// Returns whether the union or struct that holds the field is lost as well.
    fn outer_is_lost(&self, place: &Place) -> bool {
        let lost = |path: &str| {
            let column = self.facts.member(path);
            column.is_some_and(|column| self.columns.iter().all(|here| here.now(column).is_none()))
        };
        let holds = |field: &&Field| {
            field.members().iter().any(|member| item(&member.head.place) == item(place))
        };
        let mut fields = self.fields.iter();
        fields.any(|(path, fields)| fields.iter().any(holds) && lost(path))
    }
}

/// Notes the fields by their paths in C; members of an anonymous union stand where it stands.
fn collect<'d>(list: &'d [Field], prefix: &str, fields: &mut Fields<'d>) {
    for field in list {
        let anonymous = matches!(field.shape, Shape::Union { anonymous: true, .. });
        let inner = match field.head.c.as_ref().filter(|_| !anonymous) {
            Some(name) => {
                let path = format!("{prefix}{name}");
                fields.entry(path.clone()).or_default().push(field);
                format!("{path}.")
            }
            None => prefix.to_owned(),
        };
        collect(field.members(), &inner, fields);
    }
}

/// Returns the key that gives a field another size, and its value.
fn resize(
    field: &Field,
    sizes: &BTreeSet<u64>,
    before: Option<u64>,
) -> Option<(&'static str, String)> {
    let size = *sizes.first().filter(|_| sizes.len() == 1)?;
    match (&field.shape, &field.count) {
        (Shape::Type(_), _) if size == 0 => Some(("count", "flexible".to_owned())),
        (Shape::Type(_), Some(PerArch::Same(Count::Number(count)))) => {
            let element = before? / count;
            (element > 0 && size % element == 0 && size > 0)
                .then(|| ("count", (size / element).to_string()))
        }
        (Shape::Type(TypeRef::Primitive(_)), None) => {
            matches!(size, 1 | 2 | 4 | 8).then(|| ("type", format!("u{}", size * 8)))
        }
        _ => None,
    }
}
