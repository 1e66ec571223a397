//! Implements shared rings: the two indices, each with one writer, and the bytes.

use core::fmt;

use super::atomic::Ordering;
use super::error::{OutOfBounds, RingError};
use super::location::{Location, Run};
use super::word::sealed::Atomic;

/// The guest's index of a ring, which only the guest writes.
#[derive(Clone, Copy)]
pub struct OwnIndex<'a>(Location<'a, u32>);

/// The peer's index of a ring. The peer may store any value: [`RingIndex`] checks it.
#[derive(Clone, Copy)]
pub struct PeerIndex<'a>(Location<'a, u32>);

impl<'a> OwnIndex<'a> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, u32>) -> Self {
        Self(location)
    }

    /// Reads the last published index.
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Relaxed)
    }

    /// Publishes a new index with release ordering: all earlier accesses to the ring complete
    /// before the peer sees the index.
    #[inline(always)]
    pub fn publish(self, index: u32) {
        u32::store(self.0.atomic(), index, Ordering::Release);
    }

    /// Returns the same index with the peer's access, for a program that simulates the other side.
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

    /// Reads the index with acquire ordering: later accesses see everything that the peer wrote to
    /// the ring before it published the index.
    #[inline(always)]
    #[must_use]
    pub fn load(self) -> u32 {
        u32::load(self.0.atomic(), Ordering::Acquire)
    }

    /// Returns the same index with the peer's access, for a program that simulates the other side.
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

/// The checked indices of a ring: the number of used and of free slots.
///
/// A ring's indices count all slots produced and consumed so far, modulo 2^32. The slot of an index
/// is its remainder by the size, which must be a power of two. The peer can store any value in its
/// index: [`RingIndex::new`] rejects values that are impossible for the size, and
/// [`RingIndex::clamped`] treats them as a full ring.
///
/// ```
/// use xen_pac::access::RingIndex;
///
/// let consumer = u32::MAX - 6;
/// let indices = RingIndex::new(1024, RingIndex::after(consumer, 10), consumer)?;
/// assert_eq!((indices.producer(), indices.used(), indices.free()), (3, 10, 1014));
/// assert_eq!(indices.wrap(indices.consumer()), 1017);
/// assert!(RingIndex::new(1024, 0, 1).is_err()); // more consumed than produced
/// # Ok::<(), xen_pac::access::RingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingIndex {
    /// A power of two up to 2^31, or 0.
    size: u32,
    producer: u32,
    consumer: u32,
    /// At most `size`.
    used: u32,
}

impl RingIndex {
    /// Checks the indices of a ring of `size` slots.
    ///
    /// # Errors
    /// If the indices are further apart than `size`, which the peer can cause, or if `size` is not
    /// a power of two up to 2^31.
    #[inline]
    pub const fn new(size: usize, producer: u32, consumer: u32) -> Result<Self, RingError> {
        let used = Self::distance(producer, consumer);
        if size.is_power_of_two() && size <= 1 << 31 && used as usize <= size {
            Ok(Self { size: size as u32, producer, consumer, used })
        } else {
            Err(RingError { size, producer, consumer })
        }
    }

    /// Creates the indices as [`new`](Self::new) does, but treats indices that are too far apart as
    /// a full ring, and a ring of an invalid size as one without slots.
    #[inline]
    #[must_use]
    pub const fn clamped(size: usize, producer: u32, consumer: u32) -> Self {
        let size = if size.is_power_of_two() && size <= 1 << 31 { size as u32 } else { 0 };
        let used = Self::distance(producer, consumer);
        Self { size, producer, consumer, used: if used < size { used } else { size } }
    }

    /// Returns the index that is `count` slots after another.
    #[inline]
    #[must_use]
    pub const fn after(index: u32, count: u32) -> u32 {
        index.wrapping_add(count)
    }

    /// Returns how many slots `later` is after `earlier`.
    #[inline]
    #[must_use]
    pub const fn distance(later: u32, earlier: u32) -> u32 {
        later.wrapping_sub(earlier)
    }

    /// Returns the number of slots that are produced and not yet consumed.
    #[inline]
    #[must_use]
    pub const fn used(self) -> usize {
        self.used as usize
    }

    /// Returns the number of slots that can be produced.
    #[inline]
    #[must_use]
    pub const fn free(self) -> usize {
        (self.size - self.used) as usize
    }

    /// Returns the slot of an index.
    #[inline]
    #[must_use]
    pub const fn wrap(self, index: u32) -> usize {
        (index & self.size.wrapping_sub(1)) as usize
    }

    /// Returns the producer's index.
    #[inline]
    #[must_use]
    pub const fn producer(self) -> u32 {
        self.producer
    }

    /// Returns the consumer's index.
    #[inline]
    #[must_use]
    pub const fn consumer(self) -> u32 {
        self.consumer
    }
}

/// A ring of events at an offset in a page: those of keyboards, framebuffers, displays, sound
/// devices and cameras. C has a macro for each, such as `XENKBD_IN_RING_REF`.
///
/// Its indices count all events so far, modulo 2^32. The length of some rings is no power of two:
/// when an index of these wraps, two events that are not consumed can have one place, and the
/// earlier is lost. The protocol has this flaw on both sides.
///
/// ```
/// # #[cfg(feature = "io")] {
/// use xen_pac::access::EventRing;
/// use xen_pac::kbdif::{XENKBD_IN_RING_LEN, XENKBD_IN_RING_OFFS, XenkbdInEvent};
///
/// let ring = EventRing::new::<XenkbdInEvent>(XENKBD_IN_RING_OFFS, XENKBD_IN_RING_LEN);
/// let ring = ring.ok_or("not in a page")?;
/// assert_eq!(ring.used(7, 5), Some(2)); // the backend's `in_prod`, and `in_cons`
/// assert_eq!(ring.offset(51 + 5), 1024 + 5 * 40); // of the event with index 56, in the page
/// # }
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventRing {
    start: u32,
    event: u32,
    /// From 1 to 4096.
    len: u32,
}

impl EventRing {
    /// Creates the ring of `len` events of type `E`, which begins at `start` in its page. Returns
    /// `None` if it does not lie within 4096 bytes, or has no event.
    #[inline]
    #[must_use]
    pub const fn new<E>(start: u32, len: u32) -> Option<Self> {
        let event = size_of::<E>();
        if event == 0 || len == 0 || event > 4096 || len > 4096 || start > 4096 {
            return None;
        }
        let event = event as u32;
        if start + event * len <= 4096 { Some(Self { start, event, len }) } else { None }
    }

    /// Returns the number of events that the ring can hold.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has at least one")]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Returns the number of events that are produced and not yet consumed; `None` if the indices
    /// are further apart than the ring is long, which the peer can cause.
    #[inline]
    #[must_use]
    pub const fn used(self, producer: u32, consumer: u32) -> Option<usize> {
        let used = producer.wrapping_sub(consumer);
        if used <= self.len { Some(used as usize) } else { None }
    }

    /// Returns where in the page the event of an index begins, in bytes.
    #[inline]
    #[must_use]
    pub const fn offset(self, index: u32) -> usize {
        let place = match index.checked_rem(self.len) {
            Some(place) => place,
            None => 0, // `new` refuses a length of 0
        };
        (self.start + place * self.event) as usize
    }
}

/// Bytes of shared memory. They can be copied but not borrowed, because the peer may change them at
/// any time.
///
/// Several threads may copy at once: each byte is a relaxed atomic. The copies are not ordered with
/// other accesses; the ring's indices order them.
#[derive(Clone, Copy)]
pub struct Buffer<'a>(Run<'a, u8>);

impl<'a> Buffer<'a> {
    #[inline(always)]
    pub(crate) const fn new<const N: usize>(location: Location<'a, [u8; N]>) -> Self {
        Self(location.as_run())
    }

    /// Returns the number of bytes.
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

    /// Fills `into` with the bytes that start at `offset`.
    ///
    /// # Errors
    /// If they go beyond the end; then nothing was copied.
    pub fn copy_to(self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.places(offset, into.len())?
            .zip(into)
            .for_each(|(place, byte)| *byte = place.read_back());
        Ok(())
    }

    /// Writes `from` to the bytes that start at `offset`.
    ///
    /// # Errors
    /// If they go beyond the end; then nothing was copied.
    pub fn copy_from(self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        self.places(offset, from.len())?.zip(from).for_each(|(place, byte)| place.write(*byte));
        Ok(())
    }

    /// Fills `into` with the bytes of a ring that start at `index`. Wraps after the last byte.
    ///
    /// # Errors
    /// If `into` is longer than the buffer; then nothing was copied.
    pub fn copy_to_wrapping(self, index: u32, into: &mut [u8]) -> Result<(), OutOfBounds> {
        let (offset, first) = self.split(index, into.len())?;
        let (before, after) = into.split_at_mut(first);
        self.copy_to(offset, before)?;
        self.copy_to(0, after)
    }

    /// Writes `from` to the bytes of a ring that start at `index`. Wraps after the last byte.
    ///
    /// # Errors
    /// If `from` is longer than the buffer; then nothing was copied.
    pub fn copy_from_wrapping(self, index: u32, from: &[u8]) -> Result<(), OutOfBounds> {
        let (offset, first) = self.split(index, from.len())?;
        let (before, after) = from.split_at(first);
        self.copy_from(offset, before)?;
        self.copy_from(0, after)
    }

    /// Returns the position of an index, and the number of the `count` bytes before the end.
    fn split(self, index: u32, count: usize) -> Result<(usize, usize), OutOfBounds> {
        let len = self.len();
        let offset = (index as usize).checked_rem(len).unwrap_or(0);
        if count > len {
            return Err(OutOfBounds { offset, count, len });
        }
        Ok((offset, count.min(len - offset)))
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
