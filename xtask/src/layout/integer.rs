//! What an integer primitive is on an architecture.

use crate::document::{Architecture, Primitive};

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

    /// A guest pointer on `arch`.
    #[must_use]
    pub fn handle(arch: &Architecture) -> Self {
        Self {
            size: arch.pointer_bytes,
            align: natural_align(arch.pointer_bytes, arch),
            signed: false,
        }
    }

    /// The least value.
    #[must_use]
    pub fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits() - 1)) } else { 0 }
    }

    /// The greatest value.
    #[must_use]
    pub fn max(self) -> i128 {
        if self.signed { (1 << (self.bits() - 1)) - 1 } else { (1 << self.bits()) - 1 }
    }

    /// How many bits it has; at least one, at most 64.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.size.saturating_mul(8).clamp(1, 64)
    }

    /// Whether it can hold `value`.
    #[must_use]
    pub fn holds(self, value: i128) -> bool {
        (self.min()..=self.max()).contains(&value)
    }
}

fn natural_align(size: u32, arch: &Architecture) -> u32 {
    if size == 8 { arch.align_u64.max(1) } else { size.max(1) }
}
