//! Streams of bytes through a ring: console and xenstore.

use xen_pac::access::{Buffer, OwnIndex, PeerIndex};

use super::RingIndex;

/// Where this side is in a ring that it fills.
///
/// The position is kept here. The index in shared memory is written and never read back, because
/// the peer may write to it too.
#[derive(Debug)]
pub struct ByteProducer(RingIndex);

/// Where this side is in a ring that it empties, kept as in [`ByteProducer`].
#[derive(Debug)]
pub struct ByteConsumer(RingIndex);

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

impl<P, C> ByteRing<'_, P, C> {
    const fn size(&self) -> u32 {
        self.buffer.len() as u32
    }
}

impl ByteProducer {
    /// Starts where the index in shared memory is now.
    #[must_use]
    pub fn new(ring: FilledRing<'_>) -> Self {
        Self(RingIndex(ring.producer.load()))
    }

    /// How many bytes there is room for.
    #[must_use]
    pub fn free(&self, ring: FilledRing<'_>) -> usize {
        self.0.free(RingIndex(ring.consumer.load()), ring.size()) as usize
    }

    /// True if the peer has consumed everything.
    #[must_use]
    pub fn is_drained(&self, ring: FilledRing<'_>) -> bool {
        ring.consumer.load() == self.0.0
    }

    /// Copies in as many of `bytes` as fit and publishes them. Returns how many.
    pub fn write(&mut self, ring: FilledRing<'_>, bytes: &[u8]) -> usize {
        let count = self.free(ring).min(bytes.len());
        if count > 0 {
            let start = self.0.offset(ring.size());
            let (head, tail) = bytes[..count].split_at(count.min(ring.buffer.len() - start));
            // Both parts lie within the buffer: `start` is below its length, and `count` is at most
            // that.
            let _ = ring.buffer.copy_from(start, head);
            let _ = ring.buffer.copy_from(0, tail);
            self.0 = self.0.advanced(count as u32);
            ring.producer.publish(self.0.0);
        }
        count
    }
}

impl ByteConsumer {
    /// Starts where the index in shared memory is now.
    #[must_use]
    pub fn new(ring: EmptiedRing<'_>) -> Self {
        Self(RingIndex(ring.consumer.load()))
    }

    /// How many bytes are there to be read.
    #[must_use]
    pub fn available(&self, ring: EmptiedRing<'_>) -> usize {
        RingIndex(ring.producer.load()).used(self.0, ring.size()) as usize
    }

    /// Copies out as many bytes as there are, at most `into` holds, and gives their room back to
    /// the peer. Returns how many.
    pub fn read(&mut self, ring: EmptiedRing<'_>, into: &mut [u8]) -> usize {
        let count = self.available(ring).min(into.len());
        if count > 0 {
            let start = self.0.offset(ring.size());
            let (head, tail) = into[..count].split_at_mut(count.min(ring.buffer.len() - start));
            // As in `ByteProducer::write`.
            let _ = ring.buffer.copy_to(start, head);
            let _ = ring.buffer.copy_to(0, tail);
            self.skip_read(ring, count as u32);
        }
        count
    }

    /// Passes over as many bytes as there are, at most `most`. Returns how many.
    pub fn skip(&mut self, ring: EmptiedRing<'_>, most: usize) -> usize {
        let count = self.available(ring).min(most);
        self.skip_read(ring, count as u32);
        count
    }

    fn skip_read(&mut self, ring: EmptiedRing<'_>, count: u32) {
        self.0 = self.0.advanced(count);
        ring.consumer.publish(self.0.0);
    }
}
