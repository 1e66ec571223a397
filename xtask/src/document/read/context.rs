//! The errors of a run, and what the readers of all items share.

use crate::diagnostic::Diagnostic;
use crate::document::Manifest;
use crate::yaml::{Fault, Place, ReadFault, SourceText};
use std::cell::{Cell, RefCell};

/// Why a node could not be understood; boxed, since it is seldom made and often passed on.
pub(super) type Wrong = Box<Diagnostic>;

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
        self.incomplete.set(true);
        self.add(wrong);
    }

    /// The value; when it is wrong, that is reported, and what needs it is left out.
    pub(super) fn need<T>(&self, value: Result<T, Wrong>) -> Option<T> {
        value.map_err(|wrong| self.add_and_leave_out(*wrong)).ok()
    }

    /// The value; when it is wrong, that is reported, and `instead` stands for it.
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

    /// The errors, and whether the document is whole.
    pub(super) fn into_parts(self) -> (Vec<Diagnostic>, bool) {
        (self.found.into_inner(), !self.incomplete.get())
    }
}

/// What the builders of a file's items share.
pub(super) struct Context<'c> {
    pub(super) errors: &'c Errors,
    pub(super) manifest: &'c Manifest,
}
