//! Accesses integers in shared memory: volatile reads, relaxed atomic reads and writes, and atomic
//! read-modify-writes.
//!
//! This file decides the kind of access. [`Location`](super::location::Location) decides which
//! memory may be accessed.

use core::fmt;

use super::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicUsize,
    Ordering,
};
#[cfg(not(target_arch = "x86"))]
use super::atomic::{AtomicI64, AtomicU64};

/// An integer of a plain register, of any width, signed or unsigned.
///
/// Sealed.
pub trait Word:
    Copy + Eq + Default + fmt::Debug + fmt::LowerHex + Send + Sync + sealed::Plain + 'static
{
}

/// An integer of a [`Bits`](super::Bits) register, which this architecture can change atomically at
/// C's alignment.
///
/// On `x86`, `u64` is not one: C aligns it to 4 bytes, and an atomic needs 8. Sealed.
pub trait AtomicWord: Word + sealed::Atomic {}

pub(super) mod sealed {
    use super::Ordering;

    pub trait Plain: Copy {
        /// Reads once, volatile.
        ///
        /// # Safety
        /// `place` must be aligned and valid for reads of `Self`, and no thread may write it
        /// meanwhile.
        unsafe fn read_volatile(place: *const Self) -> Self;

        /// Reads by a relaxed atomic; in two halves if the architecture has no atomic of the width.
        ///
        /// # Safety
        /// `place` must be aligned and valid for reads and writes of `Self`. Simultaneous accesses
        /// must be atomics of the same widths, relaxed or stronger.
        unsafe fn read_relaxed(place: *mut Self) -> Self;

        /// Writes by a relaxed atomic; in two halves if the architecture has no atomic of the
        /// width.
        ///
        /// # Safety
        /// As for [`Plain::read_relaxed`].
        unsafe fn write_relaxed(place: *mut Self, value: Self);
    }

    pub trait Atomic: Copy {
        type Cell: 'static;

        /// Returns the memory as an atomic. A reference to an atomic asserts nothing about the
        /// value, and allows others to change it.
        ///
        /// # Safety
        /// For the whole of `'a`, `place` must be aligned and valid for reads and writes of `Self`.
        /// All other accesses must be atomics of the same width.
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

macro_rules! atomic {
    ($($word:ty, $cell:ty;)*) => {$(
        impl Word for $word {}

        impl sealed::Plain for $word {
            #[inline(always)]
            unsafe fn read_volatile(place: *const Self) -> Self {
                // SAFETY: the caller's contract is that of this call.
                unsafe { core::ptr::read_volatile(place) }
            }

            #[inline(always)]
            unsafe fn read_relaxed(place: *mut Self) -> Self {
                // SAFETY: the caller's contract; the assertion below holds the alignment.
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
                // SAFETY: the caller's contract; the assertion below holds the alignment.
                unsafe { <$cell>::from_ptr(place) }
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn load(cell: &$cell, order: Ordering) -> Self {
                cell.load(order)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn store(cell: &$cell, value: Self, order: Ordering) {
                cell.store(value, order);
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn swap(cell: &$cell, value: Self, order: Ordering) -> Self {
                cell.swap(value, order)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn fetch_or(cell: &$cell, value: Self, order: Ordering) -> Self {
                cell.fetch_or(value, order)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn fetch_and(cell: &$cell, value: Self, order: Ordering) -> Self {
                cell.fetch_and(value, order)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn fetch_xor(cell: &$cell, value: Self, order: Ordering) -> Self {
                cell.fetch_xor(value, order)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn compare_exchange(
                cell: &$cell,
                current: Self,
                new: Self,
                success: Ordering,
                failure: Ordering,
            ) -> Result<Self, Self> {
                cell.compare_exchange(current, new, success, failure)
            }
        }

        const _: () = assert!(
            align_of::<$cell>() == align_of::<$word>(),
            concat!("an atomic ", stringify!($word), " has a stricter alignment than the integer")
        );
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

// C aligns a 64-bit integer to 4 bytes on x86, an atomic one needs 8. It is read and written in
// halves, always the same ones, so that accesses of different widths never overlap.
#[cfg(target_arch = "x86")]
macro_rules! halves {
    ($($word:ty),*) => {$(
        impl Word for $word {}

        impl sealed::Plain for $word {
            #[inline(always)]
            unsafe fn read_volatile(place: *const Self) -> Self {
                // SAFETY: the caller's contract is that of this call.
                unsafe { core::ptr::read_volatile(place) }
            }

            #[inline(always)]
            unsafe fn read_relaxed(place: *mut Self) -> Self {
                let half = place.cast::<u32>();
                // SAFETY: the low half of the caller's integer, which is aligned to 4 bytes at
                // least.
                let low = unsafe { AtomicU32::from_ptr(half) }.load(Ordering::Relaxed);
                let half = half.wrapping_add(1);
                // SAFETY: the high half lies 4 bytes on, within the same 8 bytes.
                let high = unsafe { AtomicU32::from_ptr(half) }.load(Ordering::Relaxed);
                (u64::from(high) << 32 | u64::from(low)) as Self
            }

            #[inline(always)]
            unsafe fn write_relaxed(place: *mut Self, value: Self) {
                let (low, high) = (value as u32, (value as u64 >> 32) as u32);
                let half = place.cast::<u32>();
                // SAFETY: the low half of the caller's integer, which is aligned to 4 bytes at
                // least.
                unsafe { AtomicU32::from_ptr(half) }.store(low, Ordering::Relaxed);
                let half = half.wrapping_add(1);
                // SAFETY: the high half lies 4 bytes on, within the same 8 bytes.
                unsafe { AtomicU32::from_ptr(half) }.store(high, Ordering::Relaxed);
            }
        }
    )*};
}

#[cfg(target_arch = "x86")]
halves!(u64, i64);
