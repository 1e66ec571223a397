//! Maps the pages that the domain shares with Xen.

use core::fmt;
use core::ptr::NonNull;

use xen_pac::base::Domid;
use xen_pac::hvm::{HvmParam, XenHvmParam, command};
use xen_pac::shared_info::{SharedInfo, raw};

use super::{MapSpace, Memory, MemoryError};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

/// Proof that Xen has latched this guest's word width and lays out the shared page accordingly.
///
/// On x86, Xen latches the mode of the vCPU that writes the parameter `CALLBACK_IRQ`. Until then,
/// Xen uses the width latched last: 64 bits for a new domain, 32 if 32-bit firmware ran before a
/// 64-bit kernel. The shared page must not be used before that, so it cannot be mapped without this
/// proof. Upstream: `xen/arch/x86/hvm/hvm.c`, `hvm_latch_shinfo_size`.
///
/// It holds the backend through which Xen latched the width; methods that need the proof make their
/// hypercalls through that backend. After a restore the proof is invalid, and these methods return
/// an error.
#[derive(Clone, Copy)]
pub struct WidthLatch<H> {
    xen: H,
    /// The domain's number of restores at that time.
    restores: u32,
}

impl<H> fmt::Debug for WidthLatch<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WidthLatch")
    }
}

impl<H: Hypercall + Copy> WidthLatch<H> {
    /// Makes Xen latch the width: reads the parameter and writes the same value back, so events
    /// interrupt the guest as before.
    ///
    /// Call it in the mode in which the guest will run, and before other vCPUs run, because they
    /// could set the parameter at the same time.
    ///
    /// On Arm there is one width. Xen refuses the write with `EPERM`, and this returns the proof.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error to a guest with hardware virtualisation.
    pub fn new(xen: H) -> Result<Self, Errno> {
        let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, 0);
        xen.call(command::GetParam, &mut parameter)?;
        // SAFETY: the parameter keeps its value, so only the latched width changes. No page is
        // mapped.
        match unsafe { xen.call_unchecked(command::SetParam, &mut parameter) } {
            // On x86, a domain may set its own parameter. SAFETY: the parameter was set, or this is
            // Arm's refusal.
            Ok(()) | Err(Errno::EPERM) => Ok(unsafe { Self::assume(xen) }),
            Err(errno) => Err(errno),
        }
    }

    /// Creates the proof if the parameter has been set by other means.
    ///
    /// # Safety
    ///
    /// On x86, this program must have set `CALLBACK_IRQ` through `xen`, to any value, in the mode
    /// in which it runs, since the domain was started or restored and after any 32-bit firmware.
    #[must_use]
    pub unsafe fn assume(xen: H) -> Self {
        Self { xen, restores: xen.restores() }
    }

    /// Returns the backend.
    #[must_use]
    pub const fn hypercall(&self) -> H {
        self.xen
    }

    /// Returns the backend, unless the domain was restored since the width was latched.
    pub(crate) fn current(&self) -> Option<H> {
        (self.restores == self.xen.restores()).then_some(self.xen)
    }

    /// Maps the page that the domain shares with Xen at `page`. Upstream:
    /// `XENMAPSPACE_shared_info`.
    ///
    /// Mapping the page again at a different frame unmaps the first frame on x86, and fails on Arm.
    ///
    /// # Errors
    ///
    /// - [`MemoryError::Misaligned`], [`MemoryError::NotMapped`] and [`MemoryError::StaleLatch`]
    ///   before the hypercall.
    /// - [`MemoryError::Physmap`]: `EBUSY` on Arm since 4.17 if the page is already mapped. Unmap
    ///   it first ([`Memory::remove_from_physmap`]).
    ///
    /// # Safety
    ///
    /// - The page at `page` must hold no data in use: x86 frees its RAM, and on Arm the domain
    ///   loses it.
    /// - For all of `'a`, the guest's page tables map `page` to its frame, with the caching of
    ///   ordinary memory.
    /// - For all of `'a`, only the returned handle and its copies access the page, the shared page
    ///   is mapped nowhere else, and the domain is not restored.
    pub unsafe fn map_shared_info<'a>(
        &self,
        space: &(impl AddressSpace + ?Sized),
        page: NonNull<raw::SharedInfo>,
    ) -> Result<SharedInfo<'a>, MemoryError> {
        let xen = self.current().ok_or(MemoryError::StaleLatch)?;
        let frame = frame_of_page(space, page.cast())?;
        // SAFETY: the caller's obligations are the same.
        unsafe { Memory::new(xen).add_to_physmap(MapSpace::SharedInfo, 0, frame) }?;
        // SAFETY: the shared page is mapped there for all of `'a`, and only handles access it.
        Ok(unsafe { SharedInfo::from_ptr(page) })
    }
}

impl<H: Hypercall> Memory<H> {
    /// Maps pages `first` to `first + count - 1` of the domain's grant table contiguously, starting
    /// at `pages`. Upstream: `XENMAPSPACE_grant_table`.
    ///
    /// The table grows to hold them.
    ///
    /// # Errors
    ///
    /// As for [`WidthLatch::map_shared_info`], and `EINVAL` for a page beyond the table's maximum.
    /// The pages before the failing one are mapped.
    ///
    /// # Safety
    ///
    /// As for [`WidthLatch::map_shared_info`], for each of the pages.
    pub unsafe fn map_grant_frames(
        &self,
        space: &(impl AddressSpace + ?Sized),
        pages: NonNull<u8>,
        first: u32,
        count: u32,
    ) -> Result<(), MemoryError> {
        for page in 0..count {
            // The pages can belong to several allocations, so the pointer is computed by
            // `wrapping_add`.
            let place =
                NonNull::new(pages.as_ptr().wrapping_add((page as usize).wrapping_mul(PAGE_SIZE)))
                    .ok_or(MemoryError::NotMapped(0))?;
            let frame = frame_of_page(space, place)?;
            let index = first.saturating_add(page).into();
            // SAFETY: the caller's obligations are the same.
            unsafe { self.add_to_physmap(MapSpace::GrantTable, index, frame) }?;
        }
        Ok(())
    }
}

/// Returns the frame of a page, and exposes the page's provenance: Xen or a peer writes to it by
/// its frame.
pub(crate) fn frame_of_page(
    space: &(impl AddressSpace + ?Sized),
    page: NonNull<u8>,
) -> Result<Frame, MemoryError> {
    let address = page.as_ptr().expose_provenance();
    if address % PAGE_SIZE != 0 {
        return Err(MemoryError::Misaligned(address));
    }
    space.frame_of(page).ok_or(MemoryError::NotMapped(address))
}
