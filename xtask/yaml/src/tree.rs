//! A YAML text as a tree in which every key and value knows its bytes, and paths to its nodes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The number of levels that a document may nest. A description needs about ten; everything that
/// walks the tree relies on the bound.
pub const MAX_DEPTH: usize = 64;

/// The result of reading a text.
#[derive(Debug)]
pub struct Tree<'t> {
    /// The document; `None` if the text is empty or broken.
    pub root: Option<Node<'t>>,
    /// What YAML forbids, and what the description does not allow.
    pub faults: Vec<Fault>,
}

/// A value.
#[derive(Debug)]
pub struct Node<'t> {
    /// The bytes of a scalar; for anything else, where it begins.
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
        /// Whether it is written without quotes, so that `1` is a number.
        plain: bool,
    },
    /// Values in order.
    Sequence(Vec<Node<'t>>),
    /// Values with names.
    Mapping(Mapping<'t>),
}

/// The number of names that are compared one by one: no slower than hashing.
const FEW: usize = 16;

/// Values with names, each name once.
#[derive(Debug, Default)]
pub struct Mapping<'t> {
    /// In the order of the text.
    pub entries: Vec<Entry<'t>>,
    /// The index of each name's entry, if there are more than [`FEW`].
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
    /// Returns the entry of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry<'t>> {
        match self.index.is_empty() {
            true => self.entries.iter().find(|entry| entry.key == key),
            false => self.index.get(key).map(|index| &self.entries[*index]),
        }
    }

    /// Adds an entry, unless its name is taken; that is a fault.
    pub(super) fn insert(&mut self, entry: Entry<'t>) -> Result<(), Box<Fault>> {
        if let Some(first) = self.get(&entry.key) {
            let first = first.key_span.clone();
            return Err(Box::new(Fault::duplicate(entry.key_span, first, &entry.key)));
        }
        self.entries.push(entry);
        let count = self.entries.len();
        if count > FEW {
            let first = if self.index.is_empty() { 0 } else { count - 1 };
            let keys = self.entries[first..].iter().map(|entry| entry.key.clone());
            self.index.extend(keys.zip(first..));
        }
        Ok(())
    }
}

impl Node<'_> {
    /// Returns the text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// Something that is not allowed, with the text at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The bytes at fault.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write at the underlined text.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Another text that belongs to it, and what to write there.
    pub related: Option<(Range<usize>, String)>,
}

impl Fault {
    fn new(span: Range<usize>, message: &str, label: &str, help: &str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (label, help) = (some(label), some(help));
        Self { span, message: message.to_owned(), label, help, related: None }
    }

    pub(super) fn anchor(span: Range<usize>) -> Self {
        let help = "write the value out wherever it is needed";
        Self::new(span, "anchors are not allowed", "an anchor", help)
    }

    pub(super) fn alias(span: Range<usize>) -> Self {
        let help = "write the value out wherever it is needed";
        Self::new(span, "aliases are not allowed", "an alias", help)
    }

    pub(super) fn tag(span: Range<usize>) -> Self {
        let help = "leave it out; put text that looks like a number into quotes";
        Self::new(span, "tags are not allowed", "a tag", help)
    }

    pub(super) fn directive(span: Range<usize>) -> Self {
        Self::new(span, "directives are not allowed", "a directive", "leave the line out")
    }

    pub(super) fn second_document(span: Range<usize>) -> Self {
        Self::new(span, "a file holds one document only", "another document begins here", "")
    }

    pub(super) fn complex_key(span: Range<usize>) -> Self {
        Self::new(span, "a key must be text", "this begins a sequence or a mapping", "")
    }

    pub(super) fn too_deep(span: Range<usize>) -> Self {
        let help = format!("no description needs more than {MAX_DEPTH} levels");
        Self::new(span, "nested too deeply", "the rest of the file was not read", &help)
    }

    pub(super) fn empty() -> Self {
        let help = "the manifest has `releases`, `architectures` and `files`, any other file at \
                    least `doc` and `header`";
        Self::new(0..0, "the file is empty", "", help)
    }

    pub(super) fn syntax(span: Range<usize>, info: &str) -> Self {
        let help = if info.contains("mapping values") {
            "put a text that contains `: ` into quotes"
        } else {
            ""
        };
        Self::new(span, "this is not valid YAML", info, help)
    }

    fn duplicate(span: Range<usize>, first: Range<usize>, key: &str) -> Self {
        let message = format!("the key `{key}` is given twice");
        let related = Some((first, "first given here".to_owned()));
        Self { related, ..Self::new(span, &message, "given again", "") }
    }
}

/// One step from a YAML node to a node inside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// The value under this key of a mapping.
    Key(String),
    /// The item at this index of a sequence.
    Item(usize),
}

/// Which text of a mapping entry is meant; for anything else, [`Side::Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// A node of one of the YAML files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file's name without folder or ending, `manifest` for the manifest.
    pub file: String,
    /// From the file's root to the node.
    pub steps: Vec<Step>,
    /// The key or the value, where the last step is a key.
    pub side: Side,
}

impl Place {
    /// Returns the root of a file.
    #[must_use]
    pub fn root(file: &str) -> Self {
        Self { file: file.to_owned(), steps: Vec::new(), side: Side::Value }
    }

    /// Returns the value under `key` of this node.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// Returns the item at `index` of this node.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// Returns the key that leads to this node, and not its value.
    #[must_use]
    pub fn as_key(&self) -> Self {
        Self { side: Side::Key, ..self.clone() }
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.steps.len() + 1);
        steps.extend_from_slice(&self.steps);
        steps.push(step);
        Self { file: self.file.clone(), steps, side: Side::Value }
    }
}
