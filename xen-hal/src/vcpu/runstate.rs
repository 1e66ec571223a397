//! For how long a vCPU has been running, ready to run, asleep and down.

use core::hint;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use xen_pac::access::{Handle, ReadOnly};
use xen_pac::vcpu::{
    Runstate, VcpuRegisterRunstateMemoryArea, VcpuRegisterRunstateMemoryAreaAddr, VcpuRunstateInfo,
    XEN_RUNSTATE_UPDATE, command, raw,
};
use xen_pac::vm_assist::{VmAssistType, command as vm_assist};

use super::area::{Form, physical};
use super::{Area, RegisterError, Vcpu};
use crate::clock::SystemTime;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::AddressSpace;

/// What a vCPU does, since when, and how much time it has spent in each state.
///
/// The time counts up to [`since`](Self::since) where it was read from a [`RunstateArea`], which
/// Xen writes when the state changes, and up to the moment of the answer where [`Vcpu::runstate`]
/// asked for it. An area that was registered for another vCPU holds such an answer until that
/// vCPU's state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimes {
    /// What it does.
    pub state: Runstate,
    /// When it began to.
    pub since: SystemTime,
    spent: [u64; VcpuRunstateInfo::TIME_COUNT],
}

impl RunTimes {
    /// The time spent in a state; `None` for a state of which Xen keeps no account. That in
    /// [`Runstate::RUNNABLE`] is what others took.
    #[must_use]
    pub fn spent_in(&self, state: Runstate) -> Option<Duration> {
        self.spent.get(state.0 as usize).map(|nanos| Duration::from_nanos(*nanos))
    }
}

/// Proof that Xen marks the run times while it writes them, so that they can be read by any vCPU at
/// any time.
///
/// Xen does so for the whole domain from the request on; a domain that was restored has to ask
/// again.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFlag(());

impl UpdateFlag {
    /// Asks for it. Upstream: `VMASST_TYPE_runstate_update_flag`.
    ///
    /// # Errors
    ///
    /// `EINVAL` before 4.8, and `ENOSYS` where the hypercall is missing.
    pub fn request(xen: impl Hypercall) -> Result<Self, Errno> {
        xen.call(vm_assist::Enable, VmAssistType::RUNSTATE_UPDATE_FLAG.0 as usize)?;
        Ok(Self(()))
    }
}

/// Memory in which Xen keeps a vCPU's run times: it writes them each time that the vCPU is given or
/// loses a processor.
#[derive(Clone, Copy, Debug)]
pub struct RunstateArea {
    block: VcpuRunstateInfo<'static>,
}

impl RunstateArea {
    /// The run times, read by any vCPU. Spins while Xen writes them.
    #[must_use]
    pub fn read(&self, _marked: UpdateFlag) -> RunTimes {
        snapshot(self.block)
    }

    /// The run times, read by the vCPU whose they are: Xen does not write them while it runs. Read
    /// by another they may be half old and half new, which only [`read`](Self::read) notices.
    #[must_use]
    pub fn read_own(&self) -> RunTimes {
        snapshot(self.block)
    }
}

impl<H: Hypercall> Vcpu<H> {
    /// The vCPU's run times now. x86 only. Upstream: `VCPUOP_get_runstate_info`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn runstate(&self) -> Result<RunTimes, Errno> {
        let mut info = raw::VcpuRunstateInfo::ZEROED;
        self.xen.call(command::GetRunstateInfo, (self.id, &mut info))?;
        Ok(RunTimes {
            state: Runstate(info.state),
            since: entry(info.state_entry_time),
            spent: info.time,
        })
    }

    /// Lets Xen keep the vCPU's run times in `area`, which it finds by its virtual address. The
    /// area of a former registration, by either form, is written no longer. Upstream:
    /// `VCPUOP_register_runstate_memory_area`.
    ///
    /// On x86 Xen looks the address up each time that it writes, in the page table that the vCPU
    /// then uses, and writes nothing where that does not map it. Arm looks it up once. From 4.18
    /// on, [`register_runstate_physical`](Self::register_runstate_physical) has no such dependence.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] before Xen is asked; `EFAULT` or `EINVAL` for an address that a
    /// guest cannot have.
    ///
    /// # Safety
    ///
    /// Each page table that any vCPU of the domain will ever use maps the area's address to the
    /// area, or not at all: Xen writes by those of the vCPU, and at once by that of the calling
    /// one, which may be another, then and when the area is registered again.
    pub unsafe fn register_runstate(
        &self,
        area: &'static Area<raw::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, RegisterError> {
        let block = area.take(self.id, Form::Virtual, |block| self.tell_runstate(block))?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(RunstateArea { block: unsafe { VcpuRunstateInfo::from_ptr(block) } })
    }

    /// As [`register_runstate`](Self::register_runstate), by the area's physical address, which
    /// needs no promise. Not on Arm. Since Xen 4.18. Upstream:
    /// `VCPUOP_register_runstate_phys_area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked; `ENOSYS`
    /// before 4.18; `EINVAL` and `EACCES` for a frame that is not memory which the domain can
    /// write, and `EINVAL` on Arm.
    pub fn register_runstate_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        area: &'static Area<raw::VcpuRunstateInfo>,
    ) -> Result<RunstateArea, RegisterError> {
        let block =
            area.take(self.id, Form::Physical, |block| self.tell_runstate_physical(space, block))?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(RunstateArea { block: unsafe { VcpuRunstateInfo::from_ptr(block) } })
    }

    /// Has Xen use the block, an area's, by its virtual address. It is found there in every page
    /// table, as somebody has promised.
    fn tell_runstate(&self, block: NonNull<raw::VcpuRunstateInfo>) -> Result<(), RegisterError> {
        block.as_ptr().expose_provenance();
        let address = VcpuRegisterRunstateMemoryAreaAddr::from_v(Handle::from_ptr(block.as_ptr()));
        let mut argument = VcpuRegisterRunstateMemoryArea::new(address);
        // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; that it
        // finds them there was promised.
        unsafe {
            self.xen.call_unchecked(command::RegisterRunstateMemoryArea, (self.id, &mut argument))
        }?;
        Ok(())
    }

    /// Has Xen use the block, an area's, by its physical address.
    fn tell_runstate_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        block: NonNull<raw::VcpuRunstateInfo>,
    ) -> Result<(), RegisterError> {
        let address = VcpuRegisterRunstateMemoryAreaAddr::from_p(physical(space, block)?);
        let mut argument = VcpuRegisterRunstateMemoryArea::new(address);
        // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; the address
        // is theirs, as the address space promises.
        unsafe {
            self.xen.call_unchecked(command::RegisterRunstatePhysArea, (self.id, &mut argument))
        }?;
        Ok(())
    }
}

impl Area<raw::VcpuRunstateInfo> {
    /// Registers the area once more, for the vCPU and in the form of before, after the domain was
    /// restored. Does nothing to an area that never was registered.
    ///
    /// The [`RunstateArea`] from before is good again; for [`read`](RunstateArea::read),
    /// [`UpdateFlag::request`] must be repeated too.
    ///
    /// # Errors
    ///
    /// Those of [`register_runstate`](Vcpu::register_runstate) or
    /// [`register_runstate_physical`](Vcpu::register_runstate_physical) but
    /// [`RegisterError::Taken`]. A domain that was moved to a Xen before 4.18 finds the physical
    /// form missing there: `ENOSYS`.
    pub fn reregister(
        &'static self,
        xen: impl Hypercall,
        space: &(impl AddressSpace + ?Sized),
    ) -> Result<(), RegisterError> {
        self.take_again(|vcpu, form, block| match form {
            Form::Virtual => Vcpu::new(xen, vcpu).tell_runstate(block),
            Form::Physical => Vcpu::new(xen, vcpu).tell_runstate_physical(space, block),
        })
    }
}

fn entry(time: u64) -> SystemTime {
    SystemTime::from_nanos((time & !XEN_RUNSTATE_UPDATE) as i64)
}

/// Reads the block when Xen is not writing it.
fn snapshot(block: VcpuRunstateInfo<'_>) -> RunTimes {
    let entry_time = || {
        let read = || block.state_entry_time().get();
        if cfg!(target_pointer_width = "64") { read() } else { whole(read) }
    };
    let (since, (state, spent)) = between_updates(entry_time, || {
        // There are elements at all of these indices.
        (
            block.state().get(),
            core::array::from_fn(|state| block.time(state).map_or(0, ReadOnly::get)),
        )
    });
    RunTimes { state: Runstate(state), since: entry(since), spent }
}

/// What `body` reads while no update goes on, and the entry time that belongs to it.
///
/// Xen sets the mark before anything else and clears it last, and the entry time is another after
/// each update. So no update fell between two readings of an entry time that is the same and not
/// marked.
fn between_updates<T>(
    mut entry_time: impl FnMut() -> u64,
    mut body: impl FnMut() -> T,
) -> (u64, T) {
    loop {
        let before = entry_time();
        if before & XEN_RUNSTATE_UPDATE != 0 {
            hint::spin_loop();
            continue;
        }
        fence(Ordering::Acquire);
        let found = body();
        fence(Ordering::Acquire);
        if entry_time() == before {
            return (before, found);
        }
    }
}

/// The value of an entry time that is read in two halves, in either order, as it is on 32-bit x86,
/// where it is aligned to 4 bytes.
///
/// Time goes on and does not come back: if two readings in a row give the same, each half was the
/// same at two moments, and the value is that of a moment between them.
fn whole(mut read: impl FnMut() -> u64) -> u64 {
    let mut last = read();
    loop {
        fence(Ordering::Acquire);
        let again = read();
        if again == last {
            return again;
        }
        last = again;
    }
}

#[cfg(test)]
#[path = "runstate_tests.rs"]
mod tests;
