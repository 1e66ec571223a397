//! Registers that one side writes and the other reads.

use core::fmt;
use core::marker::PhantomData;

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::{RegisterLongName, UIntLike};

use super::location::Location;
use super::word::Word;

/// A word that the other side writes and we read.
///
/// Each read is one volatile access, which orders nothing: the protocol of the block says which
/// barrier or atomic goes before.
pub struct ReadOnly<'a, T, R = ()> {
    location: Location<'a, T>,
    register: PhantomData<fn() -> R>,
}

/// A word that we write and the other side reads.
///
/// Each access is volatile and orders nothing: the protocol of the block says which barrier or
/// atomic publishes what was written.
pub struct ReadWrite<'a, T, R = ()> {
    location: Location<'a, T>,
    register: PhantomData<fn() -> R>,
}

impl<T, R> Clone for ReadOnly<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, R> Copy for ReadOnly<'_, T, R> {}

impl<T, R> Clone for ReadWrite<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, R> Copy for ReadWrite<'_, T, R> {}

impl<'a, T: Word, R> ReadOnly<'a, T, R> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, T>) -> Self {
        Self { location, register: PhantomData }
    }

    /// Reads the word.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> T {
        self.location.read()
    }

    /// The same word as its writer sees it: for a program that plays the other side.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub const fn other_side(self) -> ReadWrite<'a, T, R> {
        ReadWrite { location: self.location, register: PhantomData }
    }
}

impl<'a, T: Word, R> ReadWrite<'a, T, R> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, T>) -> Self {
        Self { location, register: PhantomData }
    }

    /// Reads the word back.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> T {
        self.location.read()
    }

    /// Writes the word.
    #[inline(always)]
    pub fn set(self, value: T) {
        self.location.write(value);
    }
}

impl<T: Word + UIntLike, R: RegisterLongName> Readable for ReadOnly<'_, T, R> {
    type T = T;
    type R = R;

    #[inline(always)]
    fn get(&self) -> T {
        self.location.read()
    }
}

impl<T: Word + UIntLike, R: RegisterLongName> Readable for ReadWrite<'_, T, R> {
    type T = T;
    type R = R;

    #[inline(always)]
    fn get(&self) -> T {
        self.location.read()
    }
}

impl<T: Word + UIntLike, R: RegisterLongName> Writeable for ReadWrite<'_, T, R> {
    type T = T;
    type R = R;

    #[inline(always)]
    fn set(&self, value: T) {
        self.location.write(value);
    }
}

impl<T: Word, R> fmt::Debug for ReadOnly<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnly({:#x})", self.get())
    }
}

impl<T: Word, R> fmt::Debug for ReadWrite<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadWrite({:#x})", self.get())
    }
}
