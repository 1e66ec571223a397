//! Timers that end the domain.

use core::num::NonZero;

use xen_pac::sched::{SchedWatchdog, command};

use super::Sched;
use crate::hypercall::{Commands, Errno, Hypercall, check};

/// A watchdog that runs: unless it is [kicked](Self::kick) in time, Xen ends the domain with
/// [`ShutdownReason::WATCHDOG`](xen_pac::sched::ShutdownReason::WATCHDOG).
///
/// Dropping it does not stop it.
#[derive(Clone, Copy, Debug)]
#[must_use = "unless it is kicked or stopped, the watchdog ends the domain"]
pub struct Watchdog<H> {
    xen: H,
    id: NonZero<u32>,
}

impl<H: Hypercall + Copy> Sched<H> {
    /// Starts one of the domain's two watchdogs, to end it after so many seconds.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where both are in use.
    pub fn start_watchdog(&self, seconds: NonZero<u32>) -> Result<Watchdog<H>, Errno> {
        // Id 0 stands for a free one, and the answer is which.
        let id = self.xen.call(command::Watchdog, &mut SchedWatchdog::new(0, seconds.get()))?;
        // Xen makes an unsigned 32-bit number of its error, which then does not look like one
        // (`domain_watchdog`, seen on 4.17).
        let id = check(id as u32 as i32 as isize)?;
        let id = u32::try_from(id).ok().and_then(NonZero::new).ok_or(Errno::EINVAL)?;
        Ok(self.watchdog(id))
    }

    /// The watchdog with a known id, 1 or 2, that was started elsewhere.
    pub const fn watchdog(&self, id: NonZero<u32>) -> Watchdog<H> {
        Watchdog { xen: self.xen, id }
    }
}

impl<H: Hypercall> Watchdog<H> {
    /// Its number within the domain, 1 or 2.
    #[must_use]
    pub const fn id(&self) -> NonZero<u32> {
        self.id
    }

    /// Sets it anew: the domain ends so many seconds from now.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it does not run.
    pub fn kick(&self, seconds: NonZero<u32>) -> Result<(), Errno> {
        self.set(seconds.get())
    }

    /// Stops it, and frees it for another use.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it does not run.
    pub fn stop(self) -> Result<(), Errno> {
        self.set(0)
    }

    fn set(&self, seconds: u32) -> Result<(), Errno> {
        self.xen
            .call(command::Watchdog, &mut SchedWatchdog::new(self.id.get(), seconds))
            .map(|_| ())
    }
}
