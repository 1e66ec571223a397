//! What the readers of all items share: the errors of a run, and the keys of a mapping. A key that
//! is not in the mapping's table is an error.

use super::node::{At, Wrong};
use super::text::{clipped, suggest};
use crate::diagnostic::{Diagnostic, nearest};
use crate::document::Manifest;
use crate::document::mapping;
use crate::yaml::{Entry, Fault, Mapping, Place, ReadFault, SourceText};
use std::cell::{Cell, RefCell};

/// Holds what `cargo xtask bump` leaves to a person.
const JUDGE: &str = "judge";

/// All that was found so far.
#[derive(Default)]
pub(super) struct Errors {
    found: RefCell<Vec<Diagnostic>>,
    incomplete: Cell<bool>,
}

impl Errors {
    /// Reports an error after which the document is still whole.
    pub(super) fn add(&self, wrong: Diagnostic) {
        self.found.borrow_mut().push(wrong);
    }

    /// Reports an error for which a part of the document is left out.
    pub(super) fn add_and_leave_out(&self, wrong: Diagnostic) {
        self.leave_out();
        self.add(wrong);
    }

    /// Notes that a part of the document is left out.
    pub(super) fn leave_out(&self) {
        self.incomplete.set(true);
    }

    /// Returns the value; when it is wrong, that is reported, and what needs it is left out.
    pub(super) fn need<T>(&self, value: Result<T, Wrong>) -> Option<T> {
        value.map_err(|wrong| self.add_and_leave_out(*wrong)).ok()
    }

    /// Returns the value; when it is wrong, that is reported, and `instead` stands for it.
    pub(super) fn or<T>(&self, value: Result<T, Wrong>, instead: T) -> T {
        value.unwrap_or_else(|wrong| {
            self.add(*wrong);
            instead
        })
    }

    /// Reports a file whose text could not be had.
    pub(super) fn unreadable(&self, source: &SourceText, fault: &ReadFault) {
        let place = Place::root(&source.name);
        self.add_and_leave_out(match fault {
            ReadFault::Unreadable(why) => {
                Diagnostic::new(place, format!("the file cannot be read: {why}"))
            }
            ReadFault::NotUtf8 { offset } => {
                let wrong = Diagnostic::new(place, "the file is not valid UTF-8")
                    .label("the first byte that is none");
                let end = offset
                    + source
                        .text
                        .get(*offset..)
                        .and_then(|rest| rest.chars().next())
                        .map_or(0, char::len_utf8);
                Diagnostic { span: Some(*offset..end), ..wrong }
            }
        });
    }

    /// Reports what is wrong with a file as YAML.
    pub(super) fn fault(&self, source: &SourceText, fault: &Fault, readable: bool) {
        let place = Place::root(&source.name);
        let wrong = Diagnostic {
            place,
            span: Some(fault.span.clone()),
            message: fault.message.clone(),
            label: fault.label.clone(),
            help: fault.help.clone(),
            related: Vec::new(),
            related_spans: fault.related.iter().cloned().collect(),
        };
        if readable { self.add(wrong) } else { self.add_and_leave_out(wrong) }
    }

    /// Returns the errors, and whether the document is whole.
    pub(super) fn into_parts(self) -> (Vec<Diagnostic>, bool) {
        (self.found.into_inner(), !self.incomplete.get())
    }
}

/// What the builders of a file's items share.
pub(super) struct Context<'c> {
    pub(super) errors: &'c Errors,
    pub(super) manifest: &'c Manifest,
}

/// A mapping whose keys have fixed names.
pub(super) struct Keys<'t> {
    pub(super) at: At<'t>,
    mapping: &'t Mapping<'t>,
    table: &'static mapping::Mapping,
}

impl<'t> Keys<'t> {
    /// Takes the node as a mapping with the keys of `table`. Reports others.
    pub(super) fn open(
        errors: &Errors,
        at: &At<'t>,
        table: &'static mapping::Mapping,
    ) -> Option<Self> {
        let mapping = errors.need(at.mapping(table.what))?;
        let keys = Self { at: at.clone(), mapping, table };
        keys.check(errors);
        Some(keys)
    }

    /// Returns the value under `key`, if there is one.
    pub(super) fn get(&self, key: &'static str) -> Option<At<'t>> {
        self.mapping.get(key).map(|entry| self.at.entry(entry))
    }

    /// Returns whether there is `key`.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Returns the value under `key`, without which there is nothing.
    pub(super) fn need(&self, errors: &Errors, key: &'static str) -> Option<At<'t>> {
        let value = self.get(key);
        if value.is_none() {
            errors.leave_out();
            self.missing(errors, key, "");
        }
        value
    }

    /// Reports that `key` is missing, unless another error says why: the key is misspelt, or is
    /// left to a person.
    pub(super) fn missing(&self, errors: &Errors, key: &str, help: &str) {
        let known = self.known();
        let is_cause = |entry: &Entry<'_>| match &*entry.key {
            JUDGE => entry.value.text().is_some_and(|left| left.split(", ").any(|of| of == key)),
            other => nearest(other, known.clone()) == Some(key),
        };
        if self.unknown().any(is_cause) {
            return;
        }
        let wrong = self.at.wrong(format!("the key `{key}` is missing"));
        let wrong = wrong.label(format!("has no `{key}`"));
        errors.add(if help.is_empty() { wrong } else { wrong.help(help) });
    }

    fn known(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.table.keys().map(|key| key.name)
    }

    /// Returns the entries whose keys are not in the table.
    fn unknown(&self) -> impl Iterator<Item = &'t Entry<'t>> {
        let known = self.known();
        let is_known = move |name: &str| known.clone().any(|known| known == name);
        self.mapping.entries.iter().filter(move |entry| !is_known(&entry.key))
    }

    /// Reports the keys that are not in the table. If a key holds items or is misspelt, a part of
    /// the document is left out, so that no later step misses it.
    fn check(&self, errors: &Errors) {
        let known = self.known();
        for entry in self.unknown() {
            let place = self.at.entry(entry).place().as_key();
            if entry.key == JUDGE {
                let left = entry.value.text().unwrap_or("the item");
                let wrong = Diagnostic::new(place, format!("left to judge: {left}"));
                errors.add(wrong.help("decide what the bump could not, and remove the key"));
                continue;
            }
            let is_misspelt = nearest(&entry.key, known.clone()).is_some();
            if is_misspelt || entry.value.text().is_none() {
                errors.leave_out();
            }
            let wrong = Diagnostic::new(place, format!("unknown key `{}`", clipped(&entry.key)));
            errors.add(suggest(wrong, &entry.key, known.clone(), "the keys here are"));
        }
    }
}

/// Returns the items of a list under `key`, which may be missing.
pub(super) fn listed<T>(
    context: &Context<'_>,
    keys: &Keys<'_>,
    key: &'static str,
    one: impl Fn(&At<'_>) -> Option<T>,
) -> Vec<T> {
    let items = keys.get(key).and_then(|at| context.errors.need(at.items("a list")));
    items.map(|items| items.filter_map(|item| one(&item)).collect()).unwrap_or_default()
}
