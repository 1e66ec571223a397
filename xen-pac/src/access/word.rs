//! The integers that shared memory is made of, and the three ways of touching one: volatile,
//! relaxed and atomic.
//!
//! This file decides which machine access happens, and nothing else; which memory may be accessed
//! is the business of [`Location`](super::location::Location).

use core::fmt;
use core::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicUsize,
    Ordering,
};
#[cfg(not(target_arch = "x86"))]
use core::sync::atomic::{AtomicI64, AtomicU64};

/// An integer that a plain register can have: any of the machine's, signed or not.
///
/// Sealed: how such an integer is read and written is decided in this crate.
pub trait Word:
    Copy + Eq + Default + fmt::Debug + fmt::LowerHex + Send + Sync + sealed::Plain + 'static
{
}

/// An integer that a [`Bits`](super::Bits) register can have: one whose every correctly placed
/// instance this architecture can change atomically.
///
/// On `x86` that leaves out `u64`: C gives it an alignment of 4 bytes there, and an atomic needs 8.
/// Sealed.
pub trait AtomicWord: Word + sealed::Atomic {}

pub(super) mod sealed {
    use super::Ordering;

    pub trait Plain: Copy {
        /// One volatile read.
        ///
        /// # Safety
        /// `place` must be aligned and valid for reads of `Self`.
        unsafe fn read_volatile(place: *const Self) -> Self;

        /// One volatile write.
        ///
        /// # Safety
        /// `place` must be aligned and valid for writes of `Self`.
        unsafe fn write_volatile(place: *mut Self, value: Self);

        /// A relaxed atomic read; in two halves where the architecture has no atomic of the width.
        ///
        /// # Safety
        /// `place` must be aligned and valid for reads and writes of `Self`, and whoever else
        /// accesses it meanwhile must do so by relaxed or stronger atomics of the same widths.
        unsafe fn read_relaxed(place: *mut Self) -> Self;

        /// A relaxed atomic write; in two halves where the architecture has no atomic of the width.
        ///
        /// # Safety
        /// As for [`Plain::read_relaxed`].
        unsafe fn write_relaxed(place: *mut Self, value: Self);
    }

    pub trait Atomic: Copy {
        type Cell: 'static;

        /// The memory as an atomic. A reference to an atomic asserts nothing about the value, and
        /// allows others to change it.
        ///
        /// # Safety
        /// For the whole of `'a`, `place` must be aligned and valid for reads and writes of `Self`,
        /// and whoever else accesses it must do so by atomics of the same width.
        unsafe fn cell<'a>(place: *mut Self) -> &'a Self::Cell;

        fn load(cell: &Self::Cell, order: Ordering) -> Self;
        fn store(cell: &Self::Cell, value: Self, order: Ordering);
        fn swap(cell: &Self::Cell, value: Self, order: Ordering) -> Self;
        fn fetch_or(cell: &Self::Cell, value: Self, order: Ordering) -> Self;
        fn fetch_and(cell: &Self::Cell, value: Self, order: Ordering) -> Self;
        fn fetch_xor(cell: &Self::Cell, value: Self, order: Ordering) -> Self;
        fn compare_exchange(
            cell: &Self::Cell,
            current: Self,
            new: Self,
            success: Ordering,
            failure: Ordering,
        ) -> Result<Self, Self>;
    }
}

macro_rules! volatile {
    () => {
        #[inline(always)]
        unsafe fn read_volatile(place: *const Self) -> Self {
            // SAFETY: the caller's promise is the one that this call asks for.
            unsafe { core::ptr::read_volatile(place) }
        }

        #[inline(always)]
        unsafe fn write_volatile(place: *mut Self, value: Self) {
            // SAFETY: the caller's promise is the one that this call asks for.
            unsafe { core::ptr::write_volatile(place, value) }
        }
    };
}

macro_rules! atomic {
    ($($word:ty, $cell:ty;)*) => {$(
        impl Word for $word {}

        impl sealed::Plain for $word {
            volatile!();

            #[inline(always)]
            unsafe fn read_relaxed(place: *mut Self) -> Self {
                // SAFETY: the caller's promise; the alignment of the atomic is that of the integer,
                // which the assertion below holds.
                unsafe { <$cell>::from_ptr(place) }.load(Ordering::Relaxed)
            }

            #[inline(always)]
            unsafe fn write_relaxed(place: *mut Self, value: Self) {
                // SAFETY: as for the read.
                unsafe { <$cell>::from_ptr(place) }.store(value, Ordering::Relaxed)
            }
        }

        impl AtomicWord for $word {}

        impl sealed::Atomic for $word {
            type Cell = $cell;

            #[inline(always)]
            unsafe fn cell<'a>(place: *mut Self) -> &'a $cell {
                // SAFETY: the caller's promise; the alignment of the atomic is that of the integer,
                // which the assertion below holds.
                unsafe { <$cell>::from_ptr(place) }
            }

            #[inline(always)]
            fn load(cell: &$cell, order: Ordering) -> Self { cell.load(order) }
            #[inline(always)]
            fn store(cell: &$cell, value: Self, order: Ordering) { cell.store(value, order); }
            #[inline(always)]
            fn swap(cell: &$cell, value: Self, order: Ordering) -> Self { cell.swap(value, order) }
            #[inline(always)]
            fn fetch_or(cell: &$cell, value: Self, order: Ordering) -> Self { cell.fetch_or(value, order) }
            #[inline(always)]
            fn fetch_and(cell: &$cell, value: Self, order: Ordering) -> Self { cell.fetch_and(value, order) }
            #[inline(always)]
            fn fetch_xor(cell: &$cell, value: Self, order: Ordering) -> Self { cell.fetch_xor(value, order) }
            #[inline(always)]
            fn compare_exchange(cell: &$cell, current: Self, new: Self, success: Ordering, failure: Ordering) -> Result<Self, Self> {
                cell.compare_exchange(current, new, success, failure)
            }
        }

        const _: () = assert!(align_of::<$cell>() == align_of::<$word>(), concat!("an atomic ", stringify!($word), " needs a stricter alignment than the plain one"));
    )*};
}

atomic! {
    u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; usize, AtomicUsize;
    i8, AtomicI8; i16, AtomicI16; i32, AtomicI32; isize, AtomicIsize;
}

#[cfg(not(target_arch = "x86"))]
atomic! {
    u64, AtomicU64; i64, AtomicI64;
}

// C aligns a 64-bit integer to 4 bytes on x86, an atomic one needs 8: it is read and written in
// halves, always the same ones, so that no two widths ever meet in one place.
#[cfg(target_arch = "x86")]
macro_rules! halves {
    ($($word:ty),*) => {$(
        impl Word for $word {}

        impl sealed::Plain for $word {
            volatile!();

            #[inline(always)]
            unsafe fn read_relaxed(place: *mut Self) -> Self {
                let half = place.cast::<u32>();
                // SAFETY: the low half of the caller's integer, which is aligned to 4 bytes at
                // least.
                let low = unsafe { AtomicU32::from_ptr(half) }.load(Ordering::Relaxed);
                // SAFETY: the high half lies 4 bytes on, within the same 8 bytes.
                let high = unsafe { AtomicU32::from_ptr(half.wrapping_add(1)) }.load(Ordering::Relaxed);
                (u64::from(high) << 32 | u64::from(low)) as Self
            }

            #[inline(always)]
            unsafe fn write_relaxed(place: *mut Self, value: Self) {
                let half = place.cast::<u32>();
                // SAFETY: the low half of the caller's integer, which is aligned to 4 bytes at
                // least.
                unsafe { AtomicU32::from_ptr(half) }.store(value as u32, Ordering::Relaxed);
                // SAFETY: the high half lies 4 bytes on, within the same 8 bytes.
                unsafe { AtomicU32::from_ptr(half.wrapping_add(1)) }.store((value as u64 >> 32) as u32, Ordering::Relaxed);
            }
        }
    )*};
}

#[cfg(target_arch = "x86")]
halves!(u64, i64);
