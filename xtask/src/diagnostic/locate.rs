//! From a place to the text that is underlined for it.

use super::lines::Lines;
use crate::yaml::{self, Entry, Node, Tree, Value};
use crate::yaml::{Place, Side, Step};
use std::ops::Range;

/// A file that has something to show. It is read once more for all its errors together, and only
/// when there are some.
pub(super) struct Located<'t> {
    pub(super) text: &'t str,
    pub(super) lines: Lines<'t>,
    tree: Tree<'t>,
}

impl<'t> Located<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: Lines::new(text), tree: yaml::read(text) }
    }

    /// The text to underline for a place; for one that is not there, for the nearest node around
    /// it.
    pub(super) fn find(&self, place: &Place) -> Range<usize> {
        let Some(root) = &self.tree.root else { return 0..0 };
        let mut node = root;
        let mut shown = shown_without_key(root);
        for (depth, step) in place.steps.iter().enumerate() {
            let key_wanted = place.side == Side::Key && depth + 1 == place.steps.len();
            match (step, &node.value) {
                (Step::Key(key), Value::Mapping(mapping)) => {
                    let Some(entry) = mapping.get(key) else { break };
                    shown = if key_wanted { entry.key_span.clone() } else { shown_with_key(entry) };
                    node = &entry.value;
                }
                (Step::Item(index), Value::Sequence(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    shown = shown_without_key(item);
                    node = item;
                }
                _ => break,
            }
        }
        self.one_line(shown)
    }

    /// As much of a range as is on its first line.
    pub(super) fn one_line(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.min(self.text.len());
        let line = self.lines.line_of(start);
        let end = range.end.min(self.lines.bytes(line, line).end).max(start);
        start..start + self.text.get(start..end).unwrap_or("").trim_end().len()
    }
}

/// A scalar is shown by itself, whatever has no text of its own by its key.
fn shown_with_key(entry: &Entry<'_>) -> Range<usize> {
    match &entry.value.value {
        Value::Scalar { .. } if !entry.value.span.is_empty() => entry.value.span.clone(),
        _ => entry.key_span.clone(),
    }
}

/// An item of a sequence is shown by its `name`, or else by its first key.
fn shown_without_key(node: &Node<'_>) -> Range<usize> {
    match &node.value {
        Value::Mapping(mapping) => match (mapping.get("name"), mapping.entries.first()) {
            (Some(name), _) => shown_with_key(name),
            (None, Some(first)) => first.key_span.clone(),
            (None, None) => node.span.clone(),
        },
        _ => node.span.clone(),
    }
}
