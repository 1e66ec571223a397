//! From pointers to the frames that Xen speaks of.

use core::ptr::NonNull;

/// Bytes of a page, which is also Xen's unit of sharing on every architecture.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// The number of address bits within a page.
pub const PAGE_SHIFT: u32 = 12;

/// The number of a page in the guest's physical address space: its address divided by
/// [`PAGE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u64);

impl Frame {
    /// The frame that holds a guest-physical address.
    #[must_use]
    pub const fn containing(physical: u64) -> Self {
        Self(physical >> PAGE_SHIFT)
    }

    /// The guest-physical address of the frame's first byte; `None` for a frame beyond the last
    /// address.
    #[must_use]
    pub const fn address(self) -> Option<u64> {
        if self.0 >> (u64::BITS - PAGE_SHIFT) == 0 { Some(self.0 << PAGE_SHIFT) } else { None }
    }
}

/// Where the guest's pointers lie in its physical address space.
///
/// # Safety
///
/// Memory is handed to Xen, and to other domains, by the frames that an implementation names.
/// [`frame_of`](Self::frame_of) must return the frame that the page of the pointer is mapped to,
/// for as long as the mapping stands.
pub unsafe trait AddressSpace {
    /// The frame of the page that holds `pointer`; `None` for one that is not mapped.
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame>;
}

// SAFETY: a borrowed address space answers as the space itself.
unsafe impl<A: AddressSpace + ?Sized> AddressSpace for &A {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        (**self).frame_of(pointer)
    }
}

/// The address space of a guest whose virtual addresses are its physical ones.
#[derive(Clone, Copy, Debug)]
pub struct IdentityMap(());

impl IdentityMap {
    /// The identity map.
    ///
    /// # Safety
    ///
    /// Every pointer that this will be asked about is mapped at its own physical address.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: who made the map promised that pointers are physical addresses.
unsafe impl AddressSpace for IdentityMap {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        Some(Frame::containing(pointer.addr().get() as u64))
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
