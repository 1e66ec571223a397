//! The types of the values that Xen returns about itself.

use core::fmt;

use xen_pac::features::{Feature, XENFEAT_NR_SUBMAPS};

/// The number of words of flags.
pub(super) const WORDS: usize = XENFEAT_NR_SUBMAPS as usize;

/// The feature flags that Xen reports to this domain.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Features([u32; WORDS]);

impl Features {
    /// Creates the set in which flag n is bit n % 32 of word n / 32.
    #[must_use]
    pub const fn from_words(words: [u32; WORDS]) -> Self {
        Self(words)
    }

    /// Returns whether the domain has a feature. For a feature without a name here, construct it
    /// from its number.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        let (word, bit) = (feature.0 / u32::BITS, feature.0 % u32::BITS);
        self.0.get(word as usize).is_some_and(|word| word >> bit & 1 != 0)
    }

    /// Returns the domain's features in order, including those without a name here.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        (0..u32::BITS * XENFEAT_NR_SUBMAPS).map(Feature).filter(move |feature| self.has(*feature))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A text of at most `N` bytes as Xen wrote it. The encoding is not specified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Creates the text from a buffer: the bytes before the first zero byte, or all bytes.
    #[must_use]
    pub const fn new(buffer: [u8; N]) -> Self {
        Self(buffer)
    }

    /// Returns the bytes before the first zero byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Returns the text; `None` if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }
}

/// Displays invalid UTF-8 as the replacement character.
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
    use super::*;
    use std::vec::Vec;
    use std::{format, string::ToString};

    #[test]
    fn a_flag_is_found_by_its_number() {
        let set = Features::from_words([1 << 8 | 1 << 31]);
        assert!(set.has(Feature::HVM_CALLBACK_VECTOR) && set.has(Feature(31)));
        assert!(!set.has(Feature::HVM_SAFE_PVCLOCK));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Feature::HVM_CALLBACK_VECTOR, Feature(31)]);
    }

    #[test]
    fn a_flag_beyond_the_words_is_not_there() {
        assert!(!Features::from_words([u32::MAX]).has(Feature(32)));
        assert!(!Features::from_words([u32::MAX]).has(Feature(u32::MAX)));
    }

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
