//! What the port provides.

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;

use xen_hal::platform::{AddressSpace, Frame};

unsafe extern "C" {
    /// Provided by the port. Returns the guest frame number of the page that holds `address`, or
    /// `UINT64_MAX` if it is not mapped. With an identity map, that is the address shifted right by
    /// 12 bits. The mapping must stay: Xen and peers access the page by its frame.
    fn xen_frame_of(address: *const c_void) -> u64;

    /// Provided by the port. Handles a mistake in the library, and must not return. The place is
    /// `line` of the file whose name has `length` bytes at `file`.
    pub(super) fn xen_panic(file: *const c_char, length: usize, line: u32) -> !;
}

/// The port's address space.
#[derive(Clone, Copy)]
pub(super) struct PortSpace;

// SAFETY: the port guarantees it.
unsafe impl AddressSpace for PortSpace {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        pointer.as_ptr().expose_provenance();
        // SAFETY: the function takes any address.
        let frame = unsafe { xen_frame_of(pointer.as_ptr().cast()) };
        (frame != u64::MAX).then_some(Frame(frame))
    }
}
