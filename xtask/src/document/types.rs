//! Types, constants, enumerations, words and encodings.

use super::{Head, PerArch, name_of};
use crate::yaml::Place;
use std::collections::BTreeMap;

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

impl Primitive {
    /// All of them, with their names in the description.
    pub const ALL: [(&'static str, Self); 10] = [
        ("u8", Self::U8),
        ("u16", Self::U16),
        ("u32", Self::U32),
        ("u64", Self::U64),
        ("i8", Self::I8),
        ("i16", Self::I16),
        ("i32", Self::I32),
        ("i64", Self::I64),
        ("char", Self::Char),
        ("ulong", Self::Ulong),
    ];

    /// Returns the name in the description of an integer type of C.
    #[must_use]
    pub fn of_c(name: &str) -> Option<&'static str> {
        Some(match name {
            "uint8_t" => "u8",
            "uint16_t" => "u16",
            "uint32_t" | "unsigned" | "unsigned int" => "u32",
            "uint64_t" | "uint64_aligned_t" => "u64",
            "int8_t" => "i8",
            "int16_t" => "i16",
            "int32_t" | "int" => "i32",
            "int64_t" | "int64_aligned_t" => "i64",
            "unsigned long" => "ulong",
            _ => return None,
        })
    }

    /// Returns its name in the description.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Radix {
    /// `65280`
    Decimal,
    /// `0xFF00`
    Hexadecimal,
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

/// The length of an array.
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
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// What it stands for.
    pub is: PerArch<TypeRef>,
    /// Its length, where it is an array.
    pub count: Option<PerArch<Count>>,
}

/// A number with a name.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// An integer primitive or an alias of one.
    pub type_: TypeRef,
    /// Its value.
    pub value: PerArch<i128>,
    /// How the value is written, on its first architecture.
    pub radix: Radix,
}

/// A text with a name: a key of xenstore, or a value of one.
#[derive(Clone, Debug)]
pub struct StringConstant {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// The text: printable ASCII without `"` and `\`.
    pub value: PerArch<String>,
}

/// An integer with named values.
#[derive(Clone, Debug)]
pub struct Enumeration {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// Its width.
    pub is: Primitive,
    /// The prefix of the C names of its values.
    pub prefix: String,
    /// Whether two values may be equal.
    pub alias: bool,
    /// The values.
    pub values: Vec<Value>,
}

/// A named value of an enumeration or of a bit field.
#[derive(Clone, Debug)]
pub struct Value {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// The number; in a bit field, before it is shifted into place.
    pub value: i128,
    /// The radix in which it is written.
    pub radix: Radix,
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
    /// Returns the number of bits.
    #[must_use]
    pub fn width(self) -> u32 {
        self.high - self.low + 1
    }

    /// Returns the bits as a mask in place.
    #[must_use]
    pub fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.width())) << self.low
    }
}

/// An integer made of bit fields.
#[derive(Clone, Debug)]
pub struct Word {
    /// The name, and the other keys that all items have.
    pub head: Head,
    /// Its width.
    pub is: Primitive,
    /// The prefix of the C names.
    pub prefix: String,
    /// The fields.
    pub fields: Vec<BitField>,
}

/// Some bits of a word.
#[derive(Clone, Debug)]
pub struct BitField {
    /// The name, and the other keys that all items have; the C constant is the mask in place.
    pub head: Head,
    /// The bits.
    pub bits: Bits,
    /// A C constant that holds the number of the lowest bit.
    pub index_c: Option<String>,
    /// Names for values of the field.
    pub values: Vec<Value>,
}

/// A value with a discriminant.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// The name, and the other keys that all items have.
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
    /// The name, and the other keys that all items have; the C constant is the tag.
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
    /// The documentation.
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
