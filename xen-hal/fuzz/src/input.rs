//! The input as a sequence of choices.

use std::cell::Cell;

/// What is left of the input. It never ends: after its last byte come zeroes.
#[derive(Debug)]
pub(crate) struct Input {
    data: Box<[u8]>,
    at: Cell<usize>,
}

impl Input {
    pub(crate) fn new(data: &[u8]) -> Self {
        Self { data: data.into(), at: Cell::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at.get() >= self.data.len()
    }

    /// The next bytes, fewer than asked for at the end.
    pub(crate) fn bytes(&self, count: usize) -> &[u8] {
        let from = self.at.get();
        let to = self.data.len().min(from.saturating_add(count));
        self.at.set(to);
        &self.data[from..to]
    }

    /// The next bytes, with zeroes behind the end.
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(crate) fn byte(&self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of any size in a byte if it is one of those at which arithmetic goes wrong, and in
    /// nine otherwise.
    pub(crate) fn number(&self) -> u64 {
        let choice = self.byte();
        let power = 1_u64 << (choice % 64);
        match choice / 64 {
            0 => power - 1,
            1 => power,
            2 => power.wrapping_neg(),
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// One of the numbers below `end`, which is 1 or more and fits a byte.
    pub(crate) fn below(&self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }
}
