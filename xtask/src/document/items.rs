//! The items of a subject file.

use super::{ArchId, Availability, Place, ReleaseId};
use std::collections::BTreeMap;

/// A subject file.
#[derive(Clone, Debug)]
pub struct File {
    /// The file's name without folder and ending; the name of the module that is made of it.
    pub name: String,
    /// What the file is about.
    pub doc: String,
    /// The section `types`.
    pub types: Vec<TypeAlias>,
    /// The section `constants`.
    pub constants: Vec<Constant>,
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
    /// What it is.
    pub doc: String,
    /// The upstream header, relative to `xen/include/public/`.
    pub header: String,
    /// Where it exists. An item inside another exists at most where the outer one does; the parser has already narrowed it.
    pub availability: Availability,
    /// The name in C; `None` where the headers have none.
    pub c: Option<String>,
    /// The first release whose headers have the C name, where that is later than the item.
    pub named_since: Option<ReleaseId>,
    /// What to use instead.
    pub superseded_by: Option<String>,
    /// The item's node.
    pub place: Place,
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
    /// The value on `arch`, if there is one.
    #[must_use]
    pub fn get(&self, arch: ArchId) -> Option<&T> {
        match self {
            Self::Same(value) => Some(value),
            Self::Each(values) => values.get(&arch),
        }
    }
}

/// An integer type of the description itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Primitive {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// A byte of text.
    Char,
    /// C's unsigned long: as wide as a pointer.
    Ulong,
}

/// What a field, an alias or an argument is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeRef {
    /// An integer.
    Primitive(Primitive),
    /// A guest pointer that is handed to Xen, to values of the type.
    Handle(Box<TypeRef>),
    /// A name from `types`, `enumerations`, `words`, `blocks` or `arguments`.
    Named(String),
}

/// How many there are of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// A number.
    Number(u64),
    /// The value of a constant.
    Constant(String),
    /// As many as follow; only for the last field.
    Flexible,
}

/// Another name for an integer or an array of them.
#[derive(Clone, Debug)]
pub struct TypeAlias {
    /// Name and more.
    pub head: Head,
    /// What it stands for.
    pub is: PerArch<TypeRef>,
    /// Its length, where it is an array.
    pub count: Option<PerArch<Count>>,
}

/// A number with a name.
#[derive(Clone, Debug)]
pub struct Constant {
    /// Name and more.
    pub head: Head,
    /// An integer primitive or an alias of one.
    pub type_: TypeRef,
    /// Its value.
    pub value: PerArch<i128>,
}

/// An integer of which some values have names.
#[derive(Clone, Debug)]
pub struct Enumeration {
    /// Name and more.
    pub head: Head,
    /// Its width.
    pub is: Primitive,
    /// What the C names of its values begin with.
    pub prefix: String,
    /// Whether two values may be equal.
    pub alias: bool,
    /// The values.
    pub values: Vec<Value>,
}

/// A named value of an enumeration or of a bit field.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name and more.
    pub head: Head,
    /// The number; in a bit field, before it is shifted into place.
    pub value: i128,
}

/// Bits of a word, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The highest.
    pub high: u32,
    /// The lowest.
    pub low: u32,
}

impl Bits {
    /// How many bits there are.
    #[must_use]
    pub fn width(self) -> u32 {
        self.high - self.low + 1
    }

    /// The bits as a mask in place.
    #[must_use]
    pub fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.width())) << self.low
    }
}

/// An integer made of bit fields.
#[derive(Clone, Debug)]
pub struct Word {
    /// Name and more.
    pub head: Head,
    /// Its width.
    pub is: Primitive,
    /// What the C names begin with.
    pub prefix: String,
    /// The fields.
    pub fields: Vec<BitField>,
}

/// Some bits of a word.
#[derive(Clone, Debug)]
pub struct BitField {
    /// Name and more; the C constant is the mask in place.
    pub head: Head,
    /// Which bits.
    pub bits: Bits,
    /// A C constant that holds the number of the lowest bit.
    pub index_c: Option<String>,
    /// Names for values of the field.
    pub values: Vec<Value>,
}

/// A value with a discriminant.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Name and more.
    pub head: Head,
    /// The width of the whole.
    pub is: Primitive,
    /// Where the discriminant is.
    pub tag: Bits,
    /// The forms.
    pub variants: Vec<Variant>,
}

/// One form of an encoding.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Name and more; the C constant is the tag.
    pub head: Head,
    /// What tells it apart.
    pub kind: VariantKind,
}

/// What a form of an encoding holds.
#[derive(Clone, Debug)]
pub enum VariantKind {
    /// One whole value.
    Value(u64),
    /// A tag with fields.
    Fields {
        /// The discriminant.
        tag: u64,
        /// The fields.
        fields: Vec<VariantField>,
        /// A value of the whole, and of each field, that must encode and decode into one another.
        example: Option<(u64, BTreeMap<String, u64>)>,
    },
}

/// A field of one form of an encoding.
#[derive(Clone, Debug)]
pub struct VariantField {
    /// Its name.
    pub name: String,
    /// What it is.
    pub doc: String,
    /// Which bits of the whole.
    pub bits: Bits,
    /// The least value that may be built.
    pub min: u64,
    /// The greatest value that may be built.
    pub max: u64,
    /// The field's node.
    pub place: Place,
}

/// How an architecture makes a hypercall.
#[derive(Clone, Debug)]
pub struct Convention {
    /// The architecture.
    pub arch: ArchId,
    /// What there is to know.
    pub doc: String,
    /// The register that holds the hypercall's number.
    pub number: String,
    /// The registers that hold the arguments.
    pub arguments: Vec<String>,
    /// The register in which the answer comes.
    pub result: String,
    /// The instructions that can make the call.
    pub instructions: Vec<String>,
    /// Whether Xen can fill a page with code that makes the call.
    pub page: bool,
    /// The constant that the instruction carries.
    pub immediate: Option<String>,
    /// What else changes.
    pub clobbers: Vec<String>,
    /// The node.
    pub place: Place,
}

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
    /// Name and more.
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
    /// Name and more.
    pub head: Head,
    /// What it is made of.
    pub shape: Shape,
    /// How many of it there are; `None` for one that is no array.
    pub count: Option<PerArch<Count>>,
    /// What the two sides do with it.
    pub use_: FieldUse,
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
    /// Nobody uses it.
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

/// Which side writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This side.
    Guest,
    /// The hypervisor or the peer.
    Xen,
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

/// A group of fields that is read under a counter.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// What it is.
    pub doc: String,
    /// The field that counts updates.
    pub counter: String,
    /// Name and path (`field` or `field.field`) of each member.
    pub members: Vec<SnapshotMember>,
    /// The node.
    pub place: Place,
}

/// A member of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotMember {
    /// Its name in the snapshot.
    pub name: String,
    /// Where it lies in the block.
    pub path: PerArch<String>,
    /// The node.
    pub place: Place,
}

/// The commands of one hypercall.
#[derive(Clone, Debug)]
pub struct CommandSet {
    /// A value of the enumeration `hypercall`.
    pub hypercall: String,
    /// What they are about.
    pub doc: String,
    /// What the C names of the commands begin with.
    pub prefix: String,
    /// The commands.
    pub list: Vec<Command>,
    /// The node.
    pub place: Place,
}

/// A command of a hypercall.
#[derive(Clone, Debug)]
pub struct Command {
    /// Name and more.
    pub head: Head,
    /// Its number.
    pub number: u64,
    /// C's arguments.
    pub shape: CallShape,
    /// What its argument points to.
    pub argument: Option<TypeRef>,
    /// What an answer that is no error means.
    pub result: CallResult,
    /// What a careless call breaks.
    pub hazard: Option<String>,
}

/// C's arguments of a hypercall with commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallShape {
    /// (command)
    Bare,
    /// (command, pointer)
    Argument,
    /// (command, vCPU, pointer)
    Vcpu,
    /// (command, pointer, count)
    Array,
    /// (command, count, pointer)
    Buffer,
    /// (command, value)
    Value,
}

/// What an answer that is no error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// Nothing.
    None,
    /// A number.
    Value,
    /// How many were done.
    Count,
    /// Non-zero for yes.
    Boolean,
}
