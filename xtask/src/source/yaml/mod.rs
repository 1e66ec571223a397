//! A YAML text as a tree in which every key and value knows the bytes that it was made of.
//!
//! The tree is made of the events of a YAML parser, and not through serde: only events show anchors
//! and tags, which the description refuses, tell `"4.10"` from `4.10`, and give each node's exact
//! place, so that an error can be drawn without reading the document once more for each.

mod faults;
mod grow;
mod positions;
#[cfg(test)]
mod tests;

pub use faults::Fault;

use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::ops::Range;

/// How many levels a document may nest. A description needs about ten; the walkers over the tree
/// rely on the bound.
pub const MAX_DEPTH: usize = 64;

/// So many names are looked through faster than looked up.
const FEW: usize = 16;

/// What reading a text gave.
#[derive(Debug)]
pub struct Tree<'t> {
    /// The document; `None` where the text is empty or broken.
    pub root: Option<Node<'t>>,
    /// What YAML forbids, and what the description does.
    pub faults: Vec<Fault>,
}

/// A value.
#[derive(Debug)]
pub struct Node<'t> {
    /// The bytes of a scalar; of anything else, where it begins.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value<'t>,
}

/// The kinds of value.
#[derive(Debug)]
pub enum Value<'t> {
    /// Text, a number, or nothing.
    Scalar {
        /// The text, without quotes.
        text: Cow<'t, str>,
        /// Whether it stands there without quotes, so that `1` is a number.
        plain: bool,
    },
    /// Values in order.
    Sequence(Vec<Node<'t>>),
    /// Values with names.
    Mapping(Mapping<'t>),
}

/// Values with names, each name once.
#[derive(Debug, Default)]
pub struct Mapping<'t> {
    /// In the order of the text.
    pub entries: Vec<Entry<'t>>,
    /// Where each name is, once there are more than a few.
    index: FxHashMap<Cow<'t, str>, usize>,
}

/// A name and its value.
#[derive(Debug)]
pub struct Entry<'t> {
    /// The name.
    pub key: Cow<'t, str>,
    /// The bytes of the name.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Node<'t>,
}

impl<'t> Mapping<'t> {
    /// The entry of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.position(key).map(|index| &self.entries[index])
    }

    /// Adds an entry whose name the mapping has not; otherwise gives it back, with the first of
    /// that name.
    fn insert(&mut self, entry: Entry<'t>) -> Result<(), (Entry<'t>, &Entry<'t>)> {
        if let Some(first) = self.position(&entry.key) {
            return Err((entry, &self.entries[first]));
        }
        match self.entries.len() {
            count if count < FEW => {}
            FEW => self.index.extend(
                self.entries
                    .iter()
                    .chain([&entry])
                    .enumerate()
                    .map(|(at, entry)| (entry.key.clone(), at)),
            ),
            count => drop(self.index.insert(entry.key.clone(), count)),
        }
        self.entries.push(entry);
        Ok(())
    }

    fn position(&self, key: &str) -> Option<usize> {
        if self.entries.len() <= FEW {
            self.entries.iter().position(|entry| entry.key == key)
        } else {
            self.index.get(key).copied()
        }
    }
}

impl Node<'_> {
    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// Reads a text. It takes time in proportion to the text's length, whatever the text.
#[must_use]
pub fn read(text: &str) -> Tree<'_> {
    grow::grow(text)
}
