//! Texts that Xen copies into a buffer.

use core::fmt;

/// A text of at most `N` bytes as Xen wrote it, which promises no encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The text in a buffer: what stands before the first zero byte, or all of it.
    #[must_use]
    pub const fn new(buffer: [u8; N]) -> Self {
        Self(buffer)
    }

    /// The bytes before the first zero.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The text, unless it is no UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }
}

/// Writes what is no UTF-8 as the replacement character.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::Text;
    use std::{format, string::ToString};

    #[test]
    fn a_text_ends_at_its_zero_or_with_its_buffer() {
        assert_eq!(Text::new(*b".7\0junk").as_str(), Some(".7"));
        assert_eq!(Text::new(*b"full").as_bytes(), b"full");
        assert_eq!(Text::new([0_u8; 0]).as_bytes(), b"");
    }

    #[test]
    fn foreign_bytes_are_shown_and_not_trusted() {
        let text = Text::new(*b"a\xffb\0");
        assert_eq!(text.as_str(), None);
        assert_eq!(text.to_string(), "a\u{fffd}b");
        assert_eq!(format!("{text:?}"), r#""a\xffb""#);
    }
}
