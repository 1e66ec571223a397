//! The arithmetic of ring indices, in one place.

/// An index of a ring: a counter of everything ever produced or consumed, which wraps at 2^32.
///
/// The ring's size is a power of two. An index that the peer wrote is only used through
/// [`used`](Self::used) and [`free`](Self::free), which clamp it to what can be.
///
/// ```
/// use xen_hal::ring::RingIndex;
///
/// let (produced, consumed) = (RingIndex(2), RingIndex(u32::MAX - 1));
/// assert_eq!((produced.used(consumed, 1024), produced.free(consumed, 1024)), (4, 1020));
/// assert_eq!((consumed.offset(1024), consumed.advanced(4)), (1022, produced));
/// // A peer that claims to have consumed what was not produced: the ring is full.
/// assert_eq!(produced.free(RingIndex(3), 1024), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RingIndex(pub u32);

impl RingIndex {
    /// Of a producer: how many elements it is ahead of `consumer`, at most `size`.
    #[inline]
    #[must_use]
    pub const fn used(self, consumer: Self, size: u32) -> u32 {
        let used = self.0.wrapping_sub(consumer.0);
        if used > size { size } else { used }
    }

    /// Of a producer: how many elements there is room for; none if the indices cannot be.
    #[inline]
    #[must_use]
    pub const fn free(self, consumer: Self, size: u32) -> u32 {
        size - self.used(consumer, size)
    }

    /// Where in the ring the element with this index lies.
    #[inline]
    #[must_use]
    pub const fn offset(self, size: u32) -> usize {
        (self.0 & size.wrapping_sub(1)) as usize
    }

    /// The index `count` elements further.
    #[inline]
    #[must_use]
    pub const fn advanced(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}
