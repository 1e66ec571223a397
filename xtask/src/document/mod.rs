//! The description as Rust values: what the YAML files say, and where they say it.
//!
//! Nothing here computes a layout or judges anything. Every item knows its [`Place`], so that later
//! steps can point at the text.

mod availability;
mod commands;
mod file;
mod manifest;
mod place;
mod structs;
mod types;
mod words;

pub use availability::{ArchSet, Availability, ReleaseRange};
pub use commands::{CallResult, CallShape, Command, CommandSet, Convention};
pub use file::{File, Head, PerArch};
pub use manifest::{ArchId, Architecture, Manifest, Release, ReleaseId};
pub use place::{Place, Side, Step};
pub use structs::{
    Access, Direction, Field, FieldUse, Shape, Snapshot, SnapshotMember, Struct, StructKind, Writer,
};
pub use types::{Constant, Count, Enumeration, Primitive, TypeAlias, TypeRef, Value};
pub use words::{BitField, Bits, Encoding, Variant, VariantField, VariantKind, Word};

/// A whole description: the manifest and the files that it lists, in its order.
#[derive(Clone, Debug)]
pub struct Document {
    /// Releases, architectures, files.
    pub manifest: Manifest,
    /// The subject files.
    pub files: Vec<File>,
}
