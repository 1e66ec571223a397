//! Implements the time source of aarch64 with the virtual counter and each vCPU's virtual timer.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Alarms, TimeSource};
use crate::clock::{Clock, CounterClock, Instant, TimeOffset};
use crate::hypercall::Errno;
use crate::platform::{LocalTimer, VirtualCounter};

/// The time source of aarch64: the virtual counter, and each vCPU's virtual timer. Its time is 0
/// when the domain starts.
///
/// ```ignore
/// static TIMER: VirtualTimer = VirtualTimer::new();
///
/// fn timer_interrupt() {
///     TIMER.on_interrupt();
/// }
/// ```
pub struct VirtualTimer {
    /// The counter's rate, read once; 0 until then.
    frequency: AtomicU64,
    alarms: Alarms,
}

/// The calling vCPU's timer.
fn timer() -> LocalTimer {
    // SAFETY: the kernel calls `on_interrupt` for the timer's interrupt, at EL1.
    unsafe { LocalTimer::new() }
}

impl VirtualTimer {
    /// Creates the source.
    #[must_use]
    pub const fn new() -> Self {
        Self { frequency: AtomicU64::new(0), alarms: Alarms::new() }
    }

    /// Handles the interrupt of the calling vCPU's timer. The interrupt is level-triggered: if no
    /// task has a further alarm, this masks it.
    pub fn on_interrupt(&self) {
        timer().mask();
        self.alarms.check(self);
    }

    fn clock(&self) -> Option<CounterClock<VirtualCounter>> {
        let mut frequency = self.frequency.load(Ordering::Relaxed);
        if frequency == 0 {
            frequency = VirtualCounter.frequency();
            self.frequency.store(frequency, Ordering::Relaxed);
        }
        CounterClock::new(VirtualCounter, frequency, TimeOffset::ZERO)
    }
}

impl TimeSource for VirtualTimer {
    fn now(&self) -> Instant {
        // Without a rate there is no time.
        let nanos = self.clock().map_or(0, |clock| clock.now().as_nanos());
        Instant::from_nanos(nanos)
    }

    fn set_timer(&self, at: Instant) -> Result<(), Errno> {
        let at = crate::clock::SystemTime::from_nanos(at.as_nanos());
        let ticks = self.clock().ok_or(Errno::EINVAL)?.ticks_at(at);
        timer().set(ticks);
        Ok(())
    }

    fn alarms(&self) -> &Alarms {
        &self.alarms
    }
}

impl Default for VirtualTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualTimer").finish_non_exhaustive()
    }
}
