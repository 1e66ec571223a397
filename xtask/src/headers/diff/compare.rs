//! The comparison of two states.

use super::{Change, Consequence, Kind, State, Step};
use crate::headers::facts::{Extent, StructTable, Table, Text};
use std::collections::BTreeMap;

/// Returns every change from one state to another, by header and name, on the architectures of
/// both.
#[must_use]
pub fn compare(from: &State, to: &State) -> Vec<Change> {
    let mut found: BTreeMap<Change, Vec<String>> = BTreeMap::new();
    for new in &to.tables {
        let Some(old) = from.tables.iter().find(|table| table.arch == new.arch) else { continue };
        let mut pair = Pair { from, to, old, new, changes: Vec::new() };
        pair.constants();
        pair.texts();
        pair.structs();
        for change in pair.changes {
            found.entry(change).or_default().push(new.arch.clone());
        }
    }
    found.into_iter().map(|(change, archs)| Change { archs, ..change }).collect()
}

/// The two tables of an architecture.
struct Pair<'s> {
    from: &'s State,
    to: &'s State,
    old: &'s Table,
    new: &'s Table,
    changes: Vec<Change>,
}

/// What a change means.
type Meaning = (Consequence, Step);

const COMPATIBLE: Meaning = (Consequence::Compatible, Step::Patch);
const BREAKING: Meaning = (Consequence::Breaking, Step::Major);

impl Pair<'_> {
    /// What something means that only one of the states has. xen-pac has the items of all
    /// releases, so what only a newer or an older release has needs a check at run time.
    fn gained(&self) -> Meaning {
        if self.old.release == self.new.release {
            (Consequence::Compatible, Step::Minor)
        } else {
            (Consequence::RuntimeCheck, Step::Minor)
        }
    }

    fn lost(&self) -> Meaning {
        if self.old.release == self.new.release { BREAKING } else { self.gained() }
    }

    /// Adds a change of `name`, which stands in the header of `key`.
    fn add(&mut self, key: &str, name: &str, kind: Kind, detail: String, meaning: Meaning) {
        let header = self.new.places.get(key).or_else(|| self.old.places.get(key));
        self.changes.push(Change {
            header: header.map_or_else(String::new, |header| header.to_string()),
            name: name.to_owned(),
            kind,
            detail,
            consequence: meaning.0,
            step: meaning.1,
            archs: Vec::new(),
        });
    }

    fn constants(&mut self) {
        let (before, after) = (self.old, self.new);
        let (old, new) = (&before.constants, &after.constants);
        let header = |name: &str| after.places.get(name).or_else(|| before.places.get(name));
        let renamed = renamed(old, new, |name| header(name).map(|header| &**header));
        for (name, value) in new {
            match old.get(name) {
                Some(was) if same(*was, *value) => {}
                Some(was) => {
                    let bound =
                        ["MAX", "NR_", "_NR", "COUNT"].iter().any(|part| name.contains(part));
                    let meaning = if bound { self.gained() } else { BREAKING };
                    self.add(name, name, Kind::Value, format!("{was} becomes {value}"), meaning);
                }
                None => match renamed.iter().find(|(_, to)| *to == name) {
                    Some((from, _)) => {
                        let detail = format!("was `{from}`, with the same value {value}");
                        self.add(name, name, Kind::Renamed, detail, self.lost());
                    }
                    None => self.add(name, name, Kind::Added, format!("= {value}"), self.gained()),
                },
            }
        }
        for (name, value) in old {
            if !new.contains_key(name) && !renamed.iter().any(|(from, _)| *from == name) {
                self.add(name, name, Kind::Removed, format!("was {value}"), self.lost());
            }
        }
    }

    fn texts(&mut self) {
        let (before, after) = (self.old, self.new);
        let (old, new) = (&before.texts, &after.texts);
        let header = |name: &str| after.places.get(name).or_else(|| before.places.get(name));
        let renamed = renamed(old, new, |name| header(name).map(|header| &**header));
        // xen-pac has the strings, and no function macros.
        let is_string = |text: &Text| matches!(text, Text::String(_));
        let meaning = |text: &Text, of_string, of_macro| {
            if is_string(text) { of_string } else { of_macro }
        };
        for (name, text) in new {
            match old.get(name) {
                Some(was) if was == text => {}
                Some(was) => {
                    let meaning = match (was, text) {
                        (Text::String(_), Text::String(_)) => BREAKING,
                        (Text::String(_), Text::Macro { .. }) => self.lost(),
                        (Text::Macro { .. }, Text::String(_)) => self.gained(),
                        _ => (Consequence::RuntimeCheck, Step::Patch),
                    };
                    self.add(name, name, Kind::Macro, format!("{was} becomes {text}"), meaning);
                }
                None if before.constants.contains_key(name) && !is_string(text) => {}
                None => match renamed.iter().find(|(_, to)| *to == name) {
                    Some((from, _)) => {
                        let detail = format!("was `{from}`, with the same text {text}");
                        let meaning = meaning(text, self.lost(), COMPATIBLE);
                        self.add(name, name, Kind::Renamed, detail, meaning);
                    }
                    None => {
                        let meaning = meaning(text, self.gained(), COMPATIBLE);
                        self.add(name, name, Kind::Added, text.to_string(), meaning);
                    }
                },
            }
        }
        for (name, was) in old {
            let is_constant = after.constants.contains_key(name) && !is_string(was);
            let stays = new.contains_key(name) || is_constant;
            if !stays && !renamed.iter().any(|(from, _)| *from == name) {
                let meaning = meaning(was, self.lost(), COMPATIBLE);
                self.add(name, name, Kind::Removed, format!("was {was}"), meaning);
            }
        }
    }

    fn structs(&mut self) {
        let (old, new) = (&self.old.structs, &self.new.structs);
        for (name, item) in new {
            let key = format!("struct {name}");
            match old.get(name) {
                Some(was) => self.members(name, was, item),
                None => match alike(item, old, new) {
                    Some(was) => {
                        let detail = format!("was `{was}`, with the same layout");
                        self.add(&key, &key, Kind::Renamed, detail, self.lost());
                    }
                    None => {
                        let detail = format!("{} bytes", item.size);
                        self.add(&key, &key, Kind::Added, detail, self.gained());
                    }
                },
            }
        }
        for (name, item) in old {
            if !new.contains_key(name) && alike(item, new, old).is_none() {
                let key = format!("struct {name}");
                self.add(&key, &key, Kind::Removed, format!("{} bytes", item.size), self.lost());
            }
        }
    }

    fn members(&mut self, name: &str, was: &StructTable, now: &StructTable) {
        let key = format!("struct {name}");
        let path_of = |path: &str| format!("{name}.{path}");
        let find = |table: &StructTable, path: &str| {
            table.members.iter().find(|(known, _)| known == path).map(|(_, extent)| *extent)
        };
        let at = |table: &StructTable, extent: Extent, other: &StructTable| {
            let mut there = table
                .members
                .iter()
                .filter(|(path, here)| *here == extent && find(other, path).is_none());
            let only = there.next().map(|(path, _)| path.clone());
            only.filter(|_| there.next().is_none())
        };
        // What happened to a member is not told again of the members inside it.
        let told = |path: &str| {
            let Some((outer, _)) = path.rsplit_once('.') else { return false };
            match (find(was, outer), find(now, outer)) {
                (None, None) => false,
                (Some(before), Some(after)) => {
                    let inside = |table, outer: Extent| {
                        find(table, path)
                            .map(|here| (here.offset.wrapping_sub(outer.offset), here.size))
                    };
                    before != after && inside(was, before) == inside(now, after)
                }
                _ => true,
            }
        };
        for (path, extent) in now.members.iter().filter(|(path, _)| !told(path)) {
            let full = path_of(path);
            match find(was, path) {
                Some(before) if before == *extent => {}
                Some(before) => {
                    let detail = moved(before, *extent);
                    let meaning = if is_padding(path) { COMPATIBLE } else { BREAKING };
                    self.add(&key, &full, Kind::Field, detail, meaning);
                }
                None if is_padding(path) => {
                    self.add(&key, &full, Kind::Added, place(*extent), COMPATIBLE);
                }
                None => match at(was, *extent, now).filter(|from| !is_padding(from)) {
                    Some(from) => {
                        let detail = format!("was `{from}`, {}", place(*extent));
                        self.add(&key, &full, Kind::Renamed, detail, BREAKING);
                    }
                    None => {
                        let (detail, meaning) = self.new_field(name, path, *extent);
                        self.add(&key, &full, Kind::Added, detail, meaning);
                    }
                },
            }
        }
        for (path, extent) in was.members.iter().filter(|(path, _)| !told(path)) {
            if find(now, path).is_none() && at(now, *extent, was).is_none() {
                let meaning = if is_padding(path) { COMPATIBLE } else { BREAKING };
                self.add(&key, &path_of(path), Kind::Removed, place(*extent), meaning);
            }
        }
        if now.size != was.size {
            let meaning = if now.size > was.size { self.gained() } else { BREAKING };
            let detail = format!("{} bytes become {}", was.size, now.size);
            self.add(&key, &key, Kind::Size, detail, meaning);
        }
    }

    /// Returns a field that was added to a known struct. `new()` of an argument takes each field
    /// that Xen reads, so that one more breaks its callers.
    fn new_field(&self, name: &str, path: &str, extent: Extent) -> (String, Meaning) {
        let place = place(extent);
        let (now, was) = (self.to.parameters.get(name), self.from.parameters.get(name));
        let takes = now.is_some_and(|now| now.iter().any(|field| field == path));
        match now.or(was) {
            _ if takes && was.is_some() => {
                (format!("{place}; `new()` takes it, so that its callers break"), BREAKING)
            }
            Some(_)
                if !takes && !path.contains('.') && self.to.parameters == self.from.parameters =>
            {
                (
                    format!(
                        "{place}; if its direction is `in` or `both`, callers of `new()` break"
                    ),
                    self.gained(),
                )
            }
            _ => (place, self.gained()),
        }
    }
}

/// Equal values; one whose highest bit is set can be negative in C.
fn same(was: i128, now: i128) -> bool {
    was == now || (was < 0) != (now < 0) && (was - now).rem_euclid(1 << 32) == 0
}

/// Returns the pairs of a lost and a gained name that have one header, one value and similar
/// letters, if no other pair of the header has the value.
fn renamed<'n, V: PartialEq>(
    old: &'n BTreeMap<String, V>,
    new: &'n BTreeMap<String, V>,
    header: impl Fn(&str) -> Option<&'n str>,
) -> Vec<(&'n String, &'n String)> {
    let lost: Vec<_> = old.iter().filter(|(name, _)| !new.contains_key(*name)).collect();
    let gained: Vec<_> = new.iter().filter(|(name, _)| !old.contains_key(*name)).collect();
    let fits = |(from, was): (&str, &V), (to, now): (&str, &V)| {
        was == now
            && header(from) == header(to)
            && strsim::normalized_damerau_levenshtein(from, to) > 0.5
    };
    let pairs = lost.iter().filter_map(|(from, was)| {
        let mut there = gained.iter().filter(|(to, now)| fits((from, *was), (to, *now)));
        let (to, _) = there.next().filter(|_| there.clone().next().is_none())?;
        let back = lost.iter().filter(|(other, was)| fits((other, *was), (to, &new[*to]))).count();
        (back == 1).then_some((*from, *to))
    });
    pairs.collect()
}

/// Returns the only struct of `others` with this layout that `own` lacks.
fn alike<'n>(
    item: &StructTable,
    others: &'n BTreeMap<String, StructTable>,
    own: &BTreeMap<String, StructTable>,
) -> Option<&'n String> {
    if item.members.len() < 2 {
        return None;
    }
    let mut there =
        others.iter().filter(|(name, other)| !own.contains_key(*name) && *other == item);
    let (name, _) = there.next()?;
    there.next().is_none().then_some(name)
}

fn is_padding(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    ["pad", "rsvd", "reserved", "unused", "spare"].iter().any(|word| last.contains(word))
}

fn place(extent: Extent) -> String {
    format!("{} bytes at {}", extent.size, extent.offset)
}

fn moved(before: Extent, now: Extent) -> String {
    match (before.size, now.size) {
        (1.., 0) => format!("{} become a flexible array at {}", place(before), now.offset),
        (0, 1..) => format!("a flexible array at {} becomes {}", before.offset, place(now)),
        _ => format!("{} become {}", place(before), place(now)),
    }
}
