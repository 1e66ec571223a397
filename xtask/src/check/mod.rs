//! Judges what a single node of the YAML cannot show: whether the description is right in itself.
//!
//! One file for each kind of rule. A rule looks at the whole [`Document`] and adds what it finds to
//! a report, in which the same fault of several releases or architectures becomes one diagnostic.
//! No rule needs another to have passed.

mod aliases;
mod arguments;
mod atomics;
mod availability;
mod bits;
mod commands;
mod docs;
mod duplicates;
mod encodings;
mod fields;
mod names;
mod per_arch;
mod places;
mod references;
mod report;
mod sizes;
mod snapshots;
mod unique;
mod values;
mod walk;

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Manifest};
use crate::layout::{Layouts, Symbols};

/// What every rule looks at.
struct Context<'d> {
    document: &'d Document,
    layouts: &'d Layouts<'d>,
}

impl<'d> Context<'d> {
    fn manifest(&self) -> &'d Manifest {
        &self.document.manifest
    }

    fn symbols(&self) -> &Symbols<'d> {
        self.layouts.symbols()
    }
}

/// Everything that is wrong with `document`.
#[must_use]
pub fn run(document: &Document) -> Vec<Diagnostic> {
    run_with(document, &Layouts::new(document))
}

/// The same, for a caller who goes on to use the document's layouts.
#[must_use]
pub fn run_with<'d>(document: &'d Document, layouts: &'d Layouts<'d>) -> Vec<Diagnostic> {
    let context = Context { document, layouts };
    let mut report = report::Report::new(&document.manifest);
    let rules = [
        names::identifiers,
        docs::check,
        availability::check,
        duplicates::check,
        names::check,
        references::check,
        aliases::check,
        per_arch::check,
        values::check,
        bits::check,
        encodings::check,
        fields::check,
        arguments::check,
        atomics::check,
        snapshots::check,
        commands::check,
        sizes::check,
    ];
    for rule in rules {
        rule(&context, &mut report);
    }
    report.finish()
}
