//! The bytes of a page that another domain may read or write at any moment.
//!
//! All that dereferences such memory is in this file.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};

use crate::platform::PAGE_SIZE;

const WORD: usize = size_of::<usize>();

/// Memory for a page that can be lent to another domain, or a place for one that another domain
/// lends.
#[repr(C, align(4096))]
pub struct PageMemory(UnsafeCell<[u8; PAGE_SIZE]>);

const _: () =
    assert!(align_of::<PageMemory>() == PAGE_SIZE && size_of::<PageMemory>() == PAGE_SIZE);

// SAFETY: a reference to the memory gives no access to it.
unsafe impl Sync for PageMemory {}

impl PageMemory {
    /// A page full of zeroes.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; PAGE_SIZE]))
    }
}

impl Default for PageMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PageMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageMemory")
    }
}

/// A copy would have gone beyond the page. Nothing was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// Where the copy was to begin.
    pub offset: usize,
    /// How many bytes it was to have.
    pub count: usize,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes from offset {} on are not within a page", self.count, self.offset)
    }
}

impl core::error::Error for OutOfBounds {}

/// The bytes of a shared page: copied in and out, or used as atomics, and never borrowed as a
/// slice, because the other side may change them meanwhile.
///
/// What the other side may write is worth nothing until it is checked, and may differ at the next
/// look: copy once, check the copy, use the copy.
///
/// A copy is made of relaxed accesses, in words where it can be, and orders nothing: an atomic of
/// the page that both sides agreed on (a ring's index, say) does that, stored with `Release` after
/// writing and loaded with `Acquire` before reading.
pub struct Bytes(NonNull<PageMemory>);

// SAFETY: all accesses are atomic, so it does not matter which thread makes them.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// # Safety
    ///
    /// Until the value is dropped the memory must be mapped, and used by nobody in this program but
    /// through this value, or by whoever a pointer of [`as_ptr`](Self::as_ptr) was given to.
    pub(super) const unsafe fn new(page: NonNull<PageMemory>) -> Self {
        Self(page)
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When they go beyond the page.
    pub fn copy_to(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        check(offset, into.len())?;
        let mut at = offset;
        let (head, rest) = into.split_at_mut(unaligned(offset).min(into.len()));
        let mut words = rest.chunks_exact_mut(WORD);
        for byte in head {
            // SAFETY: as many bytes as `into` has were checked to be within the page.
            *byte = unsafe { self.cell::<AtomicU8>(at) }.load(Ordering::Relaxed);
            at += 1;
        }
        for word in words.by_ref() {
            // SAFETY: as above; the head ended at a word's boundary, or there are no words.
            let value = unsafe { self.cell::<AtomicUsize>(at) }.load(Ordering::Relaxed);
            word.copy_from_slice(&value.to_ne_bytes());
            at += WORD;
        }
        for byte in words.into_remainder() {
            // SAFETY: as above.
            *byte = unsafe { self.cell::<AtomicU8>(at) }.load(Ordering::Relaxed);
            at += 1;
        }
        Ok(())
    }

    /// Writes `from` to the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When they go beyond the page.
    pub fn copy_from(&self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        check(offset, from.len())?;
        let mut at = offset;
        let (head, rest) = from.split_at(unaligned(offset).min(from.len()));
        let words = rest.chunks_exact(WORD);
        let tail = words.remainder();
        for byte in head {
            // SAFETY: as many bytes as `from` has were checked to be within the page.
            unsafe { self.cell::<AtomicU8>(at) }.store(*byte, Ordering::Relaxed);
            at += 1;
        }
        for word in words {
            let value = usize::from_ne_bytes(word.try_into().unwrap_or_default());
            // SAFETY: as above; the head ended at a word's boundary, or there are no words.
            unsafe { self.cell::<AtomicUsize>(at) }.store(value, Ordering::Relaxed);
            at += WORD;
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe { self.cell::<AtomicU8>(at) }.store(*byte, Ordering::Relaxed);
            at += 1;
        }
        Ok(())
    }

    /// The atomic at `offset`: `AtomicU8`, `AtomicU16`, `AtomicU32` or `AtomicUsize`. `None` where
    /// it would not lie within the page, or not be aligned.
    ///
    /// Bytes that are used as an atomic should be used as one of that width only, and not be copied
    /// over.
    #[inline]
    #[must_use]
    pub fn atomic<A: Shared>(&self, offset: usize) -> Option<&A> {
        // SAFETY: the check is that the atomic lies within the page and is aligned.
        (offset % size_of::<A>() == 0 && offset < PAGE_SIZE).then(|| unsafe { self.cell(offset) })
    }

    /// Where the page is: for handles of `xen_pac` and other code that knows how to treat shared
    /// memory. It is valid as long as this value is.
    #[must_use]
    pub const fn as_ptr(&self) -> NonNull<PageMemory> {
        self.0
    }

    /// # Safety
    ///
    /// `offset` is below the page's size, and a multiple of the atomic's size, which is a power of
    /// two.
    #[inline(always)]
    unsafe fn cell<A: Shared>(&self, offset: usize) -> &A {
        xen_pac::access::before();
        // SAFETY: the offset is within the page.
        let place = unsafe { self.0.cast::<u8>().add(offset) };
        // SAFETY: the memory is valid by this type's invariant, and aligned since the page is; an
        // atomic may be changed by others while it is borrowed.
        unsafe { place.cast().as_ref() }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:p})", self.0)
    }
}

/// An atomic that a shared page can hold. Sealed.
pub trait Shared: sealed::Sealed {}

mod sealed {
    /// # Safety
    ///
    /// The type is an atomic integer, so that its alignment is its size, any bytes are a value, and
    /// others may change it.
    pub unsafe trait Sealed {}
}

macro_rules! shared {
    ($($atomic:ty),*) => {$(
        impl Shared for $atomic {}
        // SAFETY: it is one.
        unsafe impl sealed::Sealed for $atomic {}
        const _: () = assert!(align_of::<$atomic>() == size_of::<$atomic>());
    )*};
}

shared!(AtomicU8, AtomicU16, AtomicU32, AtomicUsize);

/// How many bytes there are up to the next word.
const fn unaligned(offset: usize) -> usize {
    offset.wrapping_neg() % WORD
}

fn check(offset: usize, count: usize) -> Result<(), OutOfBounds> {
    if offset <= PAGE_SIZE && count <= PAGE_SIZE - offset {
        Ok(())
    } else {
        Err(OutOfBounds { offset, count })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec;

    fn page() -> Bytes {
        // SAFETY: the memory is leaked, and used by this value alone.
        unsafe { Bytes::new(NonNull::from(Box::leak(Box::new(PageMemory::new())))) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn copies_are_those_of_slices(copies in prop::collection::vec((0..PAGE_SIZE + 9, 0..70_usize, any::<u8>()), 1..20)) {
            let (page, mut model) = (page(), vec![0; PAGE_SIZE]);
            for (offset, count, first) in copies {
                let bytes: vec::Vec<u8> = (0..count).map(|index| first.wrapping_add(index as u8)).collect();
                let mut read = vec![0xaa; count];
                if let Some(place) = model.get_mut(offset..offset + count) {
                    place.copy_from_slice(&bytes);
                    prop_assert_eq!(page.copy_from(offset, &bytes), Ok(()));
                    prop_assert_eq!(page.copy_to(offset, &mut read), Ok(()));
                    prop_assert_eq!(read, bytes);
                } else {
                    prop_assert_eq!(page.copy_from(offset, &bytes), Err(OutOfBounds { offset, count }));
                    prop_assert_eq!(page.copy_to(offset, &mut read), Err(OutOfBounds { offset, count }));
                }
            }
            let mut whole = vec![0; PAGE_SIZE];
            page.copy_to(0, &mut whole).unwrap();
            prop_assert_eq!(whole, model);
        }
    }

    #[test]
    fn atomics_lie_within_the_page_and_are_aligned() {
        let page = page();
        page.copy_from(4092, &0x0403_0201_u32.to_le_bytes()).unwrap();
        assert_eq!(page.atomic::<AtomicU32>(4092).unwrap().load(Ordering::Acquire), 0x0403_0201);
        assert_eq!(page.atomic::<AtomicU16>(4094).unwrap().swap(7, Ordering::AcqRel), 0x0403);
        assert!(
            page.atomic::<AtomicU32>(4094).is_none() && page.atomic::<AtomicU32>(4096).is_none()
        );
        assert!(page.atomic::<AtomicU8>(4095).is_some() && page.atomic::<AtomicU8>(4096).is_none());
        assert!(page.atomic::<AtomicUsize>(usize::MAX).is_none());
        assert_eq!(
            page.copy_to(usize::MAX, &mut [0]),
            Err(OutOfBounds { offset: usize::MAX, count: 1 })
        );
    }
}
