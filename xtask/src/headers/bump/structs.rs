//! Structs that the release before has not.

use super::{Bump, Here, list};
use crate::document::Head;
use crate::headers::facts::{Column, Extent, StructFacts};
use std::collections::BTreeSet;

/// A member and the members inside.
pub(super) struct Member<'f> {
    name: &'f str,
    path: &'f str,
    column: &'f Column<Extent>,
    inner: Vec<Member<'f>>,
}

/// Where a new field lies on an architecture.
struct Spot {
    extent: Extent,
    /// The end of what lies before it.
    end: u64,
    /// The most that it can be aligned to, for all that holds it is not aligned to more.
    limit: u64,
    pointer: u64,
    align_u64: u64,
}

impl Spot {
    /// Returns whether C would place elements of this width here.
    fn fits(&self, width: u64) -> bool {
        let align = if width == 8 { self.align_u64 } else { width };
        let Extent { offset, size } = self.extent;
        size % width == 0 && align <= self.limit && self.end.next_multiple_of(align) == offset
    }
}

/// Returns the type of a field as keys: an integer, or an array of those that C would align so.
fn type_of(spots: &[Spot]) -> Option<String> {
    let sizes: BTreeSet<u64> = spots.iter().map(|spot| spot.extent.size).collect();
    let fits = |width: u64| spots.iter().all(|spot| spot.fits(width));
    Some(match sizes.iter().copied().collect::<Vec<_>>()[..] {
        [size @ (1 | 2 | 4 | 8)] if fits(size) => format!("type: u{}", size * 8),
        [0] => {
            let width = [1, 2, 4, 8].into_iter().find(|width| fits(*width)).unwrap_or(1);
            format!("type: u{}, count: flexible", width * 8)
        }
        [size] => {
            let width = [1, 2, 4, 8].into_iter().find(|width| fits(*width)).unwrap_or(1);
            format!("type: u{}, count: {}", width * 8, size / width)
        }
        [4, 8] if spots.iter().all(|spot| spot.extent.size == spot.pointer) => {
            "type: ulong".to_owned()
        }
        _ => return None,
    })
}

impl<'d> Bump<'d> {
    /// Adds the structs that the release before has not. Returns the names of all that a command
    /// may take.
    pub(super) fn new_structs(&mut self) -> BTreeSet<String> {
        let newest = self.document.manifest.newest();
        let heads = self.document.files.iter().flat_map(|file| {
            file.structs
                .iter()
                .map(|item| &item.head)
                .chain(file.types.iter().map(|item| &item.head))
        });
        let described = heads.filter(|head| head.availability.releases.contains(newest));
        let mut known: BTreeSet<String> = described.filter_map(|head| head.c.clone()).collect();
        for (name, facts) in &self.facts.structs {
            let fresh = |here: &&Here<'_>| {
                here.now(&facts.size).is_some() && here.before(&facts.size).is_none()
            };
            let archs: Vec<&str> =
                self.columns.iter().filter(fresh).map(|here| here.name).collect();
            let header = self.header(&format!("struct {name}")).filter(|_| !archs.is_empty());
            let Some(header) = header else { continue };
            if known.contains(name) || self.rules.omit_struct(name, &header) {
                continue;
            }
            let same = |head: &&Head| head.name == *name;
            let files = self.document.files.iter();
            let older = files.flat_map(|file| &file.structs).map(|item| &item.head).find(same);
            if older.is_some_and(|head| self.name(head, name)) {
                continue;
            }
            // A key is unique in its section: one that comes back has another.
            let mut lines = match older {
                None => vec![format!("{name}:")],
                Some(_) => {
                    let since = self.since.trim_matches('"').replace('.', "_");
                    vec![format!("{name}_{since}:"), format!("  c: {name}")]
                }
            };
            lines.push(format!("  since: {}", self.since));
            let key = self.arch_key(&archs);
            if !key.is_empty() {
                lines.push(format!(" {}", key.trim_end_matches(',')));
            }
            lines.push("  judge: \"block or argument, doc\"".to_owned());
            lines.push("  fields:".to_owned());
            let members = tree(facts, "", &self.columns);
            self.lines(facts, &members, (4, Style::ARGUMENT), &archs, &mut lines);
            self.add(&header, "arguments", lines, format!("`struct {name}` of {header} is new"));
            known.insert(name.clone());
        }
        known
    }

    /// Writes the fields as lines; `of` are the architectures of what holds them.
    pub(super) fn lines(
        &self,
        facts: &StructFacts,
        members: &[Member<'_>],
        (indent, style): (usize, Style<'_>),
        of: &[&str],
        lines: &mut Vec<String>,
    ) {
        let lead = " ".repeat(indent);
        let Style { since, use_, judge } = style;
        for member in members {
            let there = self.columns.iter().filter(|here| here.now(member.column).is_some());
            let there: Vec<Here<'_>> = there.copied().collect();
            let archs: Vec<&str> = there.iter().map(|here| here.name).collect();
            let arch = if archs == of { String::new() } else { format!("arch: {}", list(&archs)) };
            let keys: Vec<&str> =
                [since, &arch, use_].into_iter().filter(|key| !key.is_empty()).collect();
            let name = member.name;
            let spots: Vec<Spot> =
                there.iter().filter_map(|here| self.spot(facts, member, *here)).collect();
            let handle = member.is_handle(&spots).then(|| "type: handle".to_owned());
            if handle.is_some() || member.inner.is_empty() {
                let type_ = handle.or_else(|| type_of(&spots));
                let type_ = type_.unwrap_or_else(|| "type: ulong".to_owned());
                let keys = [&[&*type_], &keys[..]].concat().join(", ");
                lines.push(format!("{lead}- {{ name: {name}, {keys},"));
                lines.push(format!("{lead}    judge: \"type, {judge}\" }}"));
                continue;
            }
            lines.push(format!("{lead}- name: {name}"));
            let keys = keys.iter().flat_map(|key| key.split(", "));
            lines.extend(keys.map(|key| format!("{lead}  {key}")));
            lines.push(format!("{lead}  judge: \"{judge}\""));
            let kind = if is_union(member, &there) { "union" } else { "struct" };
            lines.push(format!("{lead}  {kind}:"));
            self.lines(facts, &member.inner, (indent + 4, Style::INNER), &archs, lines);
        }
    }

    fn spot(&self, facts: &StructFacts, member: &Member<'_>, here: Here<'_>) -> Option<Spot> {
        let extent = here.now(member.column)?;
        let members =
            facts.members.iter().filter_map(|(path, column)| Some((path, here.now(column)?)));
        let ends = members
            .clone()
            .filter(|(_, other)| other.offset < extent.offset)
            .map(|(_, other)| other.offset + other.size)
            .filter(|end| *end <= extent.offset);
        let holds =
            |path: &str| member.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        let outer =
            members.filter(|(path, _)| holds(path)).map(|(_, outer)| outer.offset | outer.size);
        let bits = outer.fold(extent.offset | here.now(&facts.size)?, |bits, outer| bits | outer);
        let arch = self.document.manifest.arch(here.arch);
        Some(Spot {
            extent,
            end: ends.max().unwrap_or(0),
            limit: 1 << bits.trailing_zeros().min(3),
            pointer: arch.pointer_bytes.into(),
            align_u64: arch.align_u64.into(),
        })
    }
}

impl Member<'_> {
    /// Returns whether it is a guest handle: a pointer that stands in a struct or a union.
    fn is_handle(&self, spots: &[Spot]) -> bool {
        self.inner.first().is_some_and(|first| first.name == "p")
            && self.inner.iter().all(|inner| matches!(inner.name, "p" | "q"))
            && spots.iter().all(|spot| spot.extent.size == spot.pointer)
    }
}

/// What a field says besides its type.
#[derive(Clone, Copy)]
pub(super) struct Style<'s> {
    /// Its first release, as a key.
    pub(super) since: &'s str,
    /// Its direction or access, as keys.
    pub(super) use_: &'s str,
    /// What a person must decide besides the type.
    pub(super) judge: &'s str,
}

impl Style<'static> {
    /// A field of an argument.
    pub(super) const ARGUMENT: Self =
        Self { since: "", use_: "direction: in", judge: "direction, doc" };
    /// A field of a block.
    pub(super) const BLOCK: Self =
        Self { since: "", use_: "access: plain, writer: xen", judge: "access, doc" };
    /// A member of a union or of an inner struct.
    pub(super) const INNER: Self = Self { since: "", use_: "", judge: "doc" };
}

/// Returns whether the members inside lie in the same place.
fn is_union(member: &Member<'_>, there: &[Here<'_>]) -> bool {
    let Some(here) = there.first() else { return false };
    let inner: Vec<Extent> =
        member.inner.iter().filter_map(|inner| here.now(inner.column)).collect();
    inner.windows(2).any(|pair| pair[0].offset == pair[1].offset && pair[0].size > 0)
}

/// Returns the members of the new release as a tree: those of this path, or below it.
pub(super) fn tree<'f>(
    facts: &'f StructFacts,
    path: &str,
    columns: &[Here<'_>],
) -> Vec<Member<'f>> {
    let mut root: Vec<Member<'f>> = Vec::new();
    let outer = path.rfind('.').map_or(0, |dot| dot + 1);
    for (known, column) in &facts.members {
        let rest = known
            .strip_prefix(path)
            .filter(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('.'));
        if rest.is_none() || columns.iter().all(|here| here.now(column).is_none()) {
            continue;
        }
        let mut level = &mut root;
        let mut steps = known[outer..].split('.').peekable();
        while let Some(step) = steps.next() {
            let at = level.iter().position(|member| member.name == step);
            let at = at.unwrap_or_else(|| {
                level.push(Member { name: step, path: known, column, inner: Vec::new() });
                level.len() - 1
            });
            if steps.peek().is_some() {
                level = &mut level[at].inner;
            }
        }
    }
    root
}
