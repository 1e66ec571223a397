//! What is wrong with a description, and how it is shown: as rustc shows what is wrong with a
//! program.

mod draw;
#[cfg(test)]
mod tests;

use crate::yaml::Place;
pub use draw::{render, render_first};
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The node at fault. A mapping or sequence is shown by its key, or by its `name` where it is
    /// an item of a sequence.
    pub place: Place,
    /// The bytes at fault, where no path leads to them; then only the file of [`Self::place`]
    /// counts.
    pub span: Option<Range<usize>>,
    /// What is wrong, in a line.
    pub message: String,
    /// What to write at the underlined text.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other nodes that belong to it, and what to write at each.
    pub related: Vec<(Place, String)>,
    /// Other bytes of the same file that belong to it, where no path leads to them, and what to
    /// write at each.
    pub related_spans: Vec<(Range<usize>, String)>,
}

impl Diagnostic {
    /// Something that is wrong at `place`.
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

    /// With `label` written at the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With another node that belongs to it.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }
}

/// Names longer than this are not compared with others: the cost grows with the square of the
/// length.
const LONGEST: usize = 64;

/// The known name that differs least from the given one, if any differs little; the first in the
/// alphabet of several.
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
