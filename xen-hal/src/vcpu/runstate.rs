//! Reads how long a vCPU has been running, ready to run, asleep and down.

use core::hint;
#[cfg(test)]
use core::ptr::NonNull;
use core::time::Duration;

use xen_pac::access::ReadOnly;
use xen_pac::vcpu::{Runstate, VcpuRunstateInfo, XEN_RUNSTATE_UPDATE, command, raw};
use xen_pac::vm_assist::{VmAssistType, command as vm_assist};

use super::{Vcpu, VcpuError};
use crate::atomic::{Ordering, fence};
use crate::clock::SystemTime;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::version::Version;

/// A vCPU's state, when it began, and the time that the vCPU has spent in each state.
///
/// Xen writes a [`RunstateArea`] when the state changes, so its times end at
/// [`since`](Self::since). The times that [`Vcpu::runstate`] returns end at the call. If one vCPU
/// registers an area for another, the times end at that call until the other vCPU's state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimes {
    /// The current state.
    pub state: Runstate,
    /// When the state began.
    pub since: SystemTime,
    spent: [u64; VcpuRunstateInfo::TIME_COUNT],
}

impl RunTimes {
    /// Returns the time spent in a state; `None` for a state that Xen does not count. In
    /// [`Runstate::RUNNABLE`], the vCPU waited while other vCPUs ran.
    #[must_use]
    pub fn spent_in(self, state: Runstate) -> Option<Duration> {
        self.spent.get(state.0 as usize).map(|nanos| Duration::from_nanos(*nanos))
    }
}

/// Proof that Xen marks the run times while it writes them, so any vCPU can read them at any time.
///
/// The request applies to the whole domain. A restored domain must make it again.
#[derive(Clone, Copy, Debug)]
pub struct UpdateFlag(());

impl UpdateFlag {
    /// Asks Xen to mark the run times while it writes them. Upstream:
    /// `VMASST_TYPE_runstate_update_flag`.
    ///
    /// # Errors
    ///
    /// [`VcpuError::Unsupported`] before 4.8.
    pub fn request(xen: impl Hypercall) -> Result<Self, VcpuError> {
        let flag = VmAssistType::RUNSTATE_UPDATE_FLAG;
        xen.call(vm_assist::Enable, flag.0 as usize).map_err(|errno| {
            Version::new(&xen).refused("VMASST_TYPE_runstate_update_flag", flag.since(), errno)
        })?;
        Ok(Self(()))
    }
}

/// Registered memory in which Xen updates a vCPU's run times each time the vCPU starts or stops
/// running.
#[derive(Clone, Copy, Debug)]
pub struct RunstateArea {
    block: VcpuRunstateInfo<'static>,
}

impl RunstateArea {
    pub(super) const fn new(block: VcpuRunstateInfo<'static>) -> Self {
        Self { block }
    }

    #[cfg(all(test, any(target_arch = "x86", target_arch = "x86_64")))]
    pub(super) fn as_ptr(&self) -> NonNull<raw::VcpuRunstateInfo> {
        self.block.as_ptr()
    }

    /// Reads the run times, on any vCPU. Spins while Xen writes them.
    #[must_use]
    pub fn read(self, _marked: UpdateFlag) -> RunTimes {
        snapshot(self.block)
    }

    /// Reads the run times of the calling vCPU, which Xen does not write while the vCPU runs. For
    /// another vCPU, use [`read`](Self::read): this method could return a mixture of old and new
    /// values.
    #[must_use]
    pub fn read_own(self) -> RunTimes {
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
        // The array has all of these indices.
        (
            block.state().get(),
            core::array::from_fn(|state| block.time(state).map_or(0, ReadOnly::get)),
        )
    });
    RunTimes { state: Runstate(state), since: entry(since), spent }
}

/// Calls `body` until no update happens during the call. Returns its result and the matching entry
/// time.
///
/// Xen sets the mark first and clears it last, and each update changes the entry time. So if two
/// readings of the entry time are equal and without the mark, there was no update between them.
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

/// Returns an entry time that `read` may read in two halves, in any order, as 32-bit x86 does.
///
/// Times only increase. So if two consecutive readings are equal, neither half changed between
/// them, and the value is correct.
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
