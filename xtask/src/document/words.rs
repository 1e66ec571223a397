//! Bits: words made of bit fields, and values with a discriminant.

use super::{Head, Place, Primitive, Value};
use std::collections::BTreeMap;

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
