//! A node, the way to it, and what a scalar means.

use super::text::{clipped, is_hidden, is_text, number, octal, suggest};
use crate::diagnostic::Diagnostic;
use crate::document::{Bits, Manifest, Radix, Release, ReleaseId};
use crate::yaml::{Entry, Mapping, Node, Place, Step, Value};
use std::rc::Rc;

/// Why a node could not be understood; boxed, since it is seldom made and often passed on.
pub(super) type Wrong = Box<Diagnostic>;

/// A way into a file; it becomes a [`Place`] only if it is needed.
enum Trail<'t> {
    Root(&'t str),
    Key(Rc<Self>, &'t str),
    Item(Rc<Self>, usize),
}

impl Trail<'_> {
    fn place(&self) -> Place {
        let (mut trail, mut steps) = (self, Vec::new());
        let file = loop {
            let (outer, step) = match trail {
                Self::Root(file) => break *file,
                Self::Key(outer, key) => (outer, Step::Key((*key).to_owned())),
                Self::Item(outer, index) => (outer, Step::Item(*index)),
            };
            steps.push(step);
            trail = outer;
        };
        steps.reverse();
        Place { steps, ..Place::root(file) }
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

    /// Returns the value of an entry of this mapping.
    pub(super) fn entry(&self, entry: &'t Entry<'t>) -> Self {
        Self { node: &entry.value, trail: Rc::new(Trail::Key(Rc::clone(&self.trail), &entry.key)) }
    }

    /// Returns an error at this node.
    pub(super) fn wrong(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.place(), message)
    }

    /// Returns the error that something else was expected.
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

    /// Returns the key that leads here, or else the node.
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

    /// Returns the items of a list.
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

    /// Returns the mapping that this is.
    pub(super) fn mapping(&self, what: &str) -> Result<&'t Mapping<'t>, Wrong> {
        match &self.node.value {
            Value::Mapping(mapping) => Ok(mapping),
            _ => Err(self.expected(what)),
        }
    }
}

impl<'t> At<'t> {
    /// Returns the scalar's text and whether it stands without quotes.
    fn scalar(&self) -> Option<(&'t str, bool)> {
        match &self.node.value {
            Value::Scalar { text, plain } => Some((text, *plain)),
            _ => None,
        }
    }

    /// Returns a text that is not empty; `what` names it.
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
                        Err(Box::new(wrong.help(
                            "leave it out: it cannot be seen, or it changes how the text around it \
                             is shown",
                        )))
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

    /// A text that reads the same in C, in Rust and in the facts.
    pub(super) fn ascii(&self) -> Result<&'t str, Wrong> {
        let text = self.text("a text")?;
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        match text.bytes().all(plain) {
            true => Ok(text),
            false => Err(Box::new(
                self.wrong("a string is printable ASCII without `\"` and `\\`")
                    .label("has another character"),
            )),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Result<i128, Wrong> {
        match self.scalar() {
            Some((text, true)) => number(text).ok_or_else(|| {
                let mut wrong = self.expected("a whole number");
                let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
                if digits.len() < text.len() && number(digits).is_some() {
                    wrong.help = Some(format!("leave C's suffix out: {digits}"));
                } else if octal(text.trim_start_matches('-')) {
                    wrong.help = Some(
                        "write it without leading zeros: some readers of YAML take them for octal \
                         numbers"
                            .to_owned(),
                    );
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

    /// How a number is written; of one for each architecture, the first.
    pub(super) fn radix(&self) -> Radix {
        let node = match &self.node.value {
            Value::Mapping(each) => each.entries.first().map_or(self.node, |entry| &entry.value),
            _ => self.node,
        };
        let digits = node.text().unwrap_or("").trim_start_matches('-');
        if digits.starts_with("0x") { Radix::Hexadecimal } else { Radix::Decimal }
    }

    /// Returns a whole number from 0 to 2^64 - 1.
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

    /// Returns a release of any kind, in quotes. The error holds what was perhaps meant.
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

    fn unquoted(&self, text: &str) -> Diagnostic {
        let trimmed = text.trim_end_matches('0');
        let label = match text.contains('.') && trimmed.len() < text.len() {
            true => format!("unquoted, {text} is the number {}", trimmed.trim_end_matches('.')),
            false => "unquoted, this is a number, and 4.10 would be 4.1".to_owned(),
        };
        self.wrong("a release must be in quotes").label(label).help(format!("write \"{text}\""))
    }

    /// Returns a release of the manifest, in quotes.
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

/// Returns the release that the text names in the one way in which it is written.
fn well_formed(text: &str) -> Option<Release> {
    text.parse::<Release>().ok().filter(|release| release.to_string() == text)
}
