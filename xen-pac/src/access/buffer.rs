//! Bytes that are copied in or out.

use core::fmt;

use super::error::OutOfBounds;
use super::location::{Location, Run};

/// Bytes of shared memory, which can be copied and not borrowed: the peer may change them under a
/// slice's feet.
///
/// The copies order nothing; the ring's indices do.
#[derive(Clone, Copy)]
pub struct Buffer<'a>(Run<'a, u8>);

impl<'a> Buffer<'a> {
    #[inline(always)]
    pub(crate) const fn new<const N: usize>(location: Location<'a, [u8; N]>) -> Self {
        Self(location.as_run())
    }

    /// How many bytes there are.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When they go beyond the end; nothing was copied then.
    pub fn copy_to(self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.places(offset, into.len())?.zip(into).for_each(|(place, byte)| *byte = place.read());
        Ok(())
    }

    /// Writes `from` to the bytes from `offset` on.
    ///
    /// # Errors
    /// When they go beyond the end; nothing was copied then.
    pub fn copy_from(self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        self.places(offset, from.len())?.zip(from).for_each(|(place, byte)| place.write(*byte));
        Ok(())
    }

    fn places(
        self,
        offset: usize,
        count: usize,
    ) -> Result<impl Iterator<Item = Location<'a, u8>>, OutOfBounds> {
        let len = self.0.len();
        match offset.checked_add(count) {
            Some(end) if end <= len => Ok((offset..end).filter_map(move |index| self.0.get(index))),
            _ => Err(OutOfBounds { offset, count, len }),
        }
    }
}

impl fmt::Debug for Buffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}
