//! Ring indices: free-running counters with one writer each.

use core::fmt;
use core::sync::atomic::Ordering;

use super::location::Location;
use super::word::sealed::Atomic;

/// Our own index of a ring: we alone write it, the peer reads it.
#[derive(Clone, Copy)]
pub struct OwnIndex<'a>(Location<'a, u32>);

/// The peer's index of a ring. What it holds is the peer's word: check it against the ring's size
/// before using it.
#[derive(Clone, Copy)]
pub struct PeerIndex<'a>(Location<'a, u32>);

impl<'a> OwnIndex<'a> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, u32>) -> Self {
        Self(location)
    }

    /// Reads back what we published last.
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Relaxed)
    }

    /// Publishes a new index: whatever was written to or read from the ring before is done before
    /// the peer sees it (release).
    #[inline(always)]
    pub fn publish(self, index: u32) {
        u32::store(self.0.atomic(), index, Ordering::Release);
    }

    /// The same index as the peer sees it: for a program that plays the other side.
    #[cfg(feature = "simulated")]
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

    /// Reads the index: whatever the peer wrote to the ring before publishing it is seen by what
    /// follows (acquire).
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Acquire)
    }

    /// The same index as the peer sees it: for a program that plays the other side.
    #[cfg(feature = "simulated")]
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
