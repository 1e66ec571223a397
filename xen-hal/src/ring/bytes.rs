//! Streams bytes through a ring, as console and xenstore do.

use xen_pac::access::{Buffer, OwnIndex, PeerIndex, RingIndex};

/// This side's position in a ring that it fills.
///
/// The index in shared memory is only written, never read back, because the peer could write to it
/// too.
#[derive(Debug)]
pub struct ByteProducer(u32);

/// This side's position in a ring that it empties. See [`ByteProducer`].
#[derive(Debug)]
pub struct ByteConsumer(u32);

/// A ring of bytes with its two indices. The buffer's length is a power of two.
#[derive(Clone, Copy, Debug)]
pub struct ByteRing<'a, P, C> {
    /// The bytes.
    pub buffer: Buffer<'a>,
    /// The index after the last byte produced.
    pub producer: P,
    /// The index after the last byte consumed.
    pub consumer: C,
}

/// A ring that this side fills.
pub type FilledRing<'a> = ByteRing<'a, OwnIndex<'a>, PeerIndex<'a>>;

/// A ring that this side empties.
pub type EmptiedRing<'a> = ByteRing<'a, PeerIndex<'a>, OwnIndex<'a>>;

impl ByteProducer {
    /// Starts where the index in shared memory is now.
    #[must_use]
    pub fn new(ring: FilledRing<'_>) -> Self {
        Self(ring.producer.load())
    }

    /// Returns the number of free bytes.
    #[must_use]
    pub fn free(&self, ring: FilledRing<'_>) -> usize {
        RingIndex::clamped(ring.buffer.len(), self.0, ring.consumer.load()).free()
    }

    /// True if the peer has consumed everything.
    #[must_use]
    pub fn is_drained(&self, ring: FilledRing<'_>) -> bool {
        ring.consumer.load() == self.0
    }

    /// Copies as many of `bytes` into the ring as fit, and publishes them. Returns their number.
    pub fn write(&mut self, ring: FilledRing<'_>, bytes: &[u8]) -> usize {
        let count = self.free(ring).min(bytes.len());
        if count > 0 && ring.buffer.copy_from_wrapping(self.0, &bytes[..count]).is_ok() {
            self.0 = RingIndex::after(self.0, count as u32);
            ring.producer.publish(self.0);
        }
        count
    }
}

impl ByteConsumer {
    /// Starts where the index in shared memory is now.
    #[must_use]
    pub fn new(ring: EmptiedRing<'_>) -> Self {
        Self(ring.consumer.load())
    }

    /// Returns the number of bytes that can be read.
    #[must_use]
    pub fn available(&self, ring: EmptiedRing<'_>) -> usize {
        RingIndex::clamped(ring.buffer.len(), ring.producer.load(), self.0).used()
    }

    /// Copies out up to `into.len()` available bytes, and frees their space. Returns their number.
    pub fn read(&mut self, ring: EmptiedRing<'_>, into: &mut [u8]) -> usize {
        let count = self.available(ring).min(into.len());
        if count > 0 && ring.buffer.copy_to_wrapping(self.0, &mut into[..count]).is_ok() {
            self.pass(ring, count);
        }
        count
    }

    /// Discards up to `most` available bytes. Returns their number.
    pub fn skip(&mut self, ring: EmptiedRing<'_>, most: usize) -> usize {
        let count = self.available(ring).min(most);
        self.pass(ring, count);
        count
    }

    fn pass(&mut self, ring: EmptiedRing<'_>, count: usize) {
        self.0 = RingIndex::after(self.0, count as u32);
        ring.consumer.publish(self.0);
    }
}
