//! The description as Rust values: what the YAML files say, and where they say it.
//!
//! [`read`] makes a [`Document`] of the texts. Nothing here computes a layout or checks more than
//! a single node. Every item knows its [`Place`](crate::yaml::Place), so that later steps can point
//! at the text.

mod commands;
mod file;
mod item;
mod manifest;
mod read;
mod structs;
mod types;

pub use commands::{CallResult, CallShape, Command, CommandSet, Convention};
pub use file::{Document, File};
pub use item::{Head, PerArch};
pub use manifest::{
    ArchId, ArchSet, Architecture, Availability, Manifest, Release, ReleaseId, ReleaseRange,
};
pub use read::document as read;
pub use structs::{
    Access, Direction, Field, FieldUse, Shape, Snapshot, SnapshotMember, Struct, StructKind, Writer,
};
pub use types::{
    BitField, Bits, Constant, Count, Encoding, Enumeration, Primitive, Radix, TypeAlias, TypeRef,
    Value, Variant, VariantField, VariantKind, Word,
};
