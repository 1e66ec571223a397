//! Pages that the program shares with Xen or with other domains.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use xen_hal::platform::{Frame, PAGE_SIZE};

/// A page of the program's memory, aligned to its size, that others may change at any time.
///
/// Place it in a `static`. It returns its address and no reference, because a reference would
/// assert that the memory does not change.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Page(UnsafeCell<[u8; PAGE_SIZE]>);

// SAFETY: the type returns only an address; dereferencing it is unsafe.
unsafe impl Sync for Page {}

impl Page {
    /// Creates a page of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; PAGE_SIZE]))
    }

    /// Returns the page's address, as a pointer to a `T` at its start.
    #[must_use]
    pub const fn as_ptr<T>(&'static self) -> NonNull<T> {
        const {
            assert!(
                size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE,
                "the type fits in a page"
            );
        };
        // SAFETY: the address of a static is not null.
        unsafe { NonNull::new_unchecked(self.0.get().cast()) }
    }

    /// Returns the guest frame of the page: memory is mapped to itself.
    #[must_use]
    pub fn frame(&'static self) -> Frame {
        Frame::containing(self.0.get().expose_provenance() as u64)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the address of a guest frame, which equals its guest-physical address, because memory is
/// mapped to itself; `None` if it does not fit into a pointer.
#[must_use]
pub fn at<T>(frame: Frame) -> Option<NonNull<T>> {
    let address = usize::try_from(frame.address()?).ok()?;
    NonNull::new(core::ptr::with_exposed_provenance_mut(address))
}
