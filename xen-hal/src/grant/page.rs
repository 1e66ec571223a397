//! Pages of this domain that can be lent.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use super::bytes::{Bytes, PageMemory};
use crate::memory::{PageError, frame_of_page};
use crate::platform::{AddressSpace, Frame};

/// A page of this domain's memory, owned, with the number of its frame, and fit to be lent.
///
/// What is in it is touched through [`Bytes`] alone, to which it dereferences, whether it is lent
/// or not. Dropping it leaks the memory.
pub struct Page {
    bytes: Bytes,
    /// An entry of a version 1 table has 32 bits for it.
    frame: u32,
}

impl Page {
    /// The page in `memory`, which belongs to the value from now on.
    ///
    /// # Errors
    ///
    /// [`PageError::NotMapped`], and [`PageError::OutOfReach`] for a frame of 2^32 or more, which a
    /// version 1 table cannot name.
    pub fn new(
        space: &(impl AddressSpace + ?Sized),
        memory: &'static mut PageMemory,
    ) -> Result<Self, PageError> {
        // SAFETY: whoever gives the only reference for ever away gives away the memory.
        unsafe { Self::from_raw(space, NonNull::from(memory)) }
    }

    /// The page at `memory`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and [`PageError::Misaligned`].
    ///
    /// # Safety
    ///
    /// Until [`into_raw`](Self::into_raw) gives it back, the memory is mapped, and nobody in this
    /// program uses it but through this value. (It may well be never: a page that its borrower does
    /// not give back must stay forever.)
    pub unsafe fn from_raw(
        space: &(impl AddressSpace + ?Sized),
        memory: NonNull<PageMemory>,
    ) -> Result<Self, PageError> {
        let frame = frame_of_page(space, memory.cast())?;
        let number = u32::try_from(frame.0).map_err(|_| PageError::OutOfReach(frame))?;
        // SAFETY: the caller's promise.
        Ok(Self { bytes: unsafe { Bytes::new(memory) }, frame: number })
    }

    /// The memory, which belongs to the caller again.
    #[must_use]
    pub fn into_raw(self) -> NonNull<PageMemory> {
        self.bytes.as_ptr()
    }

    /// The page's guest frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        Frame(self.frame.into())
    }

    /// The frame as an entry holds it.
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
pub(super) mod tests {
    extern crate std;

    use super::*;
    use std::boxed::Box;

    /// Every page is at the frame with this number.
    pub(in crate::grant) struct Everywhere(pub(in crate::grant) u64);

    // SAFETY: the tests' hypervisors look at no frame.
    unsafe impl AddressSpace for Everywhere {
        fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
            Some(Frame(self.0))
        }
    }

    /// A fresh page at that frame.
    pub(in crate::grant) fn page(frame: u64) -> Page {
        Page::new(&Everywhere(frame), Box::leak(Box::new(PageMemory::new()))).unwrap()
    }

    #[test]
    fn a_page_that_no_entry_can_name_is_refused() {
        assert_eq!(page(0xffff_ffff).frame(), Frame(0xffff_ffff));
        let memory = Box::leak(Box::new(PageMemory::new()));
        assert_eq!(
            Page::new(&Everywhere(1 << 32), memory).unwrap_err(),
            PageError::OutOfReach(Frame(1 << 32))
        );
    }

    #[test]
    fn a_page_keeps_its_memory() {
        let lent = page(5);
        lent.copy_from(10, b"abc").unwrap();
        let memory = lent.into_raw();
        // SAFETY: the memory is leaked, and nobody else uses it.
        let again = unsafe { Page::from_raw(&Everywhere(6), memory) }.unwrap();
        let mut bytes = [0; 4];
        again.copy_to(9, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0abc");
    }
}
