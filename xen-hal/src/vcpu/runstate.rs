//! How long a vCPU has been running, ready to run, asleep and down.

use core::hint;
#[cfg(test)]
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use xen_pac::access::ReadOnly;
use xen_pac::vcpu::{Runstate, VcpuRunstateInfo, XEN_RUNSTATE_UPDATE, command, raw};
use xen_pac::vm_assist::{VmAssistType, command as vm_assist};

use super::Vcpu;
use crate::clock::SystemTime;
use crate::hypercall::{Commands, Errno, Hypercall};

/// The state of a vCPU, since when, and how much time it has spent in each state.
///
/// In a [`RunstateArea`], which Xen writes when the state changes, the times count up to
/// [`since`](Self::since). In the answer of [`Vcpu::runstate`] they count up to the moment of the
/// call. An area that was registered for another vCPU holds such an answer until that vCPU's state
/// changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimes {
    /// The present state.
    pub state: Runstate,
    /// When the state began.
    pub since: SystemTime,
    spent: [u64; VcpuRunstateInfo::TIME_COUNT],
}

impl RunTimes {
    /// Returns the time spent in a state; `None` for a state that Xen does not count. The time in
    /// [`Runstate::RUNNABLE`] was taken by other vCPUs.
    #[must_use]
    pub fn spent_in(&self, state: Runstate) -> Option<Duration> {
        self.spent.get(state.0 as usize).map(|nanos| Duration::from_nanos(*nanos))
    }
}

/// Proof that Xen marks the run times while it writes them, so that they can be read by any vCPU at
/// any time.
///
/// Xen does so for the whole domain from the request on. A restored domain must request it again.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFlag(());

impl UpdateFlag {
    /// Requests the mark. Upstream: `VMASST_TYPE_runstate_update_flag`.
    ///
    /// # Errors
    ///
    /// `EINVAL` before 4.8, and `ENOSYS` if the hypercall is missing.
    pub fn request(xen: impl Hypercall) -> Result<Self, Errno> {
        xen.call(vm_assist::Enable, VmAssistType::RUNSTATE_UPDATE_FLAG.0 as usize)?;
        Ok(Self(()))
    }
}

/// Memory in which Xen keeps a vCPU's run times: Xen writes them each time that the vCPU gets or
/// loses a processor.
#[derive(Clone, Copy, Debug)]
pub struct RunstateArea {
    block: VcpuRunstateInfo<'static>,
}

impl RunstateArea {
    pub(super) const fn new(block: VcpuRunstateInfo<'static>) -> Self {
        Self { block }
    }

    #[cfg(test)]
    pub(super) fn as_ptr(&self) -> NonNull<raw::VcpuRunstateInfo> {
        self.block.as_ptr()
    }

    /// Reads the run times, on any vCPU. Spins while Xen writes them.
    #[must_use]
    pub fn read(&self, _marked: UpdateFlag) -> RunTimes {
        snapshot(self.block)
    }

    /// Reads the run times of the calling vCPU: Xen does not write them while it runs. Those of
    /// another vCPU can be half old and half new, which only [`read`](Self::read) notices.
    #[must_use]
    pub fn read_own(&self) -> RunTimes {
        snapshot(self.block)
    }
}

impl<H: Hypercall> Vcpu<H> {
    /// Returns the vCPU's run times now. x86 only. Upstream: `VCPUOP_get_runstate_info`.
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

/// Returns what `body` reads while there is no update, and the entry time that belongs to it.
///
/// Xen sets the mark first and clears it last, and each update changes the entry time. So there was
/// no update between two equal readings of an entry time without the mark.
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

/// Returns an entry time that is read in two halves, in either order, as on 32-bit x86, where it is
/// aligned to 4 bytes.
///
/// Times only increase: if two readings in a row are equal, each half was the same at two moments,
/// and the value is that of a moment between them.
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
