//! Defines the registers: [`Bits`], which both sides change, and words that one side writes.

use core::fmt;
use core::marker::PhantomData;

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::{RegisterLongName, UIntLike};

use super::atomic::Ordering;
use super::location::Location;
use super::word::{AtomicWord, Word};

/// Defines a register of words `T` whose bit fields are named by `R`.
macro_rules! registers {
    ($($(#[$attribute:meta])* $name:ident<T: $word:ident> { shows $shown:ident })*) => {$(
        $(#[$attribute])*
        pub struct $name<'a, T, R = ()> {
            location: Location<'a, T>,
            register: PhantomData<fn() -> R>,
        }

        impl<T, R> Clone for $name<'_, T, R> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T, R> Copy for $name<'_, T, R> {}

        impl<'a, T: $word, R> $name<'a, T, R> {
            #[inline(always)]
            pub(crate) const fn new(location: Location<'a, T>) -> Self {
                Self { location, register: PhantomData }
            }
        }

        impl<T: $word, R> fmt::Debug for $name<'_, T, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.$shown())
            }
        }

        impl<T: $word + UIntLike, R: RegisterLongName> Readable for $name<'_, T, R> {
            type T = T;
            type R = R;

            #[inline(always)]
            fn get(&self) -> T {
                $name::$shown(*self)
            }
        }
    )*};
}

registers! {
    /// A word whose bits both sides can change at any time.
    ///
    /// A plain write would undo a simultaneous change by the other side, so every change is an
    /// atomic read-modify-write of the word's width. `Bits` implements tock's `Readable`, with
    /// `read`, `is_set` and `matches_all`. These reads are relaxed; if an order matters, use
    /// [`Bits::load`]. `Bits` does not implement `Writeable`, so neither `modify` nor `set`
    /// compiles:
    ///
    /// ```compile_fail,E0599
    /// use tock_registers::fields::Field;
    /// use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
    /// fn plain_change(register: xen_pac::access::Bits<'_, u32>) {
    ///     register.modify(Field::<u32, ()>::new(1, 0).val(1));
    /// }
    /// ```
    ///
    /// ```compile_fail,E0599
    /// use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
    /// fn plain_write(register: xen_pac::access::Bits<'_, u32>) {
    ///     register.set(1);
    /// }
    /// ```
    ///
    /// Reading a field and changing one atomically do compile:
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
    Bits<T: AtomicWord> { shows relaxed }

    /// A word that the other side writes and the guest reads.
    ///
    /// Each read is one volatile access. It is not ordered with other accesses: the block's
    /// protocol defines the barrier or atomic access that must come first.
    ReadOnly<T: Word> { shows get }

    /// A word that the guest writes and the other side reads.
    ///
    /// Each access is a relaxed atomic, so several threads may access the word at once. An access
    /// is not ordered with others: the block's protocol defines the barrier or atomic access that
    /// publishes the value. On `x86`, where C's alignment of a 64-bit word is too small for an
    /// atomic, the word is accessed in two halves.
    ReadWrite<T: Word> { shows get }
}

impl<T: AtomicWord, R> Bits<'_, T, R> {
    #[inline(always)]
    fn relaxed(self) -> T {
        self.load(Ordering::Relaxed)
    }

    /// Reads the word.
    ///
    /// # Panics
    /// If `order` is `Release` or `AcqRel`, which do not apply to a read.
    #[cfg_attr(orderings, track_caller)]
    #[inline(always)]
    #[must_use]
    pub fn load(self, order: Ordering) -> T {
        T::load(self.location.atomic(), order)
    }

    /// Sets the bits that are set in `bits`. Returns the previous word.
    #[cfg_attr(orderings, track_caller)]
    #[inline(always)]
    pub fn fetch_or(self, bits: T, order: Ordering) -> T {
        T::fetch_or(self.location.atomic(), bits, order)
    }

    /// Clears the bits that are clear in `bits`. Returns the previous word.
    #[cfg_attr(orderings, track_caller)]
    #[inline(always)]
    pub fn fetch_and(self, bits: T, order: Ordering) -> T {
        T::fetch_and(self.location.atomic(), bits, order)
    }

    /// Flips the bits that are set in `bits`. Returns the previous word.
    #[cfg_attr(orderings, track_caller)]
    #[inline(always)]
    pub fn fetch_xor(self, bits: T, order: Ordering) -> T {
        T::fetch_xor(self.location.atomic(), bits, order)
    }

    /// Replaces the word with `value`. Returns the previous word, so no bit that the other side set
    /// is lost.
    #[cfg_attr(orderings, track_caller)]
    #[inline(always)]
    pub fn swap(self, value: T, order: Ordering) -> T {
        T::swap(self.location.atomic(), value, order)
    }

    /// Replaces the word with `new` if it is `current`. Returns the previous word.
    ///
    /// # Errors
    /// Returns the word if it is not `current`. The word is unchanged then.
    ///
    /// # Panics
    /// If `failure` is `Release` or `AcqRel`, which do not apply to a read.
    #[cfg_attr(orderings, track_caller)]
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

impl<'a, T: Word, R> ReadOnly<'a, T, R> {
    /// Reads the word.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> T {
        self.location.read()
    }

    /// Returns the same word with its writer's access, for a program that simulates the other side.
    #[cfg(feature = "simulated")]
    #[inline]
    #[must_use]
    pub const fn other_side(self) -> ReadWrite<'a, T, R> {
        ReadWrite { location: self.location, register: PhantomData }
    }
}

impl<T: Word, R> ReadWrite<'_, T, R> {
    /// Reads the word back.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> T {
        self.location.read_back()
    }

    /// Writes the word.
    #[inline(always)]
    pub fn set(self, value: T) {
        self.location.write(value);
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
