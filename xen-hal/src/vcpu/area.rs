//! Memory that Xen keeps up to date for a vCPU: its event and time block, its run times, and a copy
//! of its time.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use xen_pac::access::{Data, Handle};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use xen_pac::shared_info::VcpuTimeInfo;
use xen_pac::shared_info::{VcpuInfo, raw};
use xen_pac::vcpu::{
    VcpuRegisterRunstateMemoryArea, VcpuRegisterRunstateMemoryAreaAddr, VcpuRegisterVcpuInfo,
    VcpuRunstateInfo, command, raw as runs,
};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use xen_pac::vcpu::{VcpuRegisterTimeMemoryArea, VcpuRegisterTimeMemoryAreaAddr};

use super::{RunstateArea, Vcpu};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::memory::WidthLatch;
use crate::platform::{AddressSpace, Frame, PAGE_SIZE, VcpuId};

/// The bytes of a block that Xen keeps up to date, usually a `static`: one for each vCPU, and for
/// one use only.
///
/// It never crosses a page and has the alignment that Xen needs, so registering it cannot fail for
/// either reason. Once registered it belongs to Xen and to the handles that the registration
/// returned, while the program runs.
///
/// It stores for which vCPU it was registered and how, so that it can be [registered
/// again](Self::reregister) after a restore. The handles from before stay valid.
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

/// Which address of an area Xen uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Virtual = 2,
    Physical = 3,
}

// SAFETY: the block is reached by its address only after `take`, which succeeds for one caller, and
// then by handles and by Xen.
unsafe impl<T: Send> Sync for Area<T> {}

/// A kind of block.
pub trait Block: Data {
    /// Passes the place of the block to Xen: its frame and offset, or its address if there is no
    /// frame.
    ///
    /// # Safety
    ///
    /// Xen may write to the block from now on. Without a frame, as for
    /// [`Vcpu::register_runstate`].
    unsafe fn pass(
        xen: &impl Hypercall,
        vcpu: VcpuId,
        block: NonNull<Self>,
        frame: Option<(Frame, u32)>,
    ) -> Result<(), Errno>;
}

impl Block for raw::VcpuInfo {
    unsafe fn pass(
        xen: &impl Hypercall,
        vcpu: VcpuId,
        _: NonNull<Self>,
        frame: Option<(Frame, u32)>,
    ) -> Result<(), Errno> {
        let (frame, offset) = frame.ok_or(Errno::EINVAL)?;
        let mut argument = VcpuRegisterVcpuInfo::new(frame.0, offset);
        // SAFETY: Xen may write to the block, which is at this frame.
        unsafe { xen.call_unchecked(command::RegisterVcpuInfo, (vcpu, &mut argument)) }
    }
}

/// Implements [`Block`] for a kind that has a command for either address.
macro_rules! block {
    ($block:ty, $address:ident, $argument:ident, $virtual:ident, $physical:ident) => {
        impl Block for $block {
            unsafe fn pass(
                xen: &impl Hypercall,
                vcpu: VcpuId,
                block: NonNull<Self>,
                frame: Option<(Frame, u32)>,
            ) -> Result<(), Errno> {
                let Some((frame, offset)) = frame else {
                    block.as_ptr().expose_provenance();
                    let address = $address::from_v(Handle::from_ptr(block.as_ptr()));
                    let mut argument = $argument::new(address);
                    // SAFETY: Xen may write to the block; the caller promises that it finds the
                    // block at this address.
                    return unsafe { xen.call_unchecked(command::$virtual, (vcpu, &mut argument)) };
                };
                let page = frame.address().ok_or(Errno::EINVAL)?;
                let mut argument = $argument::new($address::from_p(page | u64::from(offset)));
                // SAFETY: Xen may write to the block, which is at this frame.
                unsafe { xen.call_unchecked(command::$physical, (vcpu, &mut argument)) }
            }
        }
    };
}

block!(
    runs::VcpuRunstateInfo,
    VcpuRegisterRunstateMemoryAreaAddr,
    VcpuRegisterRunstateMemoryArea,
    RegisterRunstateMemoryArea,
    RegisterRunstatePhysArea
);
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
block!(
    raw::VcpuTimeInfo,
    VcpuRegisterTimeMemoryAreaAddr,
    VcpuRegisterTimeMemoryArea,
    RegisterVcpuTimeMemoryArea,
    RegisterVcpuTimePhysArea
);

impl<T: Data> Area<T> {
    /// Returns an area of zeroes.
    #[must_use]
    pub const fn new() -> Self {
        // A block at the start of a line of this size lies within the line, and the line within a
        // page.
        const {
            assert!(
                size_of::<T>() <= align_of::<Self>()
                    && size_of::<Self>() <= PAGE_SIZE
                    && PAGE_SIZE % align_of::<Self>() == 0
            );
        };
        Self {
            block: UnsafeCell::new(T::ZEROED),
            state: AtomicU8::new(FREE),
            vcpu: AtomicU32::new(0),
        }
    }

    /// True if it has been registered.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }

    fn block(&'static self) -> NonNull<T> {
        NonNull::from(&self.block).cast()
    }

    /// How the area was registered, if it was.
    fn registration(&self) -> Option<(VcpuId, Form)> {
        let state = self.state.load(Ordering::Acquire);
        let form = [Form::Virtual, Form::Physical].into_iter().find(|form| *form as u8 == state)?;
        Some((VcpuId(self.vcpu.load(Ordering::Relaxed)), form))
    }
}

impl<T: Block> Area<T> {
    /// Registers the area for a vCPU. If that fails, the area can be used again.
    ///
    /// # Safety
    ///
    /// With the virtual form, as for [`Vcpu::register_runstate`].
    unsafe fn take(
        &'static self,
        xen: &impl Hypercall,
        vcpu: VcpuId,
        form: Form,
        space: &(impl AddressSpace + ?Sized),
    ) -> Result<NonNull<T>, RegisterError> {
        self.state
            .compare_exchange(FREE, BEING_REGISTERED, Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| RegisterError::Taken)?;
        // SAFETY: the area belongs to this call; the caller's obligations are the same.
        let registered = unsafe { self.pass(xen, vcpu, form, space) };
        if registered.is_ok() {
            self.vcpu.store(vcpu.0, Ordering::Relaxed);
        }
        self.state.store(if registered.is_ok() { form as u8 } else { FREE }, Ordering::Release);
        registered.map(|()| self.block())
    }

    /// Registers the area once more, for the vCPU and in the form of before, after the domain was
    /// restored. Does nothing to an area that never was registered.
    ///
    /// Existing handles then read current values again; until then they read the last values from
    /// before the suspend. A vCPU whose [`VcpuInfo`] this is gets an interrupt, as after the first
    /// registration.
    ///
    /// # Errors
    ///
    /// Those of the registration, except [`RegisterError::Taken`]. If the domain was not restored,
    /// or this was done before, a second [`VcpuInfo`] is Xen's `EINVAL` or `EBUSY`, and nothing has
    /// changed. A domain that was moved to a Xen before 4.18 finds the physical form of the other
    /// kinds missing: `ENOSYS`.
    pub fn reregister(
        &'static self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
    ) -> Result<(), RegisterError> {
        let xen = latch.current().ok_or(RegisterError::StaleLatch)?;
        let Some((vcpu, form)) = self.registration() else { return Ok(()) };
        // SAFETY: the area was given to Xen in this form before, with the same obligations.
        unsafe { self.pass(&xen, vcpu, form, space) }
    }

    /// # Safety
    ///
    /// As for [`take`](Self::take), and the area belongs to the caller or to Xen.
    unsafe fn pass(
        &'static self,
        xen: &impl Hypercall,
        vcpu: VcpuId,
        form: Form,
        space: &(impl AddressSpace + ?Sized),
    ) -> Result<(), RegisterError> {
        let place = match form {
            Form::Virtual => None,
            Form::Physical => Some(place(space, self.block())?),
        };
        // SAFETY: the area is static and Xen's from now on. The address space promises that it is
        // at this frame; for the virtual form, the caller's obligations are the same.
        Ok(unsafe { T::pass(xen, vcpu, self.block(), place) }?)
    }
}

impl Area<raw::VcpuInfo> {
    /// Returns the handle that the registration returned; `None` before.
    #[must_use]
    pub fn vcpu_info(&'static self) -> Option<VcpuInfo<'static>> {
        // SAFETY: the area is static and taken: only Xen and such handles touch it.
        self.registration().map(|_| unsafe { VcpuInfo::from_ptr(self.block()) })
    }
}

impl Area<runs::VcpuRunstateInfo> {
    /// Returns the handle that the registration returned; `None` before.
    #[must_use]
    pub fn runstate(&'static self) -> Option<RunstateArea> {
        self.registration()?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it.
        Some(RunstateArea::new(unsafe { VcpuRunstateInfo::from_ptr(self.block()) }))
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

/// The frame of a block's page, and the block's offset within the page in bytes.
fn place<T>(
    space: &(impl AddressSpace + ?Sized),
    block: NonNull<T>,
) -> Result<(Frame, u32), RegisterError> {
    let address = block.addr().get();
    let frame = space
        .frame_of(block.cast())
        .filter(|frame| frame.address().is_some())
        .ok_or(RegisterError::NotMapped(address))?;
    block.as_ptr().expose_provenance();
    Ok((frame, (address % PAGE_SIZE) as u32))
}

/// No frame is needed for the virtual form.
struct NoSpace;

// SAFETY: it names no frame.
unsafe impl AddressSpace for NoSpace {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        None
    }
}

impl<H: Hypercall> Vcpu<H> {
    /// Moves the vCPU's [`VcpuInfo`] from the shared page to `area`. In the shared page, vCPUs from
    /// 32 on (from 1 on, on Arm) have no place and get no events. Upstream:
    /// `VCPUOP_register_vcpu_info`.
    ///
    /// This can be done once for each vCPU, and is not undone while the domain lives. A restored
    /// domain has its blocks in the shared page again, until the area is [registered
    /// again](Area::reregister).
    ///
    /// From the first instruction after the call on, `evtchn_pending_sel` is all ones and the vCPU
    /// is interrupted, even if there is no event: Xen makes sure that none was lost meanwhile. The
    /// old place keeps what Xen had written there and is never updated again.
    ///
    /// Xen writes the block in the layout of the width that it has latched.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`], [`RegisterError::StaleLatch`] and [`RegisterError::NotMapped`]
    /// before Xen is asked. Xen refuses
    /// - a second time: `EINVAL`, from 4.18 on `EBUSY`;
    /// - another vCPU than the calling one while that is up: `EINVAL`, up to 4.17;
    /// - a frame that is not the domain's memory: `EINVAL`, and `EACCES` for memory that it cannot
    ///   write.
    pub fn register_vcpu_info(
        &self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<raw::VcpuInfo>,
    ) -> Result<VcpuInfo<'static>, RegisterError> {
        let xen = latch.current().ok_or(RegisterError::StaleLatch)?;
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuInfo::from_ptr(block) })
    }

    /// Has Xen keep the vCPU's run times in `area`, which it finds by its virtual address. Xen no
    /// longer updates the area of an earlier registration in this form. If the vCPU has an area by
    /// its physical address, Xen fills `area` once and goes on with the other. Upstream:
    /// `VCPUOP_register_runstate_memory_area`.
    ///
    /// On x86 Xen looks the address up each time that it writes, in the page table that the vCPU
    /// then uses, and writes nothing if that does not map it. Arm looks it up once. From 4.18 on,
    /// [`register_runstate_physical`](Self::register_runstate_physical) has no such dependence.
    ///
    /// Xen writes the block in the layout of the width that it has latched: 44 bytes for a 32-bit
    /// guest, 48 for a 64-bit one.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::StaleLatch`] before Xen is asked; `EFAULT` or
    /// `EINVAL` for an address that a guest cannot have.
    ///
    /// # Safety
    ///
    /// Every page table of the domain must map the area's address to the area, or leave it
    /// unmapped. Xen writes through the current page table of the vCPU. While registering, and
    /// while registering again, it writes once through the page table of the calling vCPU.
    pub unsafe fn register_runstate(
        &self,
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<runs::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, RegisterError> {
        let xen = latch.current().ok_or(RegisterError::StaleLatch)?;
        // SAFETY: the caller's obligations are the same.
        let block = unsafe { area.take(&xen, self.id, Form::Virtual, &NoSpace) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(RunstateArea::new(unsafe { VcpuRunstateInfo::from_ptr(block) }))
    }

    /// As [`register_runstate`](Self::register_runstate), by the area's physical address, which
    /// needs no promise. Xen no longer updates any area that the vCPU registered earlier. Not on
    /// Arm. Since Xen 4.18. Upstream: `VCPUOP_register_runstate_phys_area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`], [`RegisterError::StaleLatch`] and [`RegisterError::NotMapped`]
    /// before Xen is asked; `ENOSYS` before 4.18; `EINVAL` and `EACCES` for a frame that is not
    /// memory which the domain can write, and `EINVAL` on Arm.
    pub fn register_runstate_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<runs::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, RegisterError> {
        let xen = latch.current().ok_or(RegisterError::StaleLatch)?;
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(RunstateArea::new(unsafe { VcpuRunstateInfo::from_ptr(block) }))
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl<H: Hypercall> Vcpu<H> {
    /// Has Xen keep another copy of the vCPU's time block in `area`, which it finds by its virtual
    /// address: for programs in user mode, for example, that may read the clock and nothing else.
    /// x86 only. Upstream: `VCPUOP_register_vcpu_time_memory_area`.
    ///
    /// Xen looks the address up each time that it writes. From 4.18 on,
    /// [`register_time_physical`](Self::register_time_physical) has no such dependence. If the vCPU
    /// has an area in that form, Xen does not write to `area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] before Xen is asked; `EFAULT` for an address that a guest cannot
    /// have.
    ///
    /// # Safety
    ///
    /// As for [`register_runstate`](Self::register_runstate).
    pub unsafe fn register_time(
        &self,
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        // SAFETY: the caller's obligations are the same.
        let block = unsafe { area.take(&self.xen, self.id, Form::Virtual, &NoSpace) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }

    /// As [`register_time`](Self::register_time), by the area's physical address, which needs no
    /// promise. x86 only. Since Xen 4.18. Upstream: `VCPUOP_register_vcpu_time_phys_area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked; `ENOSYS`
    /// before 4.18; `EINVAL` and `EACCES` for a frame that is not memory which the domain can
    /// write.
    pub fn register_time_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&self.xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }
}

/// An area was not registered. It can be used for another try, unless it is [taken](Self::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The area has been registered before, and belongs to Xen since. After a restore it can be
    /// [registered again](Area::reregister).
    #[error("the area has been registered before")]
    Taken,
    /// The width was latched before the domain was restored.
    #[error("the width was latched before the domain was restored; latch it again")]
    StaleLatch,
    /// The address space has no frame for the area, which is at this address.
    #[error("no guest frame lies behind the area at address {0:#x}")]
    NotMapped(usize),
    /// Xen's error.
    #[error("cannot register the area: {0}")]
    Errno(#[from] Errno),
}

#[cfg(test)]
#[path = "area_tests.rs"]
mod tests;
