//! What changed between two states of the ABI, and what each change means for the users of xen-pac.
//!
//! A [`State`] is a table for each architecture, from the description, the facts or a header tree.
//! [`compare`] makes [`Change`]s of two states, and [`show`] prints them.

mod compare;
pub mod show;

use super::facts::Table;
use crate::document::{Direction, Document, FieldUse, StructKind};
pub use compare::compare;
use std::collections::BTreeMap;

/// A state of the ABI.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What the user called it.
    pub label: String,
    /// One table for each architecture.
    pub tables: Vec<Table>,
    /// By the C name of each described argument, the fields that `new()` takes.
    pub parameters: BTreeMap<String, Vec<String>>,
}

/// What a change means for code that uses the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consequence {
    /// Nothing: existing code goes on working with both states.
    Compatible,
    /// Code that relies on it must check at run time whether Xen has it.
    RuntimeCheck,
    /// Existing code no longer compiles, or works with one of the two states only.
    Breaking,
}

/// The part of xen-pac's version that a change raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// xen-pac does not change in its interface.
    Patch,
    /// It gains something.
    Minor,
    /// Something that it had changes or goes.
    Major,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only the second state has it.
    Added,
    /// Only the first state has it.
    Removed,
    /// The same value or place under another name.
    Renamed,
    /// Another value.
    Value,
    /// A field at another offset or of another size.
    Field,
    /// A struct of another size.
    Size,
    /// Another string or macro.
    Macro,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The header.
    pub header: String,
    /// The constant, macro, struct or member in C.
    pub name: String,
    /// What happened.
    pub kind: Kind,
    /// How, for people.
    pub detail: String,
    /// What it means.
    pub consequence: Consequence,
    /// The step for xen-pac.
    pub step: Step,
    /// On which architectures.
    pub archs: Vec<String>,
}

impl Consequence {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::RuntimeCheck => "run-time check",
            Self::Breaking => "breaking",
        }
    }
}

impl Step {
    /// Its name in Semantic Versioning.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
            Self::Value => "value",
            Self::Field => "field",
            Self::Size => "size",
            Self::Macro => "macro",
        }
    }
}

/// By the C name of each described argument, the fields that `new()` takes: those that Xen reads.
#[must_use]
pub fn parameters(document: &Document) -> BTreeMap<String, Vec<String>> {
    let structs = document.files.iter().flat_map(|file| &file.structs);
    let arguments = structs.filter(|item| item.kind == StructKind::Argument);
    let named = arguments.filter_map(|item| {
        let read = item.fields.iter().filter(|field| {
            matches!(field.use_, FieldUse::Direction(Direction::In | Direction::Both))
        });
        let names = read.filter_map(|field| field.head.c.clone()).collect();
        Some((item.head.c.clone()?, names))
    });
    named.collect()
}
