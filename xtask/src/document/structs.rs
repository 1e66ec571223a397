//! Structs: memory that is shared, and arguments of hypercalls.

use super::types::{Count, TypeRef};
use super::{Head, PerArch, name_of};
use crate::yaml::Place;

/// Which section a struct comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StructKind {
    /// Memory shared with the hypervisor or a peer.
    Block,
    /// A struct that is handed to a hypercall.
    Argument,
}

/// A block or an argument.
#[derive(Clone, Debug)]
pub struct Struct {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// Block or argument.
    pub kind: StructKind,
    /// The size it must have in the newest release.
    pub size: Option<PerArch<u64>>,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// Groups that are read under a counter; only in blocks.
    pub snapshots: Vec<Snapshot>,
}

/// A field of a struct or of a union.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// What it is made of.
    pub shape: Shape,
    /// How many of it there are; `None` for one that is no array.
    pub count: Option<PerArch<Count>>,
    /// What the two sides do with it.
    pub use_: FieldUse,
}

impl Field {
    /// Returns the type of a field that is neither a union nor an inner struct.
    #[must_use]
    pub fn type_(&self) -> Option<&TypeRef> {
        match &self.shape {
            Shape::Type(type_) => Some(type_),
            Shape::Union { .. } | Shape::Struct(_) => None,
        }
    }

    /// Returns the members of a union or of an inner struct; of other fields, none.
    #[must_use]
    pub fn members(&self) -> &[Field] {
        match &self.shape {
            Shape::Type(_) => &[],
            Shape::Union { members, .. } | Shape::Struct(members) => members,
        }
    }
}

/// What a field is made of.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A type.
    Type(TypeRef),
    /// Members in the same place.
    Union {
        /// The members.
        members: Vec<Field>,
        /// Whether C has no name for the union.
        anonymous: bool,
    },
    /// Members one after the other.
    Struct(Vec<Field>),
}

/// What the two sides do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldUse {
    /// In a block: who touches it, and how.
    Access(Access),
    /// In a block: it is a block itself.
    Nested,
    /// In an argument: which way it goes.
    Direction(Direction),
    /// Neither side uses it.
    Reserved,
}

/// Who touches a field of a block, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Both sides change bits.
    Bits,
    /// Read through a snapshot.
    Versioned,
    /// The counter of a snapshot.
    Counter,
    /// A ring index.
    Index(Writer),
    /// Bytes that are copied.
    Buffer,
    /// Volatile access.
    Plain(Writer),
}

/// The accesses by name.
pub(super) const ACCESSES: [(&str, AccessName); 7] = [
    ("bits", AccessName::Alone(FieldUse::Access(Access::Bits))),
    ("versioned", AccessName::Alone(FieldUse::Access(Access::Versioned))),
    ("counter", AccessName::Alone(FieldUse::Access(Access::Counter))),
    ("index", AccessName::Written(Access::Index)),
    ("buffer", AccessName::Alone(FieldUse::Access(Access::Buffer))),
    ("plain", AccessName::Written(Access::Plain)),
    ("reserved", AccessName::Alone(FieldUse::Reserved)),
];

/// The meaning of a name of an access.
#[derive(Clone, Copy)]
pub(super) enum AccessName {
    /// The whole meaning.
    Alone(FieldUse),
    /// The writer is missing.
    Written(fn(Writer) -> Access),
}

/// Which side writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This side.
    Guest,
    /// The hypervisor or the peer.
    Xen,
}

impl Writer {
    /// Both, with their names in the description.
    pub const ALL: [(&'static str, Self); 2] = [("guest", Self::Guest), ("xen", Self::Xen)];

    /// Returns its name in the description.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// Which way an argument's field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the guest to Xen.
    In,
    /// From Xen to the guest.
    Out,
    /// Both ways.
    Both,
}

impl Direction {
    /// All of them, with their names in the description.
    pub const ALL: [(&'static str, Self); 3] =
        [("in", Self::In), ("out", Self::Out), ("both", Self::Both)];

    /// Returns its name in the description.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// A group of fields that is read under a counter.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The documentation.
    pub doc: String,
    /// The field that counts updates.
    pub counter: String,
    /// Name and path (`field` or `field.field`) of each member.
    pub members: Vec<SnapshotMember>,
    /// The node in the YAML.
    pub place: Place,
}

/// A member of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotMember {
    /// Its name in the snapshot.
    pub name: String,
    /// Where it lies in the block.
    pub path: PerArch<String>,
    /// The node in the YAML.
    pub place: Place,
}
