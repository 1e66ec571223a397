//! Edits of a YAML text in place: only the lines that must change do, and comments stay.

use crate::yaml::{self, Mapping, Node, Place, Step, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The widest line.
pub(super) const WIDTH: usize = 100;

/// A text and the edits that were made so far. Places are those of the text before all edits.
#[derive(Debug)]
pub(super) struct Editor<'t> {
    text: &'t str,
    root: Node<'t>,
    edits: Vec<(Range<usize>, String)>,
    /// The sections that the text does not have.
    new: Sections,
}

/// On which side of an item another is added.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Before,
    Behind,
}

/// New sections, each with its items.
#[derive(Debug, Default)]
pub(super) struct Sections(BTreeMap<&'static str, Vec<Vec<String>>>);

impl Sections {
    /// Adds an item, by its lines.
    pub(super) fn add(&mut self, section: &'static str, lines: Vec<String>) {
        self.0.entry(section).or_default().push(lines);
    }

    /// Returns the text of a new file for a header.
    pub(super) fn text(&self, header: &str) -> String {
        format!("judge: \"doc\"\nheader: {header}\n{self}")
    }
}

impl fmt::Display for Sections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Constants and strings are sequences, in the order of the other files.
        for section in ["constants", "strings", "arguments"] {
            let Some(items) = self.0.get(section) else { continue };
            write!(out, "\n{section}:\n")?;
            for (index, lines) in items.iter().enumerate() {
                let is_entry = section == "arguments";
                let empty = if is_entry && index > 0 { "\n" } else { "" };
                out.write_str(empty)?;
                for (index, line) in lines.iter().enumerate() {
                    let dash = if is_entry {
                        ""
                    } else if index == 0 {
                        "- "
                    } else {
                        "  "
                    };
                    writeln!(out, "  {dash}{line}")?;
                }
            }
        }
        Ok(())
    }
}

impl<'t> Editor<'t> {
    /// Begins to edit a text; `None` if it is no YAML.
    pub(super) fn new(text: &'t str) -> Option<Self> {
        let root = yaml::read(text).root?;
        Some(Self { text, root, edits: Vec::new(), new: Sections::default() })
    }

    /// Returns the text after all edits.
    pub(super) fn finish(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = self.text.to_owned();
        for (range, new) in self.edits.iter().rev() {
            text.replace_range(range.clone(), new);
        }
        text + &self.new.to_string()
    }

    /// Returns the header of the file.
    pub(super) fn header(&self) -> Option<String> {
        let place = Place::root("").key("header");
        self.node(&place).and_then(Node::text).map(str::to_owned)
    }

    /// Returns the node at a place.
    fn node(&self, place: &Place) -> Option<&Node<'t>> {
        place.steps.iter().try_fold(&self.root, |node, step| match (step, &node.value) {
            (Step::Key(key), Value::Mapping(mapping)) => Some(&mapping.get(key)?.value),
            (Step::Item(index), Value::Sequence(items)) => items.get(*index),
            _ => None,
        })
    }

    fn mapping(&self, place: &Place) -> Option<&Mapping<'t>> {
        match &self.node(place)?.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Replaces the scalar at a place, if there is one.
    pub(super) fn set(&mut self, place: &Place, new: &str) -> bool {
        let Some(Node { span, value: Value::Scalar { .. } }) = self.node(place) else {
            return false;
        };
        let span = span.clone();
        self.edits.push((span, new.to_owned()));
        true
    }

    /// Adds a key to a mapping, behind the first key; `text` is the key and its value.
    pub(super) fn add_key(&mut self, place: &Place, text: &str) -> bool {
        let edit = self.key_edit(place, text);
        let found = edit.is_some();
        self.edits.extend(edit);
        found
    }

    fn key_edit(&self, place: &Place, text: &str) -> Option<(Range<usize>, String)> {
        let node = self.node(place)?;
        let first = self.mapping(place)?.entries.first()?;
        if self.text[node.span.start..].starts_with('{') {
            let end = first.value.span.end;
            let line = &self.text[self.line_start(end)..self.line_end(end)];
            let indent = " ".repeat(line.len() - line.trim_start().len() + 4);
            let fits = line.len() + text.len() + 2 <= WIDTH;
            let new = if fits { format!(", {text}") } else { format!(",\n{indent}{text}") };
            Some((end..end, new))
        } else {
            // A block mapping: a line of its own before the first key, which stays first in a
            // sequence's item.
            let column = first.key_span.start - self.line_start(first.key_span.start);
            let end = self.line_end(first.value.span.end.max(first.key_span.end));
            let single = matches!(first.value.value, Value::Scalar { .. });
            let line = format!("{}{text}", " ".repeat(column));
            Some(if single && self.is_one_line(first.value.span.clone()) {
                (end..end, format!("\n{line}"))
            } else {
                let start = self.line_start(first.key_span.start);
                (start..start, format!("{line}\n"))
            })
        }
    }

    fn is_one_line(&self, span: Range<usize>) -> bool {
        let text = &self.text[span];
        !text.contains('\n') && !text.starts_with(['>', '|'])
    }

    /// Returns the lines of an item of a block sequence, without the line break at the end.
    fn lines(&self, item: &Node<'_>) -> Option<Range<usize>> {
        let start = self.line_start(item.span.start);
        let dash = self.text[start..].find(|letter| letter != ' ')?;
        self.text[start + dash..].starts_with("- ").then_some(())?;
        let mut end = self.line_end(start);
        // Blank lines and comments count only if a line of the item follows.
        let mut next = end + 1;
        while next < self.text.len() {
            let line = &self.text[next..self.line_end(next)];
            let indent = line.len() - line.trim_start().len();
            let empty = line.trim().is_empty();
            if !empty && indent <= dash {
                break;
            }
            if !empty {
                end = self.line_end(next);
            }
            next = self.line_end(next) + 1;
        }
        Some(start..end)
    }

    /// Replaces a key and its scalar by `text`, which is another key and its value.
    pub(super) fn replace_key(&mut self, place: &Place, key: &str, text: &str) -> bool {
        let entry = self.mapping(place).and_then(|mapping| mapping.get(key));
        let Some(entry) = entry else { return false };
        self.edits.push((entry.key_span.start..entry.value.span.end, text.to_owned()));
        true
    }

    /// Adds an item at the end of a block sequence: its lines, without indentation.
    pub(super) fn append(&mut self, place: &Place, lines: &[String]) -> bool {
        let Some(Node { value: Value::Sequence(items), .. }) = self.node(place) else {
            return false;
        };
        let last = items.len().checked_sub(1);
        last.is_some_and(|last| self.insert(&place.item(last), Side::Behind, lines))
    }

    /// Adds an item beside an item of a block sequence: its lines, without indentation.
    pub(super) fn insert(&mut self, item: &Place, side: Side, lines: &[String]) -> bool {
        let Some(range) = self.node(item).and_then(|item| self.lines(item)) else { return false };
        let first = &self.text[range.start..];
        let indent = " ".repeat(first.len() - first.trim_start_matches(' ').len());
        let lines = lines.iter().enumerate().map(|(index, line)| {
            let lead = if index == 0 { "- " } else { "  " };
            format!("{indent}{lead}{line}")
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        self.edits.push(match side {
            Side::Behind => (range.end..range.end, format!("\n{lines}")),
            Side::Before => (range.start..range.start, format!("{lines}\n")),
        });
        true
    }

    /// Adds lines at the end of a section: an item of a sequence, or an entry of a mapping. A
    /// section that is not there is added at the end of the text.
    pub(super) fn add_to(
        &mut self,
        section: &'static str,
        header: &str,
        mut lines: Vec<String>,
    ) -> bool {
        let Value::Mapping(root) = &self.root.value else { return false };
        if self.header().as_deref() != Some(header) {
            match section {
                "arguments" => lines.insert(1, format!("  header: {header}")),
                _ => lines.insert(1, format!("  header: {header},")),
            }
        }
        let Some(entry) = root.get(section) else {
            self.new.add(section, lines);
            return true;
        };
        if matches!(entry.value.value, Value::Sequence(_)) {
            return self.append(&Place::root("").key(section), &lines);
        }
        let mut new = String::new();
        for line in lines {
            new.push_str(&format!("\n  {line}"));
        }
        let mut end = self.line_end(entry.key_span.end);
        let mut next = end + 1;
        while next < self.text.len() {
            let line = &self.text[next..self.line_end(next)];
            match line.chars().next() {
                Some(' ') => end = self.line_end(next),
                None | Some('#') => {}
                Some(_) => break,
            }
            next = self.line_end(next) + 1;
        }
        self.edits.push((end..end, format!("\n{new}")));
        true
    }

    /// Divides an item of a block sequence into one that ends, with the key `until`, and a copy
    /// after it that begins, with the key `since`, and has another scalar under `key`, which may be
    /// new.
    pub(super) fn divide(
        &mut self,
        place: &Place,
        until: &str,
        since: &str,
        (key, value): (&str, &str),
    ) -> bool {
        let copy = self.node(place).and_then(|item| self.lines(item)).and_then(|range| {
            let mut copy = Self::new(self.text)?;
            let changed = (copy.set(&place.key(key), value)
                || copy.node(&place.key(key)).is_none()
                    && copy.add_key(place, &format!("{key}: {value}")))
                && (copy.set(&place.key("since"), since)
                    || copy.add_key(place, &format!("since: {since}")));
            changed.then_some(())?;
            let grown: usize = copy.edits.iter().map(|(_, new)| new.len()).sum();
            let shrunk: usize = copy.edits.iter().map(|(range, _)| range.len()).sum();
            let end = range.end + grown - shrunk;
            Some((range.end, copy.finish()[range.start..end].to_owned()))
        });
        let Some((end, copy)) = copy else { return false };
        if !self.add_key(place, &format!("until: {until}")) {
            return false;
        }
        self.edits.push((end..end, format!("\n{copy}")));
        true
    }

    /// Adds a scalar behind the last one of a sequence of scalars.
    pub(super) fn append_scalar(&mut self, place: &Place, scalar: &str) -> bool {
        let Some(Node { value: Value::Sequence(items), .. }) = self.node(place) else {
            return false;
        };
        let Some(last) = items.last() else { return false };
        let (start, end) = (self.line_start(last.span.start), last.span.end);
        let lead = &self.text[start..last.span.start];
        let (at, new) = if lead.trim() == "-" {
            (self.line_end(last.span.start), format!("\n{lead}{scalar}"))
        } else {
            (end, format!(", {scalar}"))
        };
        self.edits.push((at..at, new));
        true
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |length| at + length)
    }
}

/// Returns the place of the mapping that is meant by the place of one of its keys or of itself.
pub(super) fn item(place: &Place) -> Place {
    Place { side: yaml::Side::Value, ..place.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
constants:
  # The first.
  - { name: A, value: 1, doc: One. } # a comment
  - name: B
    value: 2
    doc: >-
      Two.

  # The last.
  - { name: C, value: 3,
      doc: Three. }
other: 1
";

    fn at(index: usize) -> Place {
        Place::root("a").key("constants").item(index)
    }

    fn edited(change: impl FnOnce(&mut Editor<'_>) -> bool) -> String {
        let mut editor = Editor::new(TEXT).expect("YAML");
        assert!(change(&mut editor));
        editor.finish()
    }

    #[test]
    fn a_key_is_added_in_the_style_of_its_item() {
        let flow = edited(|editor| editor.add_key(&at(0), "until: \"4.5\""));
        assert_eq!(flow, TEXT.replace("name: A,", "name: A, until: \"4.5\","));
        let block = edited(|editor| editor.add_key(&at(1), "until: \"4.5\""));
        assert_eq!(block, TEXT.replace("name: B\n", "name: B\n    until: \"4.5\"\n"));
    }

    #[test]
    fn an_item_is_added_behind_the_last_one() {
        let place = Place::root("a").key("constants");
        let lines = ["{ name: D,".to_owned(), "  value: 4 }".to_owned()];
        let added = edited(|editor| editor.append(&place, &lines));
        let expected = "doc: Three. }\n  - { name: D,\n      value: 4 }\nother";
        assert_eq!(added, TEXT.replace("doc: Three. }\nother", expected));
    }

    #[test]
    fn an_item_is_divided_and_comments_stay() {
        let divided = edited(|editor| editor.divide(&at(1), "\"4.5\"", "\"4.6\"", ("value", "7")));
        let (old, new) = (
            "  - name: B\n    value: 2\n    doc: >-\n      Two.\n",
            "  - name: B\n    until: \"4.5\"\n    value: 2\n    doc: >-\n      Two.\n  \
             - name: B\n    since: \"4.6\"\n    value: 7\n    doc: >-\n      Two.\n",
        );
        assert_eq!(divided, TEXT.replace(old, new));
        let first = edited(|editor| editor.divide(&at(0), "\"4.5\"", "\"4.6\"", ("value", "7")));
        assert_eq!(first.matches("# a comment").count(), 2, "{first}");
    }

    #[test]
    fn a_scalar_is_added_to_a_list_of_either_style() {
        for (list, longer) in [
            ("releases: [\"4.4\"]\n", "releases: [\"4.4\", \"4.5\"]\n"),
            ("releases:\n  - \"4.4\" # old\n", "releases:\n  - \"4.4\" # old\n  - \"4.5\"\n"),
        ] {
            let mut editor = Editor::new(list).expect("YAML");
            assert!(editor.append_scalar(&Place::root("").key("releases"), "\"4.5\""));
            assert_eq!(editor.finish(), longer);
        }
    }
}
