//! The pages that the domain shares with Xen, mapped where the guest points.

use core::fmt;
use core::ptr::NonNull;

use xen_pac::shared_info::{SharedInfo, raw};

use super::{Memory, PhysmapError, Source, WidthLatch};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

/// The page behind a pointer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageError {
    /// The address is not that of a page's first byte.
    Misaligned(usize),
    /// The address space has no frame for this address.
    NotMapped(usize),
    /// The page lies too high, or too low, for what is to be done with it.
    OutOfReach(Frame),
    /// Xen's refusal, with the page and the frame.
    Refused(PhysmapError),
    /// Xen's answer to what had to go before.
    Errno(Errno),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned(address) => write!(f, "{address:#x} is not the address of a page"),
            Self::NotMapped(address) => {
                write!(f, "no guest frame lies behind address {address:#x}")
            }
            Self::OutOfReach(Frame(frame)) => write!(f, "frame {frame:#x} cannot be used for this"),
            Self::Refused(error) => error.fmt(f),
            Self::Errno(errno) => errno.fmt(f),
        }
    }
}

impl core::error::Error for PageError {}

impl From<PhysmapError> for PageError {
    fn from(error: PhysmapError) -> Self {
        Self::Refused(error)
    }
}

impl From<Errno> for PageError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl<H: Hypercall> Memory<H> {
    /// Lets the page that the domain shares with Xen appear behind `page`. Upstream:
    /// `XENMAPSPACE_shared_info`.
    ///
    /// It can be mapped again after a resume. Mapped a second time at another frame, it leaves the
    /// first on x86, and is refused on Arm.
    ///
    /// # Errors
    ///
    /// - [`PageError::Misaligned`] and [`PageError::NotMapped`] before Xen is asked.
    /// - `EBUSY` on Arm since 4.17, where the page is mapped at some frame already: unmap it there
    ///   first ([`remove_from_physmap`](Self::remove_from_physmap)).
    ///
    /// # Safety
    ///
    /// - Nothing is kept in the page behind `page`: RAM that was there is freed on x86, and lost to
    ///   the domain on Arm.
    /// - The guest's page tables map `page` to its frame for the whole of `'a`, with the caching of
    ///   ordinary memory.
    /// - For the whole of `'a` nothing touches the page but by such handles, and the shared page is
    ///   mapped nowhere else.
    pub unsafe fn map_shared_info<'a>(
        &self,
        space: &(impl AddressSpace + ?Sized),
        page: NonNull<raw::SharedInfo>,
        _latched: WidthLatch,
    ) -> Result<SharedInfo<'a>, PageError> {
        let frame = frame_of_page(space, page.cast())?;
        // SAFETY: the caller's promise.
        unsafe { self.add_to_physmap(Source::SharedInfo, frame) }?;
        // SAFETY: the shared page is mapped there now, and the caller promises that it stays,
        // touched by handles alone.
        Ok(unsafe { SharedInfo::from_ptr(page) })
    }

    /// Lets pages `first` to `first + count - 1` of the domain's grant table appear one after the
    /// other, the first behind `pages`. Upstream: `XENMAPSPACE_grant_table`.
    ///
    /// The table grows to hold them.
    ///
    /// # Errors
    ///
    /// As for [`map_shared_info`](Self::map_shared_info), and `EINVAL` for a page beyond the
    /// table's maximum. The pages before the culprit are mapped.
    ///
    /// # Safety
    ///
    /// As for [`map_shared_info`](Self::map_shared_info), for each of the pages.
    pub unsafe fn map_grant_frames(
        &self,
        space: &(impl AddressSpace + ?Sized),
        pages: NonNull<u8>,
        first: u32,
        count: u32,
    ) -> Result<(), PageError> {
        for page in 0..count {
            // Computed without arithmetic on the pointer's allocation: the pages need not be one.
            let place =
                NonNull::new(pages.as_ptr().wrapping_add((page as usize).wrapping_mul(PAGE_SIZE)))
                    .ok_or(PageError::NotMapped(0))?;
            let frame = frame_of_page(space, place)?;
            // SAFETY: the caller's promise.
            unsafe { self.add_to_physmap(Source::GrantTable(first.saturating_add(page)), frame) }?;
        }
        Ok(())
    }
}

/// The frame of a whole page.
pub(crate) fn frame_of_page(
    space: &(impl AddressSpace + ?Sized),
    page: NonNull<u8>,
) -> Result<Frame, PageError> {
    let address = page.addr().get();
    if address % PAGE_SIZE != 0 {
        return Err(PageError::Misaligned(address));
    }
    space.frame_of(page).ok_or(PageError::NotMapped(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};
    use xen_pac::memory::{MapSpace, command};

    /// Knows the addresses below 2^20, each at its own frame.
    struct Low;

    // SAFETY: nothing is mapped in these tests.
    unsafe impl AddressSpace for Low {
        fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
            let frame = Frame::containing(pointer.addr().get() as u64);
            (frame.0 < 0x100).then_some(frame)
        }
    }

    fn at<T>(address: usize) -> NonNull<T> {
        NonNull::new(core::ptr::without_provenance_mut(address)).unwrap()
    }

    fn latched() -> WidthLatch {
        // SAFETY: there is no Xen whose layout could differ.
        unsafe { WidthLatch::assume() }
    }

    #[test]
    fn the_shared_page_appears_behind_the_pointer() {
        let xen = Script::new().argument(command::AddToPhysmap, |asked| {
            assert_eq!((asked.space, asked.idx, asked.gpfn), (MapSpace::SHARED_INFO, 0, 0x44));
            0
        });
        // SAFETY: the handle is not used.
        let shared =
            unsafe { Memory::new(&xen).map_shared_info(&Low, at(0x4_4000), latched()) }.unwrap();
        assert_eq!(shared.as_ptr(), at(0x4_4000));
    }

    #[test]
    fn a_bad_pointer_is_refused_before_the_call() {
        let xen = Script::new();
        let memory = Memory::new(&xen);
        // SAFETY: nothing is mapped.
        let misaligned = unsafe { memory.map_shared_info(&Low, at(0x4_4008), latched()) };
        assert_eq!(misaligned.unwrap_err(), PageError::Misaligned(0x4_4008));
        // SAFETY: nothing is mapped.
        let elsewhere = unsafe { memory.map_shared_info(&Low, at(0x10_0000), latched()) };
        assert_eq!(elsewhere.unwrap_err(), PageError::NotMapped(0x10_0000));
    }

    #[test]
    fn grant_pages_are_mapped_in_a_row_until_one_fails() {
        let xen = Script::new()
            .argument(command::AddToPhysmap, |asked| {
                assert_eq!((asked.space, asked.idx, asked.gpfn), (MapSpace::GRANT_TABLE, 4, 0xfe));
                0
            })
            .argument(command::AddToPhysmap, |asked| {
                assert_eq!((asked.idx, asked.gpfn), (5, 0xff));
                errno(Errno::EINVAL)
            });
        // SAFETY: nothing is mapped.
        let error =
            unsafe { Memory::new(&xen).map_grant_frames(&Low, at(0xf_e000), 4, 3) }.unwrap_err();
        assert!(matches!(
            error,
            PageError::Refused(PhysmapError {
                source: Source::GrantTable(5),
                at: Frame(0xff),
                errno: Errno::EINVAL,
                ..
            })
        ));
    }
}
