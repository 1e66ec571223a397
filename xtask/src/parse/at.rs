//! A node and the way to it.

use crate::diagnostic::Diagnostic;
use crate::document::Place;
use crate::source::yaml::{Entry, Mapping, Node, Value};
use std::rc::Rc;

use super::errors::Wrong;
use super::keys::clipped;
use super::scalars::is_text;

/// A way into a file; it becomes a [`Place`] only when somebody needs one.
enum Trail<'t> {
    Root(&'t str),
    Key(Rc<Self>, &'t str),
    Item(Rc<Self>, usize),
}

impl Trail<'_> {
    fn place(&self) -> Place {
        match self {
            Self::Root(file) => Place::root(file),
            Self::Key(outer, key) => outer.place().key(key),
            Self::Item(outer, index) => outer.place().item(*index),
        }
    }
}

/// A node and the way to it.
#[derive(Clone)]
pub(super) struct At<'t> {
    pub(super) node: &'t Node<'t>,
    trail: Rc<Trail<'t>>,
}

impl<'t> At<'t> {
    pub(super) fn root(file: &'t str, node: &'t Node<'t>) -> Self {
        Self { node, trail: Rc::new(Trail::Root(file)) }
    }

    pub(super) fn place(&self) -> Place {
        self.trail.place()
    }

    /// The value of an entry of this mapping.
    pub(super) fn entry(&self, entry: &'t Entry<'t>) -> Self {
        Self { node: &entry.value, trail: Rc::new(Trail::Key(Rc::clone(&self.trail), &entry.key)) }
    }

    /// An error at this node.
    pub(super) fn wrong(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.place(), message)
    }

    /// The error that something else was expected.
    pub(super) fn expected(&self, what: &str) -> Wrong {
        let found = self.found();
        let place = match &self.node.value {
            Value::Scalar { text, .. } if !text.is_empty() => self.place(),
            _ => self.place_of_key(),
        };
        Box::new(
            Diagnostic::new(place, format!("expected {what}, found {found}"))
                .label(format!("expected {what}")),
        )
    }

    /// The key that leads here, or else the node.
    fn place_of_key(&self) -> Place {
        match *self.trail {
            Trail::Key(..) => self.place().as_key(),
            _ => self.place(),
        }
    }

    /// What stands here, in words.
    pub(super) fn found(&self) -> String {
        match &self.node.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null") => {
                "nothing".to_owned()
            }
            Value::Scalar { text, plain: true } if matches!(&**text, "true" | "false") => {
                format!("`{text}`")
            }
            Value::Scalar { text, plain } if *plain && !is_text(text) => {
                format!("the number {}", clipped(text.trim_end()))
            }
            Value::Scalar { text, .. } if text.trim().is_empty() => "an empty text".to_owned(),
            Value::Scalar { text, .. } => format!("the text `{}`", clipped(text.trim_end())),
        }
    }

    /// The items of a list.
    pub(super) fn items(
        &self,
        what: &str,
    ) -> Result<impl Iterator<Item = At<'t>> + use<'t>, Wrong> {
        let Value::Sequence(items) = &self.node.value else { return Err(self.expected(what)) };
        let trail = Rc::clone(&self.trail);
        let at =
            move |(index, node)| At { node, trail: Rc::new(Trail::Item(Rc::clone(&trail), index)) };
        Ok(items.iter().enumerate().map(at))
    }

    /// The mapping that this is.
    pub(super) fn mapping(&self, what: &str) -> Result<&'t Mapping<'t>, Wrong> {
        match &self.node.value {
            Value::Mapping(mapping) => Ok(mapping),
            _ => Err(self.expected(what)),
        }
    }
}
