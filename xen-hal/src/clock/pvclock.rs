//! x86: the clock that Xen keeps in each vCPU's time block.

use xen_pac::features::Feature;
use xen_pac::shared_info::{VcpuTimeInfo, VcpuTimeInfoSnapshot, pvclock_flags};

use super::{Monotonic, SystemTime, frequency, scale};
use crate::platform::Counter;
use crate::version::Features;

/// A vCPU's clock: the values in its time block, and the TSC that carries them forward.
///
/// Each vCPU has its own block, which is right only while that vCPU reads it: do not share a
/// `PvClock` between vCPUs, share a [`Monotonic`].
#[derive(Clone, Copy, Debug)]
pub struct PvClock<'a, C> {
    block: VcpuTimeInfo<'a>,
    counter: C,
}

/// The domain's features say that an HVM guest cannot trust the time block: its TSC runs at another
/// rate or offset than the block assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafeForHvm;

impl core::fmt::Display for UnsafeForHvm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("this Xen does not report XENFEAT_hvm_safe_pvclock, so the time block does not match the TSC that an HVM guest reads; use another clock")
    }
}

impl core::error::Error for UnsafeForHvm {}

impl<'a, C: Counter> PvClock<'a, C> {
    /// The clock over a vCPU's time block, in a domain with these features.
    ///
    /// # Errors
    ///
    /// [`UnsafeForHvm`] where the features lack `hvm_safe_pvclock`.
    pub fn new(
        features: Features,
        block: VcpuTimeInfo<'a>,
        counter: C,
    ) -> Result<Self, UnsafeForHvm> {
        if features.has(Feature::HVM_SAFE_PVCLOCK) {
            Ok(Self { block, counter })
        } else {
            Err(UnsafeForHvm)
        }
    }

    /// The system time now, in nanoseconds; 0 until Xen has written the block for the first time
    /// (see [`is_running`](Self::is_running)).
    ///
    /// Spins while Xen is writing the block, which takes it a few instructions.
    #[inline]
    pub fn now(&self) -> SystemTime {
        let (time, ticks) = self.block.snapshot_with(|| self.counter.read());
        time_at(&time, ticks)
    }

    /// The system time now, clamped so that no vCPU reads less than another has read before. Where
    /// Xen calls the TSC stable, the clamp is not needed and not used.
    #[inline]
    pub fn monotonic(&self, latest: &Monotonic) -> SystemTime {
        let (time, ticks) = self.block.snapshot_with(|| self.counter.read());
        let now = time_at(&time, ticks);
        if time.flags().is_set(pvclock_flags::TSC_STABLE) { now } else { latest.clamp(now) }
    }

    /// Whether Xen has written the block yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.block.snapshot().tsc_to_system_mul != 0
    }

    /// The TSC's rate in ticks a second, as Xen sees it; `None` before the first update.
    #[must_use]
    pub fn frequency(&self) -> Option<u64> {
        let time = self.block.snapshot();
        frequency(time.tsc_to_system_mul, time.tsc_shift)
    }
}

/// The time that a snapshot stands for at a reading of the counter.
#[inline]
fn time_at(time: &VcpuTimeInfoSnapshot, ticks: u64) -> SystemTime {
    let since = ticks.wrapping_sub(time.tsc_timestamp);
    let elapsed = scale(since, time.tsc_to_system_mul, time.tsc_shift);
    SystemTime::from_nanos(time.system_time.wrapping_add(elapsed))
}
