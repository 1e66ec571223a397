//! Registers of which both sides change single bits.

use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use tock_registers::interfaces::Readable;
use tock_registers::{RegisterLongName, UIntLike};

use super::location::Location;
use super::word::AtomicWord;

/// A word of which both sides change bits, each its own, at any time.
///
/// A plain write would undo what the other side did in between, so there is none: every change is
/// an atomic read-modify-write, of one width. tock's `Readable` is implemented, so `read`, `is_set`
/// and `matches_all` work; `Writeable` is not, so `modify` does not exist:
///
/// ```compile_fail,E0599
/// use tock_registers::fields::Field;
/// use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
/// fn plain_change(register: xen_pac::access::Bits<'_, u32>) {
///     register.modify(Field::<u32, ()>::new(1, 0).val(1));
/// }
/// ```
///
/// and neither does a plain write:
///
/// ```compile_fail,E0599
/// use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
/// fn plain_write(register: xen_pac::access::Bits<'_, u32>) {
///     register.set(1);
/// }
/// ```
///
/// while reading a field, and changing one atomically, compile:
///
/// ```
/// use core::sync::atomic::Ordering;
/// use tock_registers::fields::Field;
/// use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
/// fn atomic_change(register: xen_pac::access::Bits<'_, u32>) -> bool {
///     register.fetch_or(Field::<u32, ()>::new(1, 0).val(1).value, Ordering::AcqRel);
///     register.is_set(Field::<u32, ()>::new(1, 0))
/// }
/// ```
pub struct Bits<'a, T, R = ()> {
    location: Location<'a, T>,
    register: PhantomData<fn() -> R>,
}

impl<T, R> Clone for Bits<'_, T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, R> Copy for Bits<'_, T, R> {}

impl<'a, T: AtomicWord, R> Bits<'a, T, R> {
    #[inline(always)]
    pub(crate) const fn new(location: Location<'a, T>) -> Self {
        Self { location, register: PhantomData }
    }

    /// Reads the word.
    ///
    /// # Panics
    /// When `order` is `Release` or `AcqRel`, which a read cannot be.
    #[inline(always)]
    #[must_use]
    pub fn load(self, order: Ordering) -> T {
        T::load(self.location.atomic(), order)
    }

    /// Sets the bits that are set in `bits`; gives the word as it was.
    #[inline(always)]
    pub fn fetch_or(self, bits: T, order: Ordering) -> T {
        T::fetch_or(self.location.atomic(), bits, order)
    }

    /// Clears the bits that are clear in `bits`; gives the word as it was.
    #[inline(always)]
    pub fn fetch_and(self, bits: T, order: Ordering) -> T {
        T::fetch_and(self.location.atomic(), bits, order)
    }

    /// Flips the bits that are set in `bits`; gives the word as it was.
    #[inline(always)]
    pub fn fetch_xor(self, bits: T, order: Ordering) -> T {
        T::fetch_xor(self.location.atomic(), bits, order)
    }

    /// Puts `value` in the word's place; gives the word as it was, so that nothing that the other
    /// side set is lost.
    #[inline(always)]
    pub fn swap(self, value: T, order: Ordering) -> T {
        T::swap(self.location.atomic(), value, order)
    }

    /// Puts `new` in the word's place if it still is `current`; gives the word as it was.
    ///
    /// # Errors
    /// The word as it is, when it is not `current`; nothing was changed then.
    ///
    /// # Panics
    /// When `failure` is `Release` or `AcqRel`, which a read cannot be.
    #[inline(always)]
    pub fn compare_exchange(
        self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        T::compare_exchange(self.location.atomic(), current, new, success, failure)
    }
}

impl<T: AtomicWord + UIntLike, R: RegisterLongName> Readable for Bits<'_, T, R> {
    type T = T;
    type R = R;

    /// Reads the word, without any ordering: where an order matters, use [`Bits::load`].
    #[inline(always)]
    fn get(&self) -> T {
        self.load(Ordering::Relaxed)
    }
}

impl<T: AtomicWord, R> fmt::Debug for Bits<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bits({:#x})", self.load(Ordering::Relaxed))
    }
}
