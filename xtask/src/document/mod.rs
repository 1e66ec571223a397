//! The description as Rust values: what the YAML files say, and where they say it.
//!
//! [`read`] makes a [`Document`] of the texts. Nothing here computes a layout or checks more than
//! a single node. Every item knows its [`Place`], so that later steps can point
//! at the text.

mod commands;
pub mod language;
mod manifest;
pub mod mapping;
mod read;
mod structs;
mod types;

use crate::yaml::Place;
pub use commands::{CallResult, CallShape, Command, CommandSet, Convention};
pub use manifest::{
    ArchId, ArchSet, Architecture, Availability, Manifest, Release, ReleaseId, ReleaseRange,
};
pub use read::document as read;
use std::collections::BTreeMap;
pub use structs::{
    Access, Direction, Field, FieldUse, Shape, Snapshot, SnapshotMember, Struct, StructKind, Writer,
};
pub use types::{
    BitField, Bits, Constant, Count, Encoding, Enumeration, Primitive, Radix, StringConstant,
    TypeAlias, TypeRef, Value, Variant, VariantField, VariantKind, Word,
};

/// A whole description: the manifest and the files that it lists, in its order.
#[derive(Clone, Debug)]
pub struct Document {
    /// Releases, architectures, files.
    pub manifest: Manifest,
    /// The subject files.
    pub files: Vec<File>,
}

/// A subject file.
#[derive(Clone, Debug)]
pub struct File {
    /// The file's name without folder and ending; the name of the module that is made of it.
    pub name: String,
    /// What the file is about.
    pub doc: String,
    /// The feature of xen-pac that has the module, if it is not always there.
    pub feature: Option<String>,
    /// The section `types`.
    pub types: Vec<TypeAlias>,
    /// The section `constants`.
    pub constants: Vec<Constant>,
    /// The section `strings`.
    pub strings: Vec<StringConstant>,
    /// The section `enumerations`.
    pub enumerations: Vec<Enumeration>,
    /// The section `words`.
    pub words: Vec<Word>,
    /// The section `encodings`.
    pub encodings: Vec<Encoding>,
    /// The section `conventions`.
    pub conventions: Vec<Convention>,
    /// The sections `blocks` and `arguments`, in the order of the file.
    pub structs: Vec<Struct>,
    /// The section `commands`.
    pub commands: Vec<CommandSet>,
}

/// What every item has.
#[derive(Clone, Debug)]
pub struct Head {
    /// The name in the description.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// The upstream header, relative to `xen/include/public/`.
    pub header: String,
    /// Where it exists. An item inside another exists at most where the outer one does; the parser
    /// has already narrowed it.
    pub availability: Availability,
    /// The name in C; `None` where the headers have none.
    pub c: Option<String>,
    /// The first release whose headers have the C name, where that is later than the item.
    pub named_since: Option<ReleaseId>,
    /// The architectures whose hypervisor does it, where those are fewer than have it.
    pub honoured_arch: Option<ArchSet>,
    /// What to use instead.
    pub superseded_by: Option<String>,
    /// The item's node.
    pub place: Place,
}

/// Returns the name of a choice in the description.
fn name_of<T: Copy + PartialEq>(all: &[(&'static str, T)], wanted: T) -> &'static str {
    all.iter().find(|(_, known)| *known == wanted).map_or("", |(name, _)| name)
}

/// A value that may differ by architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerArch<T> {
    /// The same everywhere.
    Same(T),
    /// One for each architecture on which the item exists.
    Each(BTreeMap<ArchId, T>),
}

impl<T> PerArch<T> {
    /// Returns the value on `arch`, if there is one.
    #[must_use]
    pub fn get(&self, arch: ArchId) -> Option<&T> {
        match self {
            Self::Same(value) => Some(value),
            Self::Each(values) => values.get(&arch),
        }
    }

    /// Returns the values, each of which some architecture has.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let (same, each) = match self {
            Self::Same(value) => (Some(value), None),
            Self::Each(values) => (None, Some(values.values())),
        };
        same.into_iter().chain(each.into_iter().flatten())
    }
}
