//! Memory that is given to Xen for as long as the domain lives.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use xen_pac::access::Data;

use crate::hypercall::Errno;
use crate::platform::{AddressSpace, Frame, PAGE_SIZE, VcpuId};

/// The bytes of a block that Xen is to keep up to date, usually a `static`: one for each vCPU, and
/// for one use only.
///
/// It never crosses a page and is aligned as Xen wants it, so registering it cannot fail for either
/// reason. Once registered it belongs to Xen and to the handle that the registration returned, for
/// ever.
///
/// It remembers for which vCPU it was registered and how, so that it can be registered again after
/// a migration, when Xen knows nothing of it: by `reregister`, for each kind of block. The
/// handle from before stays good.
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
    /// `FREE`, `BEING_REGISTERED`, or a [`Form`].
    state: AtomicU8,
    /// The vCPU, once the state is a form.
    vcpu: AtomicU32,
}

const FREE: u8 = 0;
const BEING_REGISTERED: u8 = 1;

/// By which address Xen was told of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    Virtual = 2,
    Physical = 3,
}

// SAFETY: the block is reached by its address only after `take`, which succeeds for one caller, and
// then by handles and by Xen.
unsafe impl<T: Send> Sync for Area<T> {}

impl<T: Data> Area<T> {
    /// An area of zeroes.
    #[must_use]
    pub const fn new() -> Self {
        // A block at the start of a line of this size lies within the line, and the line within a
        // page.
        const { assert!(size_of::<T>() <= align_of::<Self>() && PAGE_SIZE % align_of::<Self>() == 0) };
        Self {
            block: UnsafeCell::new(T::ZEROED),
            state: AtomicU8::new(FREE),
            vcpu: AtomicU32::new(0),
        }
    }

    /// Whether it has been registered.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }

    /// Registers the area for a vCPU by `register`, which is given the block's place, unless it is
    /// registered already. If `register` fails, the area can be used again.
    pub(super) fn take(
        &'static self,
        vcpu: VcpuId,
        form: Form,
        register: impl FnOnce(NonNull<T>) -> Result<(), RegisterError>,
    ) -> Result<NonNull<T>, RegisterError> {
        if self
            .state
            .compare_exchange(FREE, BEING_REGISTERED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return Err(RegisterError::Taken);
        }
        let block = self.block();
        let registered = register(block);
        if registered.is_ok() {
            self.vcpu.store(vcpu.0, Ordering::Relaxed);
        }
        self.state.store(if registered.is_ok() { form as u8 } else { FREE }, Ordering::Release);
        registered.map(|()| block)
    }

    /// Registers the area once more by `register`, which is told how it was registered before; does
    /// nothing if it never was.
    pub(super) fn take_again(
        &'static self,
        register: impl FnOnce(VcpuId, Form, NonNull<T>) -> Result<(), RegisterError>,
    ) -> Result<(), RegisterError> {
        let state = self.state.load(Ordering::Acquire);
        match [Form::Virtual, Form::Physical].into_iter().find(|form| *form as u8 == state) {
            Some(form) => register(VcpuId(self.vcpu.load(Ordering::Relaxed)), form, self.block()),
            None => Ok(()),
        }
    }

    fn block(&'static self) -> NonNull<T> {
        // A reference has an address.
        NonNull::from(&self.block).cast()
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

/// Where a block lies in guest-physical memory: the frame of its page, and the offset within the
/// page in bytes.
pub(super) fn place<T>(
    space: &(impl AddressSpace + ?Sized),
    block: NonNull<T>,
) -> Result<(Frame, u32), RegisterError> {
    let address = block.addr().get();
    let frame = space.frame_of(block.cast()).ok_or(RegisterError::NotMapped(address))?;
    Ok((frame, (address % PAGE_SIZE) as u32))
}

/// A block's guest-physical address.
pub(super) fn physical<T>(
    space: &(impl AddressSpace + ?Sized),
    block: NonNull<T>,
) -> Result<u64, RegisterError> {
    let (frame, offset) = place(space, block)?;
    let page = frame.address().ok_or(RegisterError::NotMapped(block.addr().get()))?;
    Ok(page | u64::from(offset))
}

/// An area was not registered. It can be used for another try, unless it is [taken](Self::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The area has been registered before, and belongs to Xen since. After a migration it is to be
    /// registered by `reregister`.
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
            Self::NotMapped(address) => {
                write!(f, "no guest frame lies behind the area at address {address:#x}")
            }
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
            let block = area.take(VcpuId(0), Form::Virtual, |_| Ok(())).unwrap();
            let (_, offset) = place(&space, block).unwrap();
            assert!(offset as usize + size_of::<VcpuInfo>() <= PAGE_SIZE);
            assert_eq!(physical(&space, block), Ok(block.addr().get() as u64));
        }
    }

    #[test]
    fn an_area_is_used_once_but_failures_do_not_count() {
        static AREA: Area<VcpuTimeInfo> = Area::new();
        let take = |register: fn(NonNull<VcpuTimeInfo>) -> Result<(), RegisterError>| {
            AREA.take(VcpuId(1), Form::Physical, register)
        };
        assert_eq!(take(|_| Err(Errno::EFAULT.into())), Err(RegisterError::Refused(Errno::EFAULT)));
        assert!(!AREA.is_taken());
        take(|_| Ok(())).unwrap();
        assert!(AREA.is_taken());
        assert_eq!(take(|_| panic!("it is taken")), Err(RegisterError::Taken));
    }

    #[test]
    fn what_was_registered_is_remembered_and_nothing_else() {
        static AREA: Area<VcpuTimeInfo> = Area::new();
        AREA.take_again(|_, _, _| panic!("it never was registered")).unwrap();
        AREA.take(VcpuId(5), Form::Virtual, |_| Err(Errno::ENOENT.into())).unwrap_err();
        AREA.take_again(|_, _, _| panic!("it was not registered")).unwrap();
        let block = AREA.take(VcpuId(7), Form::Physical, |_| Ok(())).unwrap();
        assert_eq!(
            AREA.take_again(|_, _, _| Err(Errno::EBUSY.into())),
            Err(RegisterError::Refused(Errno::EBUSY))
        );
        // A refusal is not the end of it: the area is still the vCPU's.
        let mut told = None;
        AREA.take_again(|vcpu, form, block| {
            told = Some((vcpu, form, block));
            Ok(())
        })
        .unwrap();
        assert_eq!(told, Some((VcpuId(7), Form::Physical, block)));
    }

    #[test]
    fn errors_read_well() {
        assert_eq!(
            RegisterError::NotMapped(0x10).to_string(),
            "no guest frame lies behind the area at address 0x10"
        );
        assert_eq!(
            RegisterError::Refused(Errno::EBUSY).to_string(),
            "Xen did not take the area: EBUSY"
        );
    }
}
