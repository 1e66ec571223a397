//! Types, counts, constants and enumerations.

use super::{Head, PerArch};

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
