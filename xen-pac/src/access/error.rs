//! Errors of encoding, decoding, ring indices, and copying from or to a buffer.

use core::error::Error;
use core::fmt;

/// A value does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldError {
    field: &'static str,
    value: u64,
    min: u64,
    max: u64,
}

impl FieldError {
    pub(crate) const fn new(field: &'static str, value: u64, min: u64, max: u64) -> Self {
        Self { field, value, min, max }
    }

    /// Returns the field's name in the description.
    #[inline]
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.field
    }

    /// Returns the rejected value.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// Returns the smallest and the largest value of the field.
    #[inline]
    #[must_use]
    pub const fn bounds(self) -> (u64, u64) {
        (self.min, self.max)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, min, max } = self;
        write!(f, "{field}: expected a value from {min} to {max}, found {value}")
    }
}

impl Error for FieldError {}

/// A word is not a value of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeError {
    value: u64,
}

impl DecodeError {
    pub(crate) const fn new(value: u64) -> Self {
        Self { value }
    }

    /// Returns the word that could not be decoded.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x} is not a value of this encoding: an unknown discriminant, a bit outside \
             every field, or a field out of range",
            self.value
        )
    }
}

impl Error for DecodeError {}

/// A copy would exceed a buffer. Nothing was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutOfBounds {
    pub(super) offset: usize,
    pub(super) count: usize,
    pub(super) len: usize,
}

impl OutOfBounds {
    /// Returns the offset of the copy.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// Returns the number of bytes to copy.
    #[inline]
    #[must_use]
    pub const fn count(self) -> usize {
        self.count
    }

    /// Returns the number of bytes in the buffer.
    #[inline]
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        self.len
    }
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, count, len } = self;
        write!(
            f,
            "expected a range within {len} bytes, found {count} bytes from offset {offset} on"
        )
    }
}

impl Error for OutOfBounds {}

/// The indices of a ring are further apart than it has slots, or its size is not a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingError {
    /// The ring's slots.
    pub size: usize,
    /// The producer's index.
    pub producer: u32,
    /// The consumer's index.
    pub consumer: u32,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, producer, consumer } = self;
        if size.is_power_of_two() {
            let used = producer.wrapping_sub(*consumer);
            write!(f, "ring indices: expected at most {size} slots in use, found {used}: ")?;
            write!(f, "producer {producer}, consumer {consumer}")
        } else {
            write!(f, "ring size: expected a power of two up to 2^31, found {size}")
        }
    }
}

impl Error for RingError {}

/// A value as `u64`, or an early `return Err(FieldError)` if it is out of bounds; for generated
/// `const fn`s.
macro_rules! in_range {
    ($field:expr, $value:expr, $min:expr, $max:expr) => {{
        let value = $value as u64;
        if value < $min || value > $max {
            return Err($crate::access::FieldError::new($field, value, $min, $max));
        }
        value
    }};
}

pub(crate) use in_range;
