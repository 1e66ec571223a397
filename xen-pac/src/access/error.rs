//! What can be wrong with a value that is to be encoded or decoded, and with a position in a
//! buffer.

use core::error::Error;
use core::fmt;

/// A value does not fit the field it was meant for.
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

    /// The field's name, as the description has it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        self.field
    }

    /// The value that was offered.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// The smallest and the largest value that the field takes.
    #[must_use]
    pub const fn bounds(self) -> (u64, u64) {
        (self.min, self.max)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, min, max } = self;
        write!(f, "{field} is {value}, but must be from {min} to {max}")
    }
}

impl Error for FieldError {}

/// A word is none of the values that its encoding has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeError {
    value: u64,
}

impl DecodeError {
    pub(crate) const fn new(value: u64) -> Self {
        Self { value }
    }

    /// The word that could not be decoded.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x} is no value of this encoding: its discriminant is unknown, a bit outside every field is set, or a field is out of range",
            self.value
        )
    }
}

impl Error for DecodeError {}

/// A copy would have gone beyond the end of a buffer. Nothing was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutOfBounds {
    pub(super) offset: usize,
    pub(super) count: usize,
    pub(super) len: usize,
}

impl OutOfBounds {
    /// Where the copy was to begin.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// How many bytes it was to have.
    #[must_use]
    pub const fn count(self) -> usize {
        self.count
    }

    /// How many bytes the buffer has.
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        self.len
    }
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, count, len } = self;
        write!(f, "{count} bytes from offset {offset} on are not within a buffer of {len} bytes")
    }
}

impl Error for OutOfBounds {}

/// A value as `u64`, or an early `return Err(FieldError)` when it is out of bounds; for
/// `const fn`s.
#[allow(unused_macros, reason = "for generated encoders")]
macro_rules! in_range {
    ($field:expr, $value:expr, $min:expr, $max:expr) => {{
        let value = $value as u64;
        if value < $min || value > $max {
            return Err($crate::access::FieldError::new($field, value, $min, $max));
        }
        value
    }};
}

#[allow(unused_imports, reason = "for generated encoders")]
pub(crate) use in_range;
