//! Memory that is given to Xen for as long as the domain lives.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use xen_pac::access::Data;

use crate::hypercall::Errno;
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

/// The bytes of a block that Xen is to keep up to date, usually a `static`: one for each vCPU, and for one use only.
///
/// It never crosses a page and is aligned as Xen wants it, so registering it cannot fail for either reason. Once registered it belongs to Xen and to the handle that
/// the registration returned, for ever.
///
/// ```
/// use xen_hal::vcpu::Area;
/// use xen_pac::shared_info::raw;
///
/// static INFOS: [Area<raw::VcpuInfo>; 4] = [const { Area::new() }; 4];
/// assert!(!INFOS[0].is_taken());
/// ```
#[repr(C, align(64))]
pub struct Area<T> {
    block: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: the block is reached by its address only after `take`, which succeeds for one caller, and then by handles and by Xen.
unsafe impl<T: Send> Sync for Area<T> {}

impl<T: Data> Area<T> {
    /// An area of zeroes.
    #[must_use]
    pub const fn new() -> Self {
        // A block at the start of a line of this size lies within the line, and the line within a page.
        const { assert!(size_of::<T>() <= align_of::<Self>() && PAGE_SIZE % align_of::<Self>() == 0) };
        Self { block: UnsafeCell::new(T::ZEROED), taken: AtomicBool::new(false) }
    }

    /// Whether it has been registered.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Registers the area by `register`, which is given the block's place, unless it is registered already. If `register` fails, the area can be used again.
    pub(super) fn take(&'static self, register: impl FnOnce(NonNull<T>) -> Result<(), RegisterError>) -> Result<NonNull<T>, RegisterError> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(RegisterError::Taken);
        }
        // A reference has an address.
        let block = NonNull::from(&self.block).cast::<T>();
        match register(block) {
            Ok(()) => Ok(block),
            Err(error) => {
                self.taken.store(false, Ordering::Release);
                Err(error)
            }
        }
    }
}

impl<T: Data> Default for Area<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Area<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Area({:p})", self.block.get())
    }
}

/// Where a block lies in guest-physical memory: the frame of its page, and the offset within the page in bytes.
pub(super) fn place<T>(space: &(impl AddressSpace + ?Sized), block: NonNull<T>) -> Result<(Frame, u32), RegisterError> {
    let address = block.addr().get();
    let frame = space.frame_of(block.cast()).ok_or(RegisterError::NotMapped(address))?;
    Ok((frame, (address % PAGE_SIZE) as u32))
}

/// A block's guest-physical address.
pub(super) fn physical<T>(space: &(impl AddressSpace + ?Sized), block: NonNull<T>) -> Result<u64, RegisterError> {
    let (frame, offset) = place(space, block)?;
    let page = frame.address().ok_or(RegisterError::NotMapped(block.addr().get()))?;
    Ok(page | u64::from(offset))
}

/// An area was not registered. It can be used for another try, unless it is [taken](Self::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The area has been registered before, and belongs to Xen since.
    Taken,
    /// The address space has no frame for the area, which is at this address.
    NotMapped(usize),
    /// Xen's refusal.
    Refused(Errno),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("this area has been registered before"),
            Self::NotMapped(address) => write!(f, "no guest frame lies behind the area at address {address:#x}"),
            Self::Refused(errno) => write!(f, "Xen did not take the area: {errno}"),
        }
    }
}

impl core::error::Error for RegisterError {}

impl From<Errno> for RegisterError {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::IdentityMap;
    use std::string::ToString;
    use xen_pac::shared_info::raw::{VcpuInfo, VcpuTimeInfo};

    #[test]
    fn a_block_never_crosses_a_page() {
        static AREAS: [Area<VcpuInfo>; 200] = [const { Area::new() }; 200];
        // SAFETY: nothing is mapped by it.
        let space = unsafe { IdentityMap::new() };
        for area in &AREAS {
            let block = area.take(|_| Ok(())).unwrap();
            let (_, offset) = place(&space, block).unwrap();
            assert!(offset as usize + size_of::<VcpuInfo>() <= PAGE_SIZE);
            assert_eq!(physical(&space, block), Ok(block.addr().get() as u64));
        }
    }

    #[test]
    fn an_area_is_used_once_but_failures_do_not_count() {
        static AREA: Area<VcpuTimeInfo> = Area::new();
        assert_eq!(AREA.take(|_| Err(Errno::EFAULT.into())), Err(RegisterError::Refused(Errno::EFAULT)));
        assert!(!AREA.is_taken());
        AREA.take(|_| Ok(())).unwrap();
        assert!(AREA.is_taken());
        assert_eq!(AREA.take(|_| panic!("it is taken")), Err(RegisterError::Taken));
    }

    #[test]
    fn errors_read_well() {
        assert_eq!(RegisterError::NotMapped(0x10).to_string(), "no guest frame lies behind the area at address 0x10");
        assert_eq!(RegisterError::Refused(Errno::EBUSY).to_string(), "Xen did not take the area: EBUSY");
    }
}
