//! The keys of a mapping: each is asked for once, and those that nobody asked for are errors.

use super::at::At;
use super::errors::Errors;
use crate::diagnostic::{Diagnostic, nearest};
use crate::source::yaml::Mapping;
use std::cell::RefCell;

/// As much of a name is shown in a message.
const LONGEST: usize = 64;

/// A mapping whose keys have fixed names.
pub(super) struct Keys<'t> {
    pub(super) at: At<'t>,
    mapping: &'t Mapping<'t>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Keys<'t> {
    /// Takes the node as a mapping; `what` says, with its article, what it describes.
    pub(super) fn open(errors: &Errors, at: &At<'t>, what: &str) -> Option<Self> {
        let mapping = errors.need(at.mapping(what))?;
        Some(Self { at: at.clone(), mapping, asked: RefCell::default() })
    }

    /// The value under `key`, if there is one.
    pub(super) fn get(&self, key: &'static str) -> Option<At<'t>> {
        self.asked.borrow_mut().push(key);
        self.mapping.get(key).map(|entry| self.at.entry(entry))
    }

    /// Whether there is `key`; it counts as asked for.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// The value under `key`, without which there is nothing.
    pub(super) fn need(&self, errors: &Errors, key: &'static str) -> Option<At<'t>> {
        let value = self.get(key);
        if value.is_none() {
            errors.add_and_leave_out(self.missing(key));
        }
        value
    }

    /// The error that `key` is missing.
    pub(super) fn missing(&self, key: &str) -> Diagnostic {
        self.at.wrong(format!("the key `{key}` is missing")).label(format!("has no `{key}`"))
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, errors: &Errors) {
        let asked = self.asked.into_inner();
        for entry in self.mapping.entries.iter().filter(|entry| !asked.contains(&&*entry.key)) {
            let place = self.at.entry(entry).place().as_key();
            let wrong = Diagnostic::new(place, format!("unknown key `{}`", clipped(&entry.key)));
            errors.add(suggest(wrong, &entry.key, asked.iter().copied(), "the keys here are"));
        }
    }
}

/// Adds what was perhaps meant, or else what there is to choose from.
pub(super) fn suggest<'n>(
    wrong: Diagnostic,
    given: &str,
    known: impl Iterator<Item = &'n str> + Clone,
    intro: &str,
) -> Diagnostic {
    if let Some(meant) = nearest(given, known.clone()) {
        return wrong.label(format!("did you mean `{meant}`?"));
    }
    let mut names: Vec<_> = Vec::new();
    for name in known.map(|name| format!("`{name}`")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { wrong } else { wrong.help(format!("{intro} {}", names.join(", "))) }
}

/// A name as far as it can be shown in a message: not too long, and without characters that a
/// terminal would obey.
pub(super) fn clipped(name: &str) -> String {
    let mut shown = String::new();
    for (count, char) in name.chars().enumerate() {
        if count == LONGEST {
            return shown + "...";
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, clipped};

    #[test]
    fn names_are_shown_safely() {
        assert_eq!(clipped("grün"), "grün");
        assert_eq!(clipped("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(clipped(&"x".repeat(1_000_000)), "x".repeat(LONGEST) + "...");
    }
}
