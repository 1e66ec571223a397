//! Registers memory that Xen updates for a vCPU: its `vcpu_info`, its run times, and a copy of its
//! time.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

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

use super::{RunstateArea, Vcpu, VcpuError};
use crate::atomic::{AtomicU8, AtomicU32, Ordering};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::memory::WidthLatch;
use crate::platform::{AddressSpace, Frame, PAGE_SIZE, VcpuId};
use crate::version::Version;

/// Memory that Xen updates for one vCPU, usually in a `static`. Use one for each vCPU and each
/// kind.
///
/// It never crosses a page boundary and is aligned as Xen requires, so registering it cannot fail
/// for these reasons. After the registration, only Xen and the returned handles may access it.
///
/// It stores for which vCPU it was registered, and how, so it can be [registered
/// again](Self::reregister) after a restore. Earlier handles stay valid.
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

/// The kind of address by which Xen accesses an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Virtual = 2,
    Physical = 3,
}

// SAFETY: `take` succeeds for one caller only. Before it, nothing uses the block's address; after
// it, handles and Xen do.
unsafe impl<T: Send> Sync for Area<T> {}

/// A kind of memory that Xen updates.
pub trait Block: Data {
    /// Passes the block's location to Xen: its frame and offset, or its address if there is no
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
    ) -> Result<(), VcpuError>;
}

impl Block for raw::VcpuInfo {
    unsafe fn pass(
        xen: &impl Hypercall,
        vcpu: VcpuId,
        _: NonNull<Self>,
        frame: Option<(Frame, u32)>,
    ) -> Result<(), VcpuError> {
        let (frame, offset) = frame.ok_or(Errno::EINVAL)?;
        let mut argument = VcpuRegisterVcpuInfo::new(frame.0, offset);
        // SAFETY: Xen may write to the block, which is at this frame.
        Ok(unsafe { xen.call_unchecked(command::RegisterVcpuInfo, (vcpu, &mut argument)) }?)
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
            ) -> Result<(), VcpuError> {
                let Some((frame, offset)) = frame else {
                    block.as_ptr().expose_provenance();
                    let address = $address::from_v(Handle::from_ptr(block.as_ptr()));
                    let mut argument = $argument::new(address);
                    // SAFETY: Xen may write to the block, and the caller guarantees that page
                    // tables map the block at this address.
                    unsafe { xen.call_unchecked(command::$virtual, (vcpu, &mut argument)) }?;
                    return Ok(());
                };
                let page = frame.address().ok_or(Errno::EINVAL)?;
                let mut argument = $argument::new($address::from_p(page | u64::from(offset)));
                // SAFETY: Xen may write to the block, which is at this frame.
                unsafe { xen.call_unchecked(command::$physical, (vcpu, &mut argument)) }
                    .map_err(|errno| Version::new(xen).explain(command::$physical, errno))?;
                Ok(())
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
    /// Creates an area of zeros.
    #[must_use]
    pub const fn new() -> Self {
        // A block at the start of a cache line of this size is within the line, and the line is
        // within a page.
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

    /// Returns how the area was registered, if it was.
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
    ) -> Result<NonNull<T>, VcpuError> {
        self.state
            .compare_exchange(FREE, BEING_REGISTERED, Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| VcpuError::Taken)?;
        // SAFETY: the area belongs to this call; the caller's obligations are the same.
        let registered = unsafe { self.pass(xen, vcpu, form, space) };
        if registered.is_ok() {
            self.vcpu.store(vcpu.0, Ordering::Relaxed);
        }
        self.state.store(if registered.is_ok() { form as u8 } else { FREE }, Ordering::Release);
        registered.map(|()| self.block())
    }

    /// Registers the area again after a restore, for the same vCPU and by the same kind of address.
    /// Does nothing if the area was never registered.
    ///
    /// Existing handles then read current values again; until then they read the last values from
    /// before the suspend. If this is a vCPU's [`VcpuInfo`], the vCPU gets an interrupt, as after
    /// the first registration.
    ///
    /// # Errors
    ///
    /// Those of the registration, except [`VcpuError::Taken`]. For a [`VcpuInfo`], `EINVAL` or
    /// `EBUSY` if the domain was not restored or this was called before; nothing has changed then.
    /// [`VcpuError::Unsupported`] if the domain was moved to a Xen before 4.18, which cannot
    /// register the other kinds by their physical address.
    pub fn reregister(
        &'static self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
    ) -> Result<(), VcpuError> {
        let xen = latch.current().ok_or(VcpuError::StaleLatch)?;
        let Some((vcpu, form)) = self.registration() else { return Ok(()) };
        // SAFETY: the area was registered in this form before, with the same obligations.
        unsafe { self.pass(&xen, vcpu, form, space) }
    }

    /// # Safety
    ///
    /// As for [`take`](Self::take). Only the caller or Xen may use the area.
    unsafe fn pass(
        &'static self,
        xen: &impl Hypercall,
        vcpu: VcpuId,
        form: Form,
        space: &(impl AddressSpace + ?Sized),
    ) -> Result<(), VcpuError> {
        let place = match form {
            Form::Virtual => None,
            Form::Physical => Some(place(space, self.block())?),
        };
        // SAFETY: the area is static, and only Xen uses it from now. The address space guarantees
        // that it is at this frame; for the virtual form, the caller's obligations are the same.
        unsafe { T::pass(xen, vcpu, self.block(), place) }
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

/// Returns the frame of a block's page, and the block's offset within the page in bytes.
fn place<T>(
    space: &(impl AddressSpace + ?Sized),
    block: NonNull<T>,
) -> Result<(Frame, u32), VcpuError> {
    let address = block.addr().get();
    let frame = space
        .frame_of(block.cast())
        .filter(|frame| frame.address().is_some())
        .ok_or(VcpuError::NotMapped(address))?;
    block.as_ptr().expose_provenance();
    Ok((frame, (address % PAGE_SIZE) as u32))
}

/// An address space without frames, because the virtual form needs none.
struct NoSpace;

// SAFETY: it returns no frame.
unsafe impl AddressSpace for NoSpace {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        None
    }
}

impl<H: Hypercall> Vcpu<H> {
    /// Moves the vCPU's [`VcpuInfo`] from the shared page to `area`. vCPUs from number 32 (on Arm,
    /// from number 1) have none in the shared page, and get no events before this call. Upstream:
    /// `VCPUOP_register_vcpu_info`.
    ///
    /// Xen permits this once for each vCPU, and it cannot be undone. After a restore, Xen uses the
    /// shared page again until the area is [registered again](Area::reregister).
    ///
    /// After the call, `evtchn_pending_sel` is all ones, and the vCPU gets an interrupt even
    /// without an event: this way, Xen loses no event during the move. The `vcpu_info` in the
    /// shared page keeps its last values.
    ///
    /// Xen lays out the block for the latched word width.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Taken`], [`VcpuError::StaleLatch`] and [`VcpuError::NotMapped`]
    /// before the hypercall. Xen refuses
    /// - a second registration: `EINVAL`, since 4.18 `EBUSY`;
    /// - a vCPU that is up and not the calling one: `EINVAL`, up to 4.17;
    /// - a frame that is not the domain's memory: `EINVAL`; memory that the domain cannot write:
    ///   `EACCES`.
    pub fn register_vcpu_info(
        &self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<raw::VcpuInfo>,
    ) -> Result<VcpuInfo<'static>, VcpuError> {
        let xen = latch.current().ok_or(VcpuError::StaleLatch)?;
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuInfo::from_ptr(block) })
    }

    /// Registers `area`, by its virtual address, for the vCPU's run times. It replaces an area that
    /// was registered by its virtual address before. An area that was registered by its physical
    /// address takes precedence: Xen then writes to `area` only once. Upstream:
    /// `VCPUOP_register_runstate_memory_area`.
    ///
    /// On x86, Xen translates the address for each write, through the vCPU's current page table,
    /// and writes nothing if that does not map it. Arm translates it once. Since Xen 4.18,
    /// [`register_runstate_physical`](Self::register_runstate_physical) needs no page table.
    ///
    /// Xen lays out the block for the latched word width: 44 bytes for a 32-bit guest, 48 for a
    /// 64-bit one.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Taken`] and [`VcpuError::StaleLatch`] before the hypercall; `EFAULT` or
    /// `EINVAL` for an invalid guest address.
    ///
    /// # Safety
    ///
    /// Every page table of the domain must map the area's address to the area, or leave it
    /// unmapped. Xen writes through the current page table of the vCPU. At each registration, it
    /// also writes once through the page table of the calling vCPU.
    pub unsafe fn register_runstate(
        &self,
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<runs::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, VcpuError> {
        let xen = latch.current().ok_or(VcpuError::StaleLatch)?;
        // SAFETY: the caller's obligations are the same.
        let block = unsafe { area.take(&xen, self.id, Form::Virtual, &NoSpace) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(RunstateArea::new(unsafe { VcpuRunstateInfo::from_ptr(block) }))
    }

    /// Registers `area` as [`register_runstate`](Self::register_runstate) does, by its physical
    /// address. This is safe, because Xen then uses no page table of the guest. Xen stops updating
    /// any area that was registered for the vCPU before. Not on Arm. Since Xen 4.18. Upstream:
    /// `VCPUOP_register_runstate_phys_area`.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Taken`], [`VcpuError::StaleLatch`] and [`VcpuError::NotMapped`]
    /// before the hypercall; [`VcpuError::Unsupported`] before 4.18 and on Arm; `EINVAL` or
    /// `EACCES` if the domain cannot write to the frame.
    pub fn register_runstate_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<runs::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, VcpuError> {
        let xen = latch.current().ok_or(VcpuError::StaleLatch)?;
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(RunstateArea::new(unsafe { VcpuRunstateInfo::from_ptr(block) }))
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl<H: Hypercall> Vcpu<H> {
    /// Registers `area`, by its virtual address, for a copy of the vCPU's time block. Programs in
    /// user mode can then be allowed to read the clock and nothing else. x86 only. Upstream:
    /// `VCPUOP_register_vcpu_time_memory_area`.
    ///
    /// Xen translates the address for each write. Since Xen 4.18,
    /// [`register_time_physical`](Self::register_time_physical) needs no page table. If the vCPU
    /// has an area in that form, Xen does not write to `area`.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Taken`] before the hypercall; `EFAULT` for an invalid guest address.
    ///
    /// # Safety
    ///
    /// As for [`register_runstate`](Self::register_runstate).
    pub unsafe fn register_time(
        &self,
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, VcpuError> {
        // SAFETY: the caller's obligations are the same.
        let block = unsafe { area.take(&self.xen, self.id, Form::Virtual, &NoSpace) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }

    /// Registers `area` as [`register_time`](Self::register_time) does, by its physical address.
    /// This is safe, because Xen then uses no page table of the guest. x86 only. Since Xen 4.18.
    /// Upstream: `VCPUOP_register_vcpu_time_phys_area`.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Taken`] and [`VcpuError::NotMapped`] before the hypercall;
    /// [`VcpuError::Unsupported`] before 4.18; `EINVAL` or `EACCES` if the domain cannot write to
    /// the frame.
    pub fn register_time_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, VcpuError> {
        // SAFETY: the physical form has no obligations.
        let block = unsafe { area.take(&self.xen, self.id, Form::Physical, space) }?;
        // SAFETY: the area is static and taken: only Xen and such handles touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }
}

#[cfg(test)]
#[path = "area_tests.rs"]
mod tests;
