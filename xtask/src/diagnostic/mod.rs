//! Errors in a description, shown in rustc's style.

mod draw;
#[cfg(test)]
mod tests;

use crate::yaml::Place;
pub use draw::{render, render_first};
use std::ops::Range;

/// An error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The node at fault. A mapping or sequence is shown by its key, or by its `name` where it is
    /// an item of a sequence.
    pub place: Place,
    /// The bytes at fault, if no path leads to them. Then only the file of [`Self::place`] is used.
    pub span: Option<Range<usize>>,
    /// The message, one line.
    pub message: String,
    /// The label at the underlined text.
    pub label: Option<String>,
    /// The help text: how to fix the error.
    pub help: Option<String>,
    /// Related nodes, with a label for each.
    pub related: Vec<(Place, String)>,
    /// Related bytes of the same file to which no path leads, with a label for each.
    pub related_spans: Vec<(Range<usize>, String)>,
}

impl Diagnostic {
    /// Creates an error at `place`.
    #[must_use]
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            span: None,
            message: message.into(),
            label: None,
            help: None,
            related: Vec::new(),
            related_spans: Vec::new(),
        }
    }

    /// Sets the label at the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the help text.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a related node.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }
}

/// The maximum length of names that are compared: the cost grows with the square of the length.
const LONGEST: usize = 64;

/// Returns the known name that is most similar to the given one, if any is similar. Of several,
/// returns the first in alphabetical order.
#[must_use]
pub fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if given.len() > LONGEST {
        return None;
    }
    let limit = (given.chars().count() / 3).max(1);
    let near = known.filter(|name| name.len() <= LONGEST);
    let rated = near.map(|name| {
        (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), name)
    });
    rated.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}
