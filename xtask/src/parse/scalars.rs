//! What a single scalar means.

use super::at::At;
use super::errors::Wrong;
use super::keys::{clipped, suggest};
use crate::document::{Bits, Manifest, Release, ReleaseId};
use crate::source::yaml::Value;

/// Whether text that stands without quotes is text to every reader of YAML, and no number, truth
/// value or nothing.
pub(super) fn is_text(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+', '.']);
    let number = digits.starts_with(|first: char| first.is_ascii_digit())
        && (text.parse::<f64>().is_ok() || number(text).is_some() || octal(digits));
    !number && !matches!(text, "" | "~" | "null" | "true" | "false")
}

/// Whether some reader of YAML takes the digits for an octal number.
fn octal(digits: &str) -> bool {
    let digits = digits.strip_prefix("0o").unwrap_or(digits);
    digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether a character cannot be seen, or turns the text around it: none of these may stand in
/// documentation, and rustc refuses some of them.
fn is_hidden(char: char) -> bool {
    char.is_control() && !matches!(char, '\n' | '\t')
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A decimal or hexadecimal number, as the description writes it.
fn number(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let all =
        |digits: &str, allowed: fn(u8) -> bool| !digits.is_empty() && digits.bytes().all(allowed);
    let value = match digits.strip_prefix("0x") {
        Some(digits) if all(digits, |digit| digit.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16).ok()?
        }
        None if all(digits, |digit| digit.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0')) =>
        {
            digits.parse().ok()?
        }
        _ => return None,
    };
    Some(sign * value)
}

impl<'t> At<'t> {
    /// The scalar's text and whether it stands without quotes.
    fn scalar(&self) -> Option<(&'t str, bool)> {
        match &self.node.value {
            Value::Scalar { text, plain } => Some((text, *plain)),
            _ => None,
        }
    }

    /// A text that is not empty; `what` names it.
    pub(super) fn text(&self, what: &str) -> Result<&'t str, Wrong> {
        match self.scalar() {
            Some((text, plain)) if !text.trim().is_empty() && (!plain || is_text(text)) => {
                match text.chars().find(|char| is_hidden(*char)) {
                    None => Ok(text),
                    Some(char) => {
                        let wrong = self.wrong(format!(
                            "the character U+{:04X} is not allowed",
                            u32::from(char)
                        ));
                        Err(Box::new(wrong.help("leave it out: it cannot be seen, or it changes how the text around it is shown")))
                    }
                }
            }
            Some((text, true)) if !text.is_empty() => {
                let mut wrong = self.expected(what);
                wrong.help = Some(format!("put it into quotes: \"{}\"", clipped(text)));
                Err(wrong)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Result<i128, Wrong> {
        match self.scalar() {
            Some((text, true)) => number(text).ok_or_else(|| {
                let mut wrong = self.expected("a whole number");
                if octal(text.trim_start_matches('-')) {
                    wrong.help = Some("write it without leading zeros: some readers of YAML take them for octal numbers".to_owned());
                }
                wrong
            }),
            Some((text, false)) if number(text).is_some() => {
                let mut wrong = self.expected("a whole number");
                wrong.help = Some("leave the quotes out".to_owned());
                Err(wrong)
            }
            _ => Err(self.expected("a whole number")),
        }
    }

    /// A whole number from 0 to 2^64 - 1.
    pub(super) fn unsigned(&self) -> Result<u64, Wrong> {
        let value = self.integer()?;
        u64::try_from(value).map_err(|_| {
            Box::new(
                self.wrong(format!("{value} is not between 0 and 2^64 - 1")).label("out of range"),
            )
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, Wrong> {
        match self.scalar() {
            Some(("true", true)) => Ok(true),
            Some(("false", true)) => Ok(false),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &self,
        what: &str,
        choices: &[(&'static str, T)],
    ) -> Result<T, Wrong> {
        let text = self.text(what)?;
        choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
            let noun = what.trim_start_matches("an ").trim_start_matches("a ");
            let wrong = self.wrong(format!("unknown {noun} `{}`", clipped(text)));
            Box::new(suggest(wrong, text, choices.iter().map(|(name, _)| *name), "it is one of"))
        })
    }

    /// A release of any kind, in quotes. The error holds what was perhaps meant.
    pub(super) fn release(&self) -> Result<Release, Wrong> {
        match self.scalar() {
            Some((text, false)) => well_formed(text).ok_or_else(|| {
                Box::new(
                    self.wrong(format!("`{}` is no release", clipped(text)))
                        .help("write it as in \"4.17\""),
                )
            }),
            Some((text, true)) if text.parse::<f64>().is_ok() => Err(Box::new(self.unquoted(text))),
            _ => Err(self.expected("a release such as \"4.17\"")),
        }
    }

    fn unquoted(&self, text: &str) -> crate::diagnostic::Diagnostic {
        let trimmed = text.trim_end_matches('0');
        let label = match text.contains('.') && trimmed.len() < text.len() {
            true => format!("unquoted, {text} is the number {}", trimmed.trim_end_matches('.')),
            false => "unquoted, this is a number, and 4.10 would be 4.1".to_owned(),
        };
        self.wrong("a release must be in quotes").label(label).help(format!("write \"{text}\""))
    }

    /// A release of the manifest, in quotes.
    pub(super) fn known_release(&self, manifest: &Manifest) -> Result<ReleaseId, Wrong> {
        let release = self.release()?;
        manifest.find_release(release).ok_or_else(|| {
            let wrong =
                self.wrong(format!("unknown release `{release}`")).label("not in the manifest");
            Box::new(match (manifest.releases.first(), manifest.releases.last()) {
                (Some(first), Some(last)) => {
                    wrong.help(format!("the manifest has the releases from {first} to {last}"))
                }
                _ => wrong,
            })
        })
    }

    /// Bits of a word: `"high:low"` or the number of one.
    pub(super) fn bits(&self) -> Result<Bits, Wrong> {
        const WHAT: &str = "bits such as \"7:0\" or 5";
        let (text, plain) = self.scalar().ok_or_else(|| self.expected(WHAT))?;
        let Some((high, low)) = text.split_once(':') else {
            let bit = number(text).ok_or_else(|| self.expected(WHAT))?;
            return self.bit_range(bit, bit);
        };
        let bounds = number(high.trim()).zip(number(low.trim()));
        let (high, low) = bounds.ok_or_else(|| self.expected(WHAT))?;
        let bits = self.bit_range(high, low)?;
        match plain {
            true => Err(Box::new(
                self.wrong("a range of bits must be in quotes")
                    .label("some readers of YAML take this for a number to base 60")
                    .help(format!("write \"{high}:{low}\"")),
            )),
            false => Ok(bits),
        }
    }

    fn bit_range(&self, high: i128, low: i128) -> Result<Bits, Wrong> {
        let bit = |bit: i128| match u32::try_from(bit) {
            Ok(bit) if bit < 64 => Ok(bit),
            _ => Err(Box::new(
                self.wrong(format!("no word has a bit {bit}"))
                    .label("bits are counted from 0 to 63"),
            )),
        };
        let (high, low) = (bit(high)?, bit(low)?);
        if high < low {
            let wrong =
                self.wrong("the range of bits is reversed").label("the highest bit comes first");
            return Err(Box::new(wrong.help(format!("write \"{low}:{high}\""))));
        }
        Ok(Bits { high, low })
    }
}

/// The release that the text names in the one way in which it is written.
fn well_formed(text: &str) -> Option<Release> {
    text.parse::<Release>().ok().filter(|release| release.to_string() == text)
}
