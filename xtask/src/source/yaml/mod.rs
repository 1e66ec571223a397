//! A YAML text as a tree in which every key and value knows the bytes that it was made of.
//!
//! The tree is made of the events of a YAML parser, and not through serde: only events show anchors and tags, which the
//! description refuses, tell `"4.10"` from `4.10`, and give each node's exact place, so that an error can be drawn without reading
//! the document once more for each.

mod faults;
mod grow;
mod positions;
#[cfg(test)]
mod tests;

pub use faults::Fault;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// How many levels a document may nest. A description needs about ten; the walkers over the tree rely on the bound.
pub const MAX_DEPTH: usize = 64;

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
    index: HashMap<Cow<'t, str>, usize>,
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
        self.index.get(key).map(|index| &self.entries[*index])
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
