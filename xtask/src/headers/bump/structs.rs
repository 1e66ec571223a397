//! New structs of headers that are described.

use super::Bump;
use crate::headers::facts::{Cell, Column, Extent, StructFacts};
use std::collections::BTreeSet;

/// A member and the members inside.
struct Member<'f> {
    name: &'f str,
    column: &'f Column<Extent>,
    inner: Vec<Member<'f>>,
}

/// Returns the type of a field that has these sizes on the architectures: `type: u32`.
pub(super) fn type_of(sizes: &BTreeSet<u64>) -> Option<String> {
    Some(match sizes.iter().copied().collect::<Vec<_>>()[..] {
        [size @ (1 | 2 | 4 | 8)] => format!("type: u{}", size * 8),
        [0] => "type: u8, count: flexible".to_owned(),
        [size] => format!("type: u8, count: {size}"),
        [4, 8] => "type: ulong".to_owned(),
        _ => return None,
    })
}

impl Bump<'_> {
    /// Adds the structs that no earlier release has, to the first file that describes something of
    /// their header; returns the names of all that a command may take.
    pub(super) fn new_structs(&mut self) -> BTreeSet<String> {
        let files = &self.document.files;
        let described = files.iter().flat_map(|file| &file.structs);
        let mut known: BTreeSet<String> =
            described.filter_map(|item| item.head.c.clone()).collect();
        for (name, facts) in &self.facts.structs {
            let key = format!("struct {name}");
            let Some(header) = self.new_header(&key, facts.size.cells()) else { continue };
            if known.contains(name) || self.rules.omit_struct(name, &header) {
                continue;
            }
            let of_header = |header: &str| {
                files.iter().find(|file| {
                    let structs = file.structs.iter().map(|item| &item.head);
                    let commands = file.commands.iter().flat_map(|set| &set.list);
                    let constants = file.constants.iter().map(|item| &item.head);
                    let enumerations = file.enumerations.iter().map(|item| &item.head);
                    let mut heads = structs
                        .chain(commands.map(|item| &item.head))
                        .chain(constants)
                        .chain(enumerations);
                    heads.any(|head| head.header == header)
                })
            };
            let Some(file) = of_header(&header) else { continue };
            let mut lines = vec![format!("{name}:"), format!("  since: {}", self.since)];
            let archs = self.archs(|cell| facts.size.get(cell).is_some());
            if let Some(archs) = &archs {
                lines.push(format!("  arch: {archs}"));
            }
            lines.push("  judge: \"block or argument, doc\"".to_owned());
            lines.push("  fields:".to_owned());
            self.lines(&tree(facts, &self.now), (4, true), archs.as_deref(), &mut lines);
            let what = format!("{}.yaml: `struct {name}` is new", file.name);
            let editor = self.editors.get_mut(file.name.as_str());
            let done = editor.is_some_and(|editor| editor.append_entry("arguments", &lines));
            let list = if done { &mut self.proposal.done } else { &mut self.proposal.left };
            list.push(what);
            known.insert(name.clone());
        }
        known
    }

    /// Writes the fields as lines, those of the outermost struct with a direction; `of` are the
    /// architectures of what holds them.
    fn lines(
        &self,
        members: &[Member<'_>],
        (indent, outer): (usize, bool),
        of: Option<&str>,
        lines: &mut Vec<String>,
    ) {
        let lead = " ".repeat(indent);
        for member in members {
            let here: Vec<Extent> =
                self.now.iter().filter_map(|cell| member.column.get(*cell)).collect();
            let sizes = here.iter().map(|extent| extent.size).collect();
            let archs = self.archs(|cell| member.column.get(cell).is_some());
            let archs = archs.filter(|archs| Some(archs.as_str()) != of);
            let archs = archs.map_or_else(String::new, |archs| format!(", arch: {archs}"));
            let use_ = if outer { ", direction: in" } else { "" };
            let judge = if outer { "type, direction, doc" } else { "type, doc" };
            let name = member.name;
            if member.inner.is_empty() {
                let type_ = type_of(&sizes).unwrap_or_else(|| "type: ulong".to_owned());
                lines.push(format!("{lead}- {{ name: {name}, {type_}{archs}{use_},"));
                lines.push(format!("{lead}    judge: \"{judge}\" }}"));
                continue;
            }
            lines.push(format!("{lead}- name: {name}"));
            if outer {
                lines.push(format!("{lead}  direction: in"));
            }
            lines.push(format!("{lead}  judge: \"{}\"", judge.trim_start_matches("type, ")));
            let kind = if self.is_union(member) { "union" } else { "struct" };
            lines.push(format!("{lead}  {kind}:"));
            self.lines(&member.inner, (indent + 4, false), of, lines);
        }
    }

    /// Returns whether the members inside lie in the same place.
    fn is_union(&self, member: &Member<'_>) -> bool {
        let Some(cell) = self.now.iter().find(|cell| member.column.get(**cell).is_some()) else {
            return false;
        };
        let inner: Vec<Extent> =
            member.inner.iter().filter_map(|inner| inner.column.get(*cell)).collect();
        inner.windows(2).any(|pair| pair[0].offset == pair[1].offset && pair[0].size > 0)
    }
}

/// Returns the members of the new release as a tree, by their paths.
fn tree<'f>(facts: &'f StructFacts, now: &[Cell]) -> Vec<Member<'f>> {
    let mut root: Vec<Member<'f>> = Vec::new();
    for (path, column) in &facts.members {
        if now.iter().all(|cell| column.get(*cell).is_none()) {
            continue;
        }
        let mut level = &mut root;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let at = level.iter().position(|member| member.name == step);
            let at = at.unwrap_or_else(|| {
                level.push(Member { name: step, column, inner: Vec::new() });
                level.len() - 1
            });
            if steps.peek().is_some() {
                level = &mut level[at].inner;
            }
        }
    }
    root
}
