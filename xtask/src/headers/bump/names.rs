//! Constants, numbers of commands, bits, and strings.

use super::edit::{WIDTH, item};
use super::{Bump, Here, list};
use crate::document::{ArchId, ArchSet, Enumeration, Head, Word};
use crate::headers::facts::{Column, Text};
use crate::headers::verify;
use crate::yaml::{Place, Step};
use std::collections::{BTreeMap, BTreeSet};

/// The section of constants, whose values may differ by architecture.
const CONSTANTS: &str = "constants";

/// A constant that the new release has on some architectures, and the one before had not.
struct New<'f> {
    name: &'f str,
    header: String,
    archs: Vec<&'f str>,
    set: ArchSet,
    values: Vec<i128>,
}

impl New<'_> {
    /// Returns the value, if all architectures agree.
    fn value(&self) -> Option<i128> {
        self.values.first().copied().filter(|first| self.values.iter().all(|of| of == first))
    }
}

/// Where a new constant belongs: the length of the prefix, the list, and the lines of the item.
type Group = (usize, Place, Vec<String>);

impl<'d> Bump<'d> {
    /// Ends the described constants that the headers lost, and divides those with another value or
    /// on other architectures.
    pub(super) fn constants(&mut self) {
        for (name, head, key) in verify::newest_claims(self.document) {
            let Some(column) = self.facts.constants.get(name) else { continue };
            let columns = self.columns_of(head);
            if columns.iter().all(|here| here.before(column).is_none()) {
                continue;
            }
            let place = item(&head.place);
            let file = &place.file;
            let still: Vec<Here<'_>> =
                columns.iter().filter(|here| here.now(column).is_some()).copied().collect();
            if still.is_empty() {
                self.end(&place, format!("{file}.yaml: `{name}` is gone"));
                continue;
            }
            self.follow_header(head, name);
            let what = format!("{file}.yaml: `{name}` has another value");
            let archs: Vec<&str> = still.iter().map(|here| here.name).collect();
            if still.iter().any(|here| here.now(column) != here.before(column)) {
                let is_constant = place.steps.first() == Some(&Step::Key(CONSTANTS.to_owned()));
                let values: Vec<i128> = still.iter().filter_map(|here| here.now(column)).collect();
                let same = values.iter().all(|value| *value == values[0]);
                if matches!(key, "value" | "number") && (same || is_constant) {
                    self.divide(&place, what, key, &value_of(&archs, &values));
                }
            } else if still.len() < columns.len() {
                self.divide(&place, what, "arch", &list(&archs));
            }
        }
    }

    /// Ends the strings that the headers lost, and divides those with another text.
    pub(super) fn strings(&mut self) {
        for described in self.document.files.iter().flat_map(|file| &file.strings) {
            let head = &described.head;
            let name = head.c.as_deref().unwrap_or_default();
            let Some(column) = self.facts.texts.get(name) else { continue };
            let columns = self.columns_of(head);
            if columns.iter().all(|here| here.now(column) == here.before(column)) {
                if !columns.is_empty() {
                    self.follow_header(head, name);
                }
                continue;
            }
            let place = item(&head.place);
            let file = &place.file;
            let texts: Vec<(&str, String)> = strings(&columns, column);
            if texts.is_empty() {
                self.end(&place, format!("{file}.yaml: `{name}` is gone"));
            } else {
                let what = format!("{file}.yaml: `{name}` has another text");
                self.divide(&place, what, "value", &text_of(&texts));
            }
        }
    }

    /// Adds the strings that the release before has not, on some architectures, and names macros.
    pub(super) fn new_strings(&mut self) {
        let newest = self.document.manifest.newest();
        let mut described: BTreeMap<&str, ArchSet> = BTreeMap::new();
        for head in self.document.files.iter().flat_map(|file| &file.strings).map(|of| &of.head) {
            let there = head.availability.releases.contains(newest);
            if let Some(name) = head.c.as_deref().filter(|_| there) {
                described.entry(name).or_default().add(head.availability.archs);
            }
        }
        for (name, column) in &self.facts.texts {
            let covered = described.get(name.as_str()).copied().unwrap_or_default();
            let fresh = self
                .columns
                .iter()
                .filter(|here| here.before(column).is_none() && !covered.contains(here.arch));
            let fresh: Vec<Here<'_>> =
                fresh.filter(|here| here.now(column).is_some()).copied().collect();
            let header = (!fresh.is_empty()).then(|| self.header(name)).flatten();
            let Some(header) = header else { continue };
            let texts = strings(&fresh, column);
            if self.rules.omit_text(name, &header, !texts.is_empty()) {
                continue;
            }
            if texts.is_empty() {
                let reason = "give the reason in facts/undescribed.txt";
                self.proposal.left.push(format!("`{name}` of {header} is a new macro: {reason}"));
                continue;
            }
            let archs: Vec<&str> = texts.iter().map(|(arch, _)| *arch).collect();
            let archs = self.arch_key(&archs);
            let (value, since) = (format!("value: {},", text_of(&texts)), &self.since);
            let mut lines = vec![
                format!("{{ name: {name}, {value} since: {since},{archs}"),
                "  judge: \"doc\" }".to_owned(),
            ];
            if lines[0].len() + 4 > WIDTH {
                lines[0] = format!("{{ name: {name}, since: {since},{archs}");
                lines.insert(1, format!("  {value}"));
            }
            let what = format!("`{name}` of {header} is new");
            self.add(&header, "strings", lines, what);
        }
    }

    /// Adds the constants that the release before has not, on some architectures.
    pub(super) fn new_constants(&mut self, structs: &BTreeSet<String>) {
        let mut described: BTreeMap<&str, ArchSet> = BTreeMap::new();
        for (name, head, _) in verify::newest_claims(self.document) {
            described.entry(name).or_default().add(head.availability.archs);
        }
        let facts = self.facts;
        let fresh = facts.constants.iter().filter_map(|(name, column)| {
            let covered = described.get(name.as_str()).copied().unwrap_or_default();
            let fresh = self
                .columns
                .iter()
                .filter(|here| here.before(column).is_none() && !covered.contains(here.arch));
            let fresh: Vec<_> = fresh.filter_map(|here| Some((*here, here.now(column)?))).collect();
            let header = (!fresh.is_empty()).then(|| self.header(name)).flatten()?;
            (!self.rules.omit_constant(name, &header)).then(|| New {
                name,
                header,
                archs: fresh.iter().map(|(here, _)| here.name).collect(),
                set: fresh
                    .iter()
                    .map(|(here, _)| here.arch)
                    .collect::<Vec<ArchId>>()
                    .into_iter()
                    .collect(),
                values: fresh.iter().map(|(_, value)| *value).collect(),
            })
        });
        let mut fresh: Vec<New<'_>> = fresh.collect();
        fresh.sort_by_cached_key(|new| (new.header.clone(), new.values.first().copied()));
        // The constants first, and then the numbers of bits that no constant took along.
        let is_index = |new: &&New<'_>| index_of(new, &fresh).is_some();
        let (indices, others): (Vec<&New<'_>>, Vec<&New<'_>>) = fresh.iter().partition(is_index);
        let mut taken = BTreeSet::new();
        for new in others.into_iter().chain(indices) {
            if !taken.contains(new.name) && !self.name_later(new) {
                taken.extend(self.new_constant(new, &fresh, structs));
            }
        }
    }

    /// Gives its name to an item with the same value that the headers had no name for.
    fn name_later(&mut self, new: &New<'_>) -> bool {
        let document = self.document;
        let value = new.value();
        let enumerations = document.files.iter().flat_map(|file| &file.enumerations);
        let values = enumerations.flat_map(|of| {
            let same = of.values.iter().filter(|known| Some(known.value) == value);
            same.map(|known| (&known.head, format!("{}{}", of.prefix, known.head.name)))
        });
        let constants = document.files.iter().flat_map(|file| &file.constants);
        let constants = constants
            .filter(|known| known.value.values().all(|known| Some(*known) == value))
            .map(|known| (&known.head, known.head.name.clone()));
        let mut same = values.chain(constants).filter(|(_, name)| name == new.name);
        same.find(|(head, _)| head.c.is_none()).is_some_and(|(head, _)| self.name(head, new.name))
    }

    /// Adds a constant; returns the name of the constant that is the number of its bit, if the
    /// item has both.
    fn new_constant(
        &mut self,
        new: &New<'_>,
        all: &[New<'_>],
        structs: &BTreeSet<String>,
    ) -> Option<String> {
        let New { name, header, .. } = new;
        let since = self.since.clone();
        let archs = self.arch_key(&new.archs);
        let what = format!("`{name}` of {header} is new");
        let group = self.groups(new, all, structs).into_iter().max_by_key(|(length, ..)| *length);
        if let Some((_, place, mut lines)) = group {
            let is_command = place.steps.first() == Some(&Step::Key("commands".to_owned()));
            // A command has the header of its file.
            let own = self.editor(&place.file).and_then(|editor| editor.header());
            if is_command && own.as_ref() != Some(header) {
                lines.insert(1, format!("  header: {header},"));
            }
            if self.edit(&place, what.clone(), |editor| editor.append(&place, &lines)) {
                let index = Some(format!("_{name}"));
                return index.filter(|index| lines[0].contains(&format!("index_c: {index},")));
            }
        }
        let widest = new.values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
        let negative = new.values.iter().any(|value| *value < 0);
        let type_ = match (negative, widest > u128::from(u32::MAX)) {
            (false, false) => "u32",
            (false, true) => "u64",
            (true, false) => "i32",
            (true, true) => "i64",
        };
        let value = value_of(&new.archs, &new.values);
        let lines = vec![
            format!("{{ name: {name}, type: {type_}, value: {value}, since: {since},{archs}"),
            "  judge: \"type, doc\" }".to_owned(),
        ];
        self.add(header, CONSTANTS, lines, what);
        None
    }

    /// Returns the groups whose prefix the constant has.
    fn groups(&self, new: &New<'_>, all: &[New<'_>], structs: &BTreeSet<String>) -> Vec<Group> {
        let files = &self.document.files;
        let newest = self.document.manifest.newest();
        let Some(value) = new.value() else { return Vec::new() };
        let here = |head: &Head| head.header == new.header;
        let open = |head: &Head| {
            here(head)
                && head.availability.releases.until == newest
                && head.availability.archs.and(new.set) == new.set
        };
        let since = &self.since;
        let archs = self.arch_key(&new.archs);
        let rest = |prefix: &str| new.name.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        let mut groups: Vec<Group> = Vec::new();
        for set in files.iter().flat_map(|file| &file.commands) {
            let ours = set.list.iter().any(|command| here(&command.head));
            if let (Some(short), true) = (rest(&set.prefix), ours) {
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
            let taken = !alias
                && values
                    .iter()
                    .any(|known| known.value == value && known.head.c.as_deref() != Some(new.name));
            if let (Some(short), true, false) = (rest(prefix), open(head), taken) {
                let value = number(value);
                let line = format!(
                    "{{ name: {short}, value: {value}, since: {since},{archs} judge: \"doc\" }}"
                );
                groups.push((prefix.len(), item(&head.place).key("values"), vec![line]));
            }
        }
        for of @ Word { head, prefix, .. } in files.iter().flat_map(|file| &file.words) {
            if let (Some(short), true, Some(bits)) = (rest(prefix), open(head), bits(value, of)) {
                let index = all.iter().find(|index| {
                    index_of(index, all) == Some(index.name)
                        && index.name == format!("_{}", new.name)
                });
                let index = index.map_or_else(String::new, |of| format!(" index_c: {},", of.name));
                let line = format!(
                    "{{ name: {short}, bits: {bits}, since: {since},{index}{archs} judge: \
                     \"doc\" }}"
                );
                groups.push((prefix.len(), item(&head.place).key("fields"), vec![line]));
            }
        }
        groups
    }
}

/// Returns the name of a constant that is the number of another new constant's only bit: Xen's
/// `_XENFEAT` of `XENFEAT`.
fn index_of<'f>(new: &New<'f>, all: &[New<'f>]) -> Option<&'f str> {
    let of = all.iter().find(|of| new.name.strip_prefix('_') == Some(of.name))?;
    let (index, value) = (u32::try_from(new.value()?).ok()?, of.value()?);
    (1_i128.checked_shl(index) == Some(value) && new.set == of.set).then_some(new.name)
}

/// Returns the bits of a mask that no field of the word has.
fn bits(value: i128, word: &Word) -> Option<String> {
    let value = u64::try_from(value).ok().filter(|value| *value != 0)?;
    let free = word.fields.iter().all(|field| field.bits.mask() & value == 0);
    let (low, width) = (value.trailing_zeros(), value.count_ones());
    let whole = (value >> low).trailing_ones() == width;
    (free && whole).then(|| match width {
        1 => low.to_string(),
        width => format!("\"{}:{low}\"", low + width - 1),
    })
}

fn strings<'d>(columns: &[Here<'d>], column: &Column<Text>) -> Vec<(&'d str, String)> {
    let texts = columns.iter().filter_map(|here| match here.now(column)? {
        Text::String(text) => Some((here.name, format!("\"{text}\""))),
        Text::Macro { .. } => None,
    });
    texts.collect()
}

fn text_of(texts: &[(&str, String)]) -> String {
    let (archs, texts): (Vec<&str>, Vec<String>) = texts.iter().cloned().unzip();
    per_arch(&archs, &texts)
}

fn value_of(archs: &[&str], values: &[i128]) -> String {
    let values: Vec<String> = values.iter().map(|value| number(*value)).collect();
    per_arch(archs, &values)
}

/// Returns one value, or one for each architecture.
fn per_arch(archs: &[&str], values: &[String]) -> String {
    match values {
        [first, rest @ ..] if rest.iter().all(|value| value == first) => first.clone(),
        _ => {
            let each = archs.iter().zip(values).map(|(arch, value)| format!("{arch}: {value}"));
            format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Small numbers are counted, large ones are masks and addresses.
fn number(value: i128) -> String {
    if value < 0x1000 { value.to_string() } else { format!("{value:#X}").replace("0X", "0x") }
}
