//! Streams of bytes through a ring: console and xenstore.

use xen_pac::access::{Buffer, OwnIndex, PeerIndex, RingIndex};

/// Where this side is in a ring that it fills.
///
/// The position is kept here. The index in shared memory is written and never read back, because
/// the peer may write to it too.
#[derive(Debug)]
pub struct ByteProducer(u32);

/// Where this side is in a ring that it empties, kept as in [`ByteProducer`].
#[derive(Debug)]
pub struct ByteConsumer(u32);

/// A ring of bytes with its two indices. Its buffer's length is a power of two.
#[derive(Clone, Copy, Debug)]
pub struct ByteRing<'a, P, C> {
    /// The bytes.
    pub buffer: Buffer<'a>,
    /// The index up to which bytes were produced.
    pub producer: P,
    /// The index up to which bytes were consumed.
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

    /// How many bytes there is room for.
    #[must_use]
    pub fn free(&self, ring: FilledRing<'_>) -> usize {
        RingIndex::clamped(ring.buffer.len(), self.0, ring.consumer.load()).free()
    }

    /// True if the peer has consumed everything.
    #[must_use]
    pub fn is_drained(&self, ring: FilledRing<'_>) -> bool {
        ring.consumer.load() == self.0
    }

    /// Copies in as many of `bytes` as fit and publishes them. Returns how many.
    pub fn write(&mut self, ring: FilledRing<'_>, bytes: &[u8]) -> usize {
        let count = self.free(ring).min(bytes.len());
        if count > 0 && ring.buffer.copy_from_wrapping(self.0, &bytes[..count]).is_ok() {
            self.0 = self.0.wrapping_add(count as u32);
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

    /// How many bytes are there to be read.
    #[must_use]
    pub fn available(&self, ring: EmptiedRing<'_>) -> usize {
        RingIndex::clamped(ring.buffer.len(), ring.producer.load(), self.0).used()
    }

    /// Copies out as many bytes as there are, at most `into` holds, and gives their room back to
    /// the peer. Returns how many.
    pub fn read(&mut self, ring: EmptiedRing<'_>, into: &mut [u8]) -> usize {
        let count = self.available(ring).min(into.len());
        if count > 0 && ring.buffer.copy_to_wrapping(self.0, &mut into[..count]).is_ok() {
            self.pass(ring, count);
        }
        count
    }

    /// Passes over as many bytes as there are, at most `most`. Returns how many.
    pub fn skip(&mut self, ring: EmptiedRing<'_>, most: usize) -> usize {
        let count = self.available(ring).min(most);
        self.pass(ring, count);
        count
    }

    fn pass(&mut self, ring: EmptiedRing<'_>, count: usize) {
        self.0 = self.0.wrapping_add(count as u32);
        ring.consumer.publish(self.0);
    }
}
