//! From the YAML parser's positions, which count characters, to offsets in bytes.

use std::ops::Range;

/// The offsets of a text's characters.
pub(super) struct Positions<'t> {
    text: &'t str,
    /// Empty where every character is a byte.
    offsets: Vec<usize>,
}

impl<'t> Positions<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(offset, _)| offset).collect()
        };
        Self { text, offsets }
    }

    /// The offset of the character at `index`.
    pub(super) fn byte(&self, index: usize) -> usize {
        let end = self.text.len();
        if self.offsets.is_empty() {
            index.min(end)
        } else {
            self.offsets.get(index).copied().unwrap_or(end)
        }
    }

    /// The bytes of a span.
    pub(super) fn bytes(&self, span: saphyr_parser::Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}
