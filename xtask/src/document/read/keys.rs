//! The keys of a mapping: each is asked for once, and those that nobody asked for are errors.

use super::context::{Context, Errors};
use super::node::At;
use super::text::{clipped, suggest};
use crate::diagnostic::Diagnostic;
use crate::yaml::Mapping;
use std::cell::RefCell;

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

/// The items of a list under `key`, which may be missing.
pub(super) fn listed<T>(
    context: &Context<'_>,
    keys: &Keys<'_>,
    key: &'static str,
    one: impl Fn(&At<'_>) -> Option<T>,
) -> Vec<T> {
    let items = keys.get(key).and_then(|at| context.errors.need(at.items("a list")));
    items.map(|items| items.filter_map(|item| one(&item)).collect()).unwrap_or_default()
}
