//! The answers: where the fields of a struct or a union lie, what an integer is on an architecture,
//! and why there is no answer.

use crate::document::{Architecture, Primitive};
use crate::yaml::Place;
use std::fmt::{Display, Formatter, Result};
use std::rc::Rc;

/// The layout of a struct or a union in one release on one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its size in bytes, padding at the end included.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
    /// The fields that exist there, in order.
    pub fields: Vec<FieldLayout>,
    /// Through how many levels of inner structs and unions it goes; 1 if there is none.
    pub depth: u32,
}

/// The layout of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLayout {
    /// Its index among the described fields (or members) of what holds it.
    pub index: usize,
    /// Its offset in bytes from the start of what holds it.
    pub offset: u32,
    /// Its size in bytes, all elements of an array together; 0 for a flexible one.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
    /// The size in bytes of one element; the same as `size` if it is no array.
    pub element_size: u32,
    /// How many elements the field's own `count` gives it; `None` if it is no array. A flexible
    /// array has `Some(0)`.
    pub count: Option<u32>,
    /// The layout of an element that is a block, an argument, a union or an inner struct.
    pub inner: Option<Rc<Layout>>,
}

impl FieldLayout {
    /// Returns the offset after its last byte.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.offset + self.size
    }
}

impl Layout {
    /// Returns the layout of the field at `index` of the description, if it exists there.
    #[must_use]
    pub fn field(&self, index: usize) -> Option<&FieldLayout> {
        self.fields
            .binary_search_by_key(&index, |field| field.index)
            .ok()
            .map(|at| &self.fields[at])
    }

    /// Returns the bytes that belong to no field, as offsets and sizes, in order.
    #[must_use]
    pub fn padding(&self) -> Vec<(u32, u32)> {
        let mut gaps = Vec::new();
        let mut covered = 0;
        for field in &self.fields {
            if field.offset > covered {
                gaps.push((covered, field.offset - covered));
            }
            covered = covered.max(field.end());
        }
        if self.size > covered {
            gaps.push((covered, self.size - covered));
        }
        gaps
    }
}

/// An integer as an architecture's C compiler has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Its size in bytes.
    pub size: u32,
    /// Its alignment in bytes, which may be less than the size: i386 aligns 64 bits to 4 bytes.
    pub align: u32,
    /// Whether it can be negative.
    pub signed: bool,
}

impl Integer {
    /// What `primitive` is on `arch`.
    #[must_use]
    pub fn of(primitive: Primitive, arch: &Architecture) -> Self {
        let (size, signed) = match primitive {
            Primitive::U8 | Primitive::Char => (1, false),
            Primitive::U16 => (2, false),
            Primitive::U32 => (4, false),
            Primitive::U64 => (8, false),
            Primitive::I8 => (1, true),
            Primitive::I16 => (2, true),
            Primitive::I32 => (4, true),
            Primitive::I64 => (8, true),
            Primitive::Ulong => (arch.pointer_bytes, false),
        };
        Self { size, align: natural_align(size, arch), signed }
    }

    /// Creates a guest pointer on `arch`.
    #[must_use]
    pub fn handle(arch: &Architecture) -> Self {
        Self {
            size: arch.pointer_bytes,
            align: natural_align(arch.pointer_bytes, arch),
            signed: false,
        }
    }

    /// Returns the least value.
    #[must_use]
    pub fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits() - 1)) } else { 0 }
    }

    /// Returns the greatest value.
    #[must_use]
    pub fn max(self) -> i128 {
        if self.signed { (1 << (self.bits() - 1)) - 1 } else { (1 << self.bits()) - 1 }
    }

    /// How many bits it has; at least one, at most 64.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.size.saturating_mul(8).clamp(1, 64)
    }

    /// Returns whether it can hold `value`.
    #[must_use]
    pub fn holds(self, value: i128) -> bool {
        (self.min()..=self.max()).contains(&value)
    }
}

fn natural_align(size: u32, arch: &Architecture) -> u32 {
    if size == 8 { arch.align_u64.max(1) } else { size.max(1) }
}

/// Why a name has no meaning, or a struct no layout, in some release on some architecture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Problem {
    /// No type has this name anywhere.
    UnknownType(String),
    /// No constant has this name anywhere.
    UnknownConstant(String),
    /// The thing exists, but not in this release on this architecture.
    NotThere {
        /// Its name.
        name: String,
        /// Where it is described.
        defined: Box<Place>,
    },
    /// The name stands for something that no field can be made of.
    NotAType {
        /// The name.
        name: String,
        /// What it is, with an article.
        what: &'static str,
    },
    /// A map from architectures to values lacks this one.
    NoValue,
    /// An array has no elements.
    NoElements,
    /// An array has a negative number of elements.
    Negative(i128),
    /// Something is larger than any object can be.
    TooLarge,
    /// An array without a length stands where something follows or where its length must be known.
    Flexible,
    /// A type holds itself: the names on the way round, from a type to that type again.
    Recursive(Vec<String>),
    /// Types hold one another through more levels than [`MAX_DEPTH`](super::MAX_DEPTH), or stand
    /// for one another in a longer row than [`MAX_ALIASES`](super::MAX_ALIASES).
    TooDeep,
}

/// Why a struct has no layout, and which node of the description is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayoutError {
    /// The node to blame; perhaps in a struct that the one asked about holds.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Problem {
    /// Creates a type that holds itself by way of `names`. Of a long way only both ends are kept:
    /// every type on it will repeat them.
    pub(super) fn circle<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Self {
        let count = names.len();
        let mut path = Vec::new();
        for (at, name) in names.enumerate() {
            match at {
                _ if count <= 2 * ENDS || at < ENDS || at >= count - ENDS => {
                    path.push(name.to_owned());
                }
                ENDS => path.push("...".to_owned()),
                _ => {}
            }
        }
        Self::Recursive(path)
    }
}

/// How many names of each end of a long circle are told.
const ENDS: usize = 4;

impl Display for Problem {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::UnknownType(name) => write!(out, "there is no type `{name}`"),
            Self::UnknownConstant(name) => write!(out, "there is no constant `{name}`"),
            Self::NotThere { name, .. } => write!(out, "`{name}` does not exist there"),
            Self::NotAType { name, what } => {
                write!(out, "`{name}` is {what}, of which nothing can be made here")
            }
            Self::NoValue => write!(out, "no value for this architecture"),
            Self::NoElements => write!(out, "an array of length 0"),
            Self::Negative(count) => write!(out, "an array of length {count}"),
            Self::TooLarge => write!(out, "larger than 2 GiB"),
            Self::Flexible => {
                write!(out, "only the last field of a block or an argument can be flexible")
            }
            Self::Recursive(path) => write!(out, "a type that holds itself: {}", path.join(" > ")),
            Self::TooDeep => write!(out, "types too deep in one another"),
        }
    }
}

impl Display for LayoutError {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        Display::fmt(&self.problem, out)
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for LayoutError {}
