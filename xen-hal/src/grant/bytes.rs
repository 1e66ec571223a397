//! Accesses the bytes of a page that another domain may read or write at any moment.
//!
//! All code that dereferences such memory is in this file.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use xen_pac::access::IS_SIMULATED;

use super::GrantError;
use crate::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use crate::memory::{MemoryError, frame_of_page};
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

const WORD: usize = size_of::<usize>();

/// Page-aligned memory of one page. It can be lent to another domain, or a foreign page can be
/// mapped over it.
#[repr(C, align(4096))]
pub struct PageMemory(UnsafeCell<[u8; PAGE_SIZE]>);

const _: () =
    assert!(align_of::<PageMemory>() == PAGE_SIZE && size_of::<PageMemory>() == PAGE_SIZE);

// SAFETY: a reference to the memory gives no access to it.
unsafe impl Sync for PageMemory {}

impl PageMemory {
    /// Returns a page of zeros.
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

/// The bytes of a shared page. Methods copy them or access them as atomics. They are never borrowed
/// as a slice, because the other domain may change them at any moment.
///
/// Copy what the other domain wrote once, check the copy, then use the copy. A second read may
/// return something else.
///
/// A copy is neither atomic nor ordered with other accesses. To order it, both sides use an atomic
/// in the page, such as a ring index: [`store`](Self::store) it after writing the data, and
/// [`load`](Self::load) it before reading the data.
///
/// `Bytes` is `Send` but not `Sync`. Within one program, accesses of different widths to the same
/// bytes must not race, so only one thread at a time may use it. To share a page between vCPUs, put
/// it behind a lock.
pub struct Bytes(NonNull<PageMemory>);

// SAFETY: the value may be used by any thread, since it is the memory's only owner in this program.
// It is not `Sync`, so accesses of different widths are ordered.
unsafe impl Send for Bytes {}

impl Bytes {
    /// # Safety
    ///
    /// Until the value is dropped, the memory is mapped, and this program uses it only through this
    /// value and through pointers that [`as_ptr`](Self::as_ptr) returned.
    pub(super) const unsafe fn new(page: NonNull<PageMemory>) -> Self {
        Self(page)
    }

    /// Fills `into` with the bytes that start at `offset`.
    ///
    /// # Errors
    ///
    /// [`GrantError::OutOfBounds`]; nothing was copied.
    #[inline]
    pub fn copy_to(&self, offset: usize, into: &mut [u8]) -> Result<(), GrantError> {
        check(offset, into.len())?;
        if is_long(into.len()) {
            // SAFETY: the bytes were checked to be within the page, and no slice overlaps it.
            unsafe { copy(into.as_mut_ptr(), self.at(offset), into.len()) };
        } else {
            // SAFETY: the bytes were checked to be within the page.
            unsafe { self.load_words(offset, into) };
        }
        Ok(())
    }

    /// Writes `from` to the bytes that start at `offset`.
    ///
    /// # Errors
    ///
    /// [`GrantError::OutOfBounds`]; nothing was copied.
    #[inline]
    pub fn copy_from(&self, offset: usize, from: &[u8]) -> Result<(), GrantError> {
        check(offset, from.len())?;
        if is_long(from.len()) {
            // SAFETY: as in `copy_to`.
            unsafe { copy(self.at(offset), from.as_ptr(), from.len()) };
        } else {
            // SAFETY: as in `copy_to`.
            unsafe { self.store_words(offset, from) };
        }
        Ok(())
    }

    /// Copies bytes out by relaxed accesses, one for each word where alignment permits.
    ///
    /// # Safety
    ///
    /// The bytes are within the page.
    unsafe fn load_words(&self, mut at: usize, into: &mut [u8]) {
        let (head, rest) = into.split_at_mut(unaligned(at).min(into.len()));
        let mut words = rest.chunks_exact_mut(WORD);
        for byte in head {
            // SAFETY: as many bytes as `into` has are within the page.
            *byte = unsafe { self.cell::<u8>(at) }.load(Ordering::Relaxed);
            at += 1;
        }
        for word in words.by_ref() {
            // SAFETY: as above; the head ended at a word's boundary, or there are no words.
            let value = unsafe { self.cell::<usize>(at) }.load(Ordering::Relaxed);
            word.copy_from_slice(&value.to_ne_bytes());
            at += WORD;
        }
        for byte in words.into_remainder() {
            // SAFETY: as above.
            *byte = unsafe { self.cell::<u8>(at) }.load(Ordering::Relaxed);
            at += 1;
        }
    }

    /// Copies bytes in, as [`load_words`](Self::load_words) copies them out.
    ///
    /// # Safety
    ///
    /// The bytes are within the page.
    unsafe fn store_words(&self, mut at: usize, from: &[u8]) {
        let (head, rest) = from.split_at(unaligned(at).min(from.len()));
        let words = rest.chunks_exact(WORD);
        let tail = words.remainder();
        for byte in head {
            // SAFETY: as many bytes as `from` has are within the page.
            unsafe { self.cell::<u8>(at) }.store(*byte, Ordering::Relaxed);
            at += 1;
        }
        for word in words {
            let value = usize::from_ne_bytes(word.try_into().unwrap_or_default());
            // SAFETY: as above; the head ended at a word's boundary, or there are no words.
            unsafe { self.cell::<usize>(at) }.store(value, Ordering::Relaxed);
            at += WORD;
        }
        for byte in tail {
            // SAFETY: as above.
            unsafe { self.cell::<u8>(at) }.store(*byte, Ordering::Relaxed);
            at += 1;
        }
    }

    /// Loads the integer at `offset` in one access, with acquire ordering: afterwards, this program
    /// sees what the other domain wrote before it stored the value.
    ///
    /// # Errors
    ///
    /// [`GrantError::OutOfBounds`] if the integer does not lie within the page, or is not aligned.
    #[inline]
    pub fn load<T: SharedInt>(&self, offset: usize) -> Result<T, GrantError> {
        self.aligned::<T>(offset).map(|cell| T::load(cell))
    }

    /// Stores the integer at `offset` in one access, with release ordering: a domain that loads the
    /// value sees what this program wrote before.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    #[inline]
    pub fn store<T: SharedInt>(&self, offset: usize, value: T) -> Result<(), GrantError> {
        self.aligned::<T>(offset).map(|cell| T::store(cell, value))
    }

    /// Stores the integer at `offset` and returns the old value, in one access with acquire and
    /// release ordering.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    #[inline]
    pub fn swap<T: SharedInt>(&self, offset: usize, value: T) -> Result<T, GrantError> {
        self.aligned::<T>(offset).map(|cell| T::swap(cell, value))
    }

    /// Stores `new` at `offset` if the integer there is `current`, in one access with acquire and
    /// release ordering. Returns the old value, as `Err` if it was not `current`.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    #[inline]
    pub fn compare_exchange<T: SharedInt>(
        &self,
        offset: usize,
        current: T,
        new: T,
    ) -> Result<Result<T, T>, GrantError> {
        self.aligned::<T>(offset).map(|cell| T::compare_exchange(cell, current, new))
    }

    /// Returns the page's address, for register handles of `xen_pac` and for other code that
    /// handles shared memory. The address is valid as long as this value exists.
    #[inline]
    #[must_use]
    pub const fn as_ptr(&self) -> NonNull<PageMemory> {
        self.0
    }

    /// Returns the address of the byte at `offset`, which is at most the page's size.
    #[inline(always)]
    const fn at(&self, offset: usize) -> *mut u8 {
        self.0.as_ptr().cast::<u8>().wrapping_add(offset)
    }

    #[inline(always)]
    fn aligned<T: SharedInt>(&self, offset: usize) -> Result<&T::Atomic, GrantError> {
        let count = size_of::<T>();
        if offset % count == 0 && offset < PAGE_SIZE {
            // SAFETY: the offset is a multiple of the integer's size, as the page's size is, so the
            // integer lies within the page.
            Ok(unsafe { self.cell::<T>(offset) })
        } else {
            Err(GrantError::OutOfBounds { offset, count })
        }
    }

    /// # Safety
    ///
    /// `offset` is below the page's size and a multiple of the integer's size.
    #[inline(always)]
    unsafe fn cell<T: SharedInt>(&self, offset: usize) -> &T::Atomic {
        xen_pac::access::before();
        // SAFETY: the offset is within the page.
        let place = unsafe { self.0.cast::<u8>().add(offset) };
        // SAFETY: the memory is valid by this type's invariant, and aligned since the page is. The
        // other domain may change an atomic while it is borrowed.
        unsafe { place.cast().as_ref() }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:p})", self.0)
    }
}

/// An integer that a shared page can hold as an atomic: `u8`, `u16`, `u32` or `usize`. Sealed.
pub trait SharedInt: sealed::Integer {}

mod sealed {
    /// # Safety
    ///
    /// `Atomic` is the atomic of the integer's width, and aligned to its size, which is a power of
    /// two.
    pub unsafe trait Integer: Copy {
        type Atomic;

        fn load(cell: &Self::Atomic) -> Self;
        fn store(cell: &Self::Atomic, value: Self);
        fn swap(cell: &Self::Atomic, value: Self) -> Self;
        fn compare_exchange(cell: &Self::Atomic, current: Self, new: Self) -> Result<Self, Self>;
    }
}

macro_rules! shared {
    ($($integer:ty: $atomic:ty),*) => {$(
        impl SharedInt for $integer {}

        // SAFETY: `Atomic` is the atomic of this integer, and the assertion below checks its
        // alignment.
        unsafe impl sealed::Integer for $integer {
            type Atomic = $atomic;

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn load(cell: &$atomic) -> Self {
                cell.load(Ordering::Acquire)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn store(cell: &$atomic, value: Self) {
                cell.store(value, Ordering::Release);
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn swap(cell: &$atomic, value: Self) -> Self {
                cell.swap(value, Ordering::AcqRel)
            }

            #[cfg_attr(orderings, track_caller)]
            #[inline(always)]
            fn compare_exchange(cell: &$atomic, current: Self, new: Self) -> Result<Self, Self> {
                cell.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            }
        }

        const _: () = assert!(align_of::<$atomic>() == size_of::<$integer>());
    )*};
}

shared!(u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, usize: AtomicUsize);

/// Returns the number of bytes up to the next word.
const fn unaligned(offset: usize) -> usize {
    offset.wrapping_neg() % WORD
}

/// True if `memcpy` copies that many bytes in fewer instructions than a loop over words. Its
/// accesses are not atomic, so it must not race with a thread of this program.
#[inline(always)]
const fn is_long(count: usize) -> bool {
    !IS_SIMULATED && count >= 16 * WORD
}

/// Calls `memcpy`, which every program without `std` has to link.
///
/// The pointer to the function is opaque to the compiler, so no second read of the source can
/// replace the copy: a peer can have changed the source meanwhile.
///
/// # Safety
///
/// As for `memcpy`, except that another domain may write to the memory.
#[allow(clippy::pointers_in_nomem_asm_block, reason = "the assembly is a comment")]
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;
    unsafe extern "C" {
        fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8;
    }
    let mut hidden: Copy = memcpy;
    // SAFETY: the assembly is a comment, so the register keeps its value.
    unsafe { asm!("/* {} */", inout(reg) hidden, options(nomem, nostack, preserves_flags)) };
    // SAFETY: the function is `memcpy`, and the caller's obligations are its own.
    unsafe { hidden(to, from, count) };
}

#[inline(always)]
fn check(offset: usize, count: usize) -> Result<(), GrantError> {
    if offset <= PAGE_SIZE && count <= PAGE_SIZE - offset {
        Ok(())
    } else {
        Err(GrantError::OutOfBounds { offset, count })
    }
}

/// Owns a page of this domain's memory that can be lent, and holds its frame number.
///
/// It dereferences to [`Bytes`], for the content. Dropping it leaks the memory.
pub struct Page {
    bytes: Bytes,
    /// An entry of a version 1 table holds frame numbers of 32 bits.
    frame: u32,
}

impl Page {
    /// Takes ownership of the memory.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotMapped`], and [`MemoryError::OutOfReach`] for a frame of 2^32 or more, for
    /// which a version 1 entry has no room.
    pub fn new(
        space: &(impl AddressSpace + ?Sized),
        memory: &'static mut PageMemory,
    ) -> Result<Self, MemoryError> {
        // SAFETY: `&'static mut` transfers exclusive ownership.
        unsafe { Self::from_raw(space, NonNull::from(memory)) }
    }

    /// Takes ownership of the page at `memory`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and [`MemoryError::Misaligned`].
    ///
    /// # Safety
    ///
    /// Until [`into_raw`](Self::into_raw) returns it, the memory is mapped, and this program uses
    /// it only through this value. (That can be for ever: the page must stay mapped if the peer
    /// never stops using it.)
    pub unsafe fn from_raw(
        space: &(impl AddressSpace + ?Sized),
        memory: NonNull<PageMemory>,
    ) -> Result<Self, MemoryError> {
        let frame = frame_of_page(space, memory.cast())?;
        let number = u32::try_from(frame.0).map_err(|_| MemoryError::OutOfReach(frame))?;
        // SAFETY: the caller's obligations are the same.
        Ok(Self { bytes: unsafe { Bytes::new(memory) }, frame: number })
    }

    /// Returns ownership of the memory to the caller.
    #[must_use]
    pub fn into_raw(self) -> NonNull<PageMemory> {
        self.bytes.as_ptr()
    }

    /// Returns the page's guest frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        Frame(self.frame.into())
    }

    /// Returns the frame as an entry holds it.
    #[inline(always)]
    pub(super) const fn number(&self) -> u32 {
        self.frame
    }
}

impl Deref for Page {
    type Target = Bytes;

    #[inline]
    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page(frame {:#x})", self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::tests::{Everywhere, page};
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn copies_are_those_of_slices(
            copies in prop::collection::vec((0..PAGE_SIZE + 9, 0..70_usize, any::<u8>()), 1..20),
        ) {
            let (page, mut model) = (page(1), vec![0; PAGE_SIZE]);
            for (offset, count, first) in copies {
                let head = unaligned(offset);
                prop_assert!(head < WORD && (offset + head) % WORD == 0);
                let bytes: vec::Vec<u8> =
                    (0..count).map(|index| first.wrapping_add(index as u8)).collect();
                let mut read = vec![0xaa; count];
                if let Some(place) = model.get_mut(offset..offset + count) {
                    place.copy_from_slice(&bytes);
                    prop_assert_eq!(page.copy_from(offset, &bytes), Ok(()));
                    prop_assert_eq!(page.copy_to(offset, &mut read), Ok(()));
                    prop_assert_eq!(read, bytes);
                } else {
                    let beyond = Err(GrantError::OutOfBounds { offset, count });
                    prop_assert_eq!(page.copy_from(offset, &bytes), beyond);
                    prop_assert_eq!(page.copy_to(offset, &mut read), beyond);
                }
            }
            let mut whole = vec![0; PAGE_SIZE];
            page.copy_to(0, &mut whole).unwrap();
            prop_assert_eq!(whole, model);
        }
    }

    #[test]
    fn integers_lie_within_the_page_and_are_aligned() {
        let page = page(1);
        let outside = |offset, count| Err(GrantError::OutOfBounds { offset, count });
        page.copy_from(4092, &0x0403_0201_u32.to_le_bytes()).unwrap();
        assert_eq!(page.load::<u32>(4092), Ok(0x0403_0201));
        assert_eq!(page.swap::<u16>(4094, 7), Ok(0x0403));
        assert_eq!(page.compare_exchange::<u16>(4094, 8, 9), Ok(Err(7)));
        assert_eq!(page.compare_exchange::<u16>(4094, 7, 9), Ok(Ok(7)));
        assert_eq!(page.store::<u8>(4095, 1), Ok(()));
        assert_eq!(page.load::<u16>(4094), Ok(0x0109));
        assert_eq!(page.load::<u32>(4094).map(|_| ()), outside(4094, 4));
        assert_eq!(page.load::<u32>(4096).map(|_| ()), outside(4096, 4));
        assert_eq!(page.store::<u8>(4096, 0), outside(4096, 1));
        assert_eq!(page.load::<usize>(usize::MAX).map(|_| ()), outside(usize::MAX, WORD));
        assert_eq!(page.copy_to(usize::MAX, &mut [0]), outside(usize::MAX, 1));
    }

    #[test]
    fn a_page_that_no_entry_can_name_is_refused() {
        assert_eq!(page(0xffff_ffff).frame(), Frame(0xffff_ffff));
        let memory = Box::leak(Box::new(PageMemory::new()));
        assert_eq!(
            Page::new(&Everywhere(1 << 32), memory).unwrap_err(),
            MemoryError::OutOfReach(Frame(1 << 32))
        );
    }

    #[test]
    fn a_page_keeps_its_memory() {
        let lent = page(5);
        lent.copy_from(10, b"abc").unwrap();
        let memory = lent.into_raw();
        // SAFETY: the memory is leaked, and nothing else uses it.
        let again = unsafe { Page::from_raw(&Everywhere(6), memory) }.unwrap();
        let mut bytes = [0; 4];
        again.copy_to(9, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0abc");
    }
}
