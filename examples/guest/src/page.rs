//! Pages that the program gives to the hypervisor.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use xen_pac::base::{XEN_PAGE_SIZE, XenPfn};

/// A page of the program's own memory, aligned as the hypervisor wants it, that others may change
/// at any time.
///
/// Put it into a `static`. It hands out its address and no reference, because whoever shares the
/// page would break what a reference promises.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Page(UnsafeCell<[u8; Page::SIZE]>);

// SAFETY: the type hands out an address only; those who dereference it answer for what they do.
unsafe impl Sync for Page {}

impl Page {
    /// A page's size in bytes.
    pub const SIZE: usize = XEN_PAGE_SIZE as usize;

    /// A page of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; Self::SIZE]))
    }

    /// The page's address, as a pointer to whatever lies in it.
    #[must_use]
    pub const fn as_ptr<T>(&'static self) -> NonNull<T> {
        const {
            assert!(
                size_of::<T>() <= Self::SIZE && align_of::<T>() <= Self::SIZE,
                "the type fits in a page"
            )
        };
        // SAFETY: the address of a static is not null.
        unsafe { NonNull::new_unchecked(self.0.get().cast()) }
    }

    /// The number of the guest frame that the page is. Memory is mapped to itself, so the address
    /// says it.
    #[must_use]
    pub fn frame(&'static self) -> XenPfn {
        (self.0.get().expose_provenance() / Self::SIZE) as XenPfn
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}
