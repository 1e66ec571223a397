//! Translates pointers to guest frames.

use core::ptr::NonNull;

/// The size of a page in bytes. Xen shares memory in pages of this size on every architecture.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// The number of address bits within a page.
pub const PAGE_SHIFT: u32 = 12;

/// A guest frame number: a guest-physical address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u64);

impl Frame {
    /// Returns the frame that holds a guest-physical address.
    #[must_use]
    pub const fn containing(physical: u64) -> Self {
        Self(physical >> PAGE_SHIFT)
    }

    /// Returns the guest-physical address of the frame's first byte; `None` for a frame beyond
    /// 2^64.
    #[must_use]
    pub const fn address(self) -> Option<u64> {
        if self.0 >> (u64::BITS - PAGE_SHIFT) == 0 { Some(self.0 << PAGE_SHIFT) } else { None }
    }
}

/// Translates the guest's pointers to frames.
///
/// # Safety
///
/// [`frame_of`](Self::frame_of) must return the frame to which the pointer's page is mapped, and
/// the mapping must not change: the HAL passes the frame to Xen and to other domains, which then
/// access the memory.
pub unsafe trait AddressSpace {
    /// Returns the frame of the page that holds `pointer`; `None` if it is not mapped.
    ///
    /// If the caller gives the frame to Xen, Xen may write to the page. An implementation exposes
    /// the pointer's provenance, so that the compiler expects such writes.
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame>;
}

// SAFETY: forwards to the value behind the reference.
unsafe impl<A: AddressSpace + ?Sized> AddressSpace for &A {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        (**self).frame_of(pointer)
    }
}

/// The address space of a guest whose virtual addresses equal its physical ones.
#[derive(Clone, Copy, Debug)]
pub struct IdentityMap(());

impl IdentityMap {
    /// Creates the identity map.
    ///
    /// # Safety
    ///
    /// Every pointer that is passed to [`frame_of`](AddressSpace::frame_of) must be mapped at its
    /// own physical address.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: `new` requires that pointers are physical addresses.
unsafe impl AddressSpace for IdentityMap {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        Some(Frame::containing(pointer.as_ptr().expose_provenance() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_beyond_the_last_address_has_none() {
        assert_eq!(Frame(u64::MAX >> PAGE_SHIFT).address(), Some(!0xfff));
        assert_eq!(Frame((u64::MAX >> PAGE_SHIFT) + 1).address(), None);
        assert_eq!(Frame::containing(u64::MAX).address(), Some(!0xfff));
    }
}
