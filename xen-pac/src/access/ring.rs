//! Shared rings: the two indices, each with one writer, and the bytes between them.

use core::fmt;
use core::sync::atomic::Ordering;

use super::error::OutOfBounds;
use super::location::{Location, Run};
use super::word::sealed::Atomic;

/// The guest's own index of a ring: only the guest writes it, and the peer reads it.
#[derive(Clone, Copy)]
pub struct OwnIndex<'a>(Location<'a, u32>);

/// The peer's index of a ring. The peer may store any value: check it against the ring's size
/// before using it.
#[derive(Clone, Copy)]
pub struct PeerIndex<'a>(Location<'a, u32>);

impl<'a> OwnIndex<'a> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, u32>) -> Self {
        Self(location)
    }

    /// Reads back the index that was published last.
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Relaxed)
    }

    /// Publishes a new index (release): all accesses to the ring before this are complete before
    /// the peer sees the index.
    #[inline(always)]
    pub fn publish(self, index: u32) {
        u32::store(self.0.atomic(), index, Ordering::Release);
    }

    /// The same index as the peer sees it: for a program that plays the other side.
    #[cfg(feature = "simulated")]
    #[inline]
    #[must_use]
    pub const fn other_side(self) -> PeerIndex<'a> {
        PeerIndex(self.0)
    }
}

impl<'a> PeerIndex<'a> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, u32>) -> Self {
        Self(location)
    }

    /// Reads the index (acquire): what the peer wrote to the ring before publishing it is visible
    /// to all accesses after this.
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Acquire)
    }

    /// The same index as the peer sees it: for a program that plays the other side.
    #[cfg(feature = "simulated")]
    #[inline]
    #[must_use]
    pub const fn other_side(self) -> OwnIndex<'a> {
        OwnIndex(self.0)
    }
}

impl fmt::Debug for OwnIndex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnIndex({})", self.load())
    }
}

impl fmt::Debug for PeerIndex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerIndex({})", self.load())
    }
}

/// Bytes of shared memory. They can be copied but not borrowed, since the peer may change them at
/// any time.
///
/// Several threads may copy at once: each byte is a relaxed atomic. The copies order nothing; the
/// ring's indices do.
#[derive(Clone, Copy)]
pub struct Buffer<'a>(Run<'a, u8>);

impl<'a> Buffer<'a> {
    #[inline(always)]
    pub(crate) const fn new<const N: usize>(location: Location<'a, [u8; N]>) -> Self {
        Self(location.as_run())
    }

    /// The number of bytes.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// True if there are no bytes.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If they go beyond the end; then nothing was copied.
    pub fn copy_to(self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.places(offset, into.len())?
            .zip(into)
            .for_each(|(place, byte)| *byte = place.read_back());
        Ok(())
    }

    /// Writes `from` to the bytes from `offset` on.
    ///
    /// # Errors
    /// If they go beyond the end; then nothing was copied.
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
