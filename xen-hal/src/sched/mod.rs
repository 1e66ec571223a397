//! Scheduler operations for the calling vCPU, and the domain's end (hypercall `sched_op`; upstream:
//! `xen/include/public/sched.h`).
//!
//! | to wait for | use |
//! |---|---|
//! | a condition that an interrupt handler changes | [`Interrupts::wait_until`](crate::platform::Interrupts::wait_until) |
//! | the same, until a deadline | [`Sched::wait_until_deadline`] |
//! | an event of a masked port, without a handler | [`Sched::wait_until`] |
//!
//! ```
//! use core::time::Duration;
//! use xen_hal::clock::Clock;
//! use xen_hal::event::{Channel, TwoLevel};
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::platform::Interrupts;
//! use xen_hal::sched::Sched;
//!
//! /// Waits at most a second for a peer's event on a masked port. Returns whether it arrived.
//! fn wait_for<X: Hypercall + Copy>(
//!     xen: X,
//!     interrupts: &impl Interrupts,
//!     bitmaps: TwoLevel<'_>,
//!     peer: &Channel<X>,
//!     clock: &impl Clock,
//! ) -> Result<bool, Errno> {
//!     let deadline = clock.now() + Duration::from_secs(1);
//!     let (now, came) = (|| clock.now(), || bitmaps.clear(peer.port()));
//!     Sched::new(xen).wait_until_deadline(interrupts, &[peer.port()], deadline, now, came)
//! }
//! # fn kernel(guest: xen_sim::Guest) -> Result<(), Box<dyn std::error::Error>> {
//! #     use xen_hal::{Xen, clock::PvClock, memory::WidthLatch};
//! #     let latch = WidthLatch::new(guest.xen())?;
//! #     // SAFETY: nothing else uses the page, and the guest outlives its use.
//! #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
//! #     let xen = Xen::new(guest.xen());
//! #     let info = shared.vcpu_info(0).ok_or("a block")?;
//! #     let clock = PvClock::new(xen.version().features()?, info.time(), guest.counter())?;
//! #     let bitmaps = TwoLevel::new(shared);
//! #     bitmaps.mask_all();
//! #     let bell = xen.events().bind_ipi(xen_hal::platform::VcpuId(0))?;
//! #     assert!(!wait_for(guest.xen(), &guest.interrupts(), bitmaps, &bell, &clock)?);
//! #     bell.send()?;
//! #     assert!(wait_for(guest.xen(), &guest.interrupts(), bitmaps, &bell, &clock)?);
//! #     Ok(())
//! # }
//! # xen_sim::storm(xen_sim::Profile::DOM0, 20, kernel);
//! ```

#[cfg(feature = "embedded-hal")]
mod delay;
mod wait;

use core::convert::Infallible;
use core::num::NonZero;

use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::sched::{
    SchedPinOverride, SchedRemoteShutdown, SchedShutdown, SchedWatchdog, ShutdownReason, command,
};

use crate::hypercall::{Commands, Errno, Hypercall, check};
use crate::version::{CommandError, Version};
#[cfg(feature = "embedded-hal")]
pub use delay::Delay;

/// Scheduler operations for the calling vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Sched<H> {
    xen: H,
}

/// How a domain continues after a suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resumed {
    /// The domain was restored, on this host or another. Channels, grants, mappings and all
    /// registrations with Xen are lost.
    Restored,
    /// The suspend was cancelled. All registrations are unchanged.
    Cancelled,
}

impl<H: Hypercall + Copy> Sched<H> {
    /// Creates a handle that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Yields to other vCPUs. Returns when the scheduler selects this vCPU again.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn yield_now(&self) -> Result<(), Errno> {
        self.xen.call(command::YieldCpu, ())
    }

    /// Sleeps until an interrupt is due for this vCPU.
    ///
    /// **On x86, do not use this to wait for a condition.** Xen ends the sleep only for an
    /// interrupt that the vCPU can take. With interrupts off, an upcall before the call does not
    /// end the sleep. With interrupts on, the upcall's handler can run between the check and the
    /// call. Directly after `sti`, no interrupt can be delivered yet, so Xen finds none and blocks
    /// for ever. Use [`Interrupts::wait_until`](crate::platform::Interrupts::wait_until).
    ///
    /// On aarch64, Xen unmasks interrupts for the sleep. Call it with interrupts off, after
    /// checking the condition.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn block(&self) -> Result<(), Errno> {
        self.xen.call(command::Block, ())
    }

    /// Ends the domain. Xen passes the reason to the toolstack, which decides what to do.
    ///
    /// # Errors
    ///
    /// No known Xen refuses. `EINVAL`, without a hypercall, for [`ShutdownReason::SUSPEND`]: use
    /// [`suspend`](Self::suspend). On success, this does not return.
    pub fn shutdown(&self, reason: ShutdownReason) -> Result<Infallible, Errno> {
        if reason == ShutdownReason::SUSPEND {
            return Err(Errno::EINVAL);
        }
        // SAFETY: a domain that is not suspended does not continue.
        unsafe { self.xen.call_unchecked(command::Shutdown, &mut SchedShutdown::new(reason)) }?;
        Err(Errno::EAGAIN)
    }

    /// Suspends the domain. Returns after the domain was restored or the suspend was cancelled.
    ///
    /// After a restore, an earlier [`Channel`](crate::event::Channel) does nothing, and an earlier
    /// [`WidthLatch`](crate::memory::WidthLatch) is refused.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    ///
    /// # Safety
    ///
    /// After [`Resumed::Restored`], until everything is registered again:
    ///
    /// - no handle of the shared page may be used;
    /// - no grant table, and nothing made from it, may be used or dropped;
    /// - no mapping of a foreign grant or page may be used or dropped.
    ///
    /// This also applies to the other vCPUs, which must be down, and to interrupt handlers:
    /// interrupts must be off.
    pub unsafe fn suspend(&self) -> Result<Resumed, Errno> {
        let mut argument = SchedShutdown::new(ShutdownReason::SUSPEND);
        // SAFETY: the caller's obligations are the same.
        let cancelled = unsafe { self.xen.call_unchecked(command::Shutdown, &mut argument) }?;
        if cancelled {
            return Ok(Resumed::Cancelled);
        }
        self.xen.count_restore();
        Ok(Resumed::Restored)
    }

    /// Ends the domain, and retries if Xen refuses. Replaces [`ShutdownReason::SUSPEND`] by
    /// [`ShutdownReason::CRASH`].
    pub fn exit(&self, reason: ShutdownReason) -> ! {
        let reason = if reason == ShutdownReason::SUSPEND { ShutdownReason::CRASH } else { reason };
        loop {
            // This cannot return, so it ignores the result and retries.
            let _ = self.shutdown(reason);
            let _ = self.yield_now();
        }
    }

    /// Sets the reason that Xen reports when the domain ends, in place of the reason given then. A
    /// crash handler that can itself crash must call this first.
    ///
    /// # Errors
    ///
    /// No known Xen returns an error.
    pub fn shutdown_code(&self, reason: ShutdownReason) -> Result<(), Errno> {
        self.xen.call(command::ShutdownCode, &mut SchedShutdown::new(reason))
    }

    /// Ends another domain. For privileged domains.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the domain does not exist, and for [`Domid::SELF`]; `EPERM` without the
    /// privilege. Xen accepts the caller's own number, and ends the caller.
    pub fn remote_shutdown(&self, domain: Domid, reason: ShutdownReason) -> Result<(), Errno> {
        self.xen.call(command::RemoteShutdown, &mut SchedRemoteShutdown::new(domain, reason))
    }

    /// Pins the calling vCPU to one physical CPU, as some firmware calls need; `None` unpins it.
    /// For the hardware domain.
    ///
    /// # Errors
    ///
    /// `EPERM` in other domains, `EINVAL` for a CPU that does not exist, `EBUSY` while another
    /// override is in force, [`CommandError::Release`] before Xen 4.7.
    pub fn pin_override(&self, physical: Option<u32>) -> Result<(), CommandError> {
        let name = <command::PinOverride as Command>::NAME;
        let pcpu = physical
            .map_or(Ok(-1), i32::try_from)
            .map_err(|_| CommandError::Refused { name, errno: Errno::EINVAL })?;
        self.xen
            .call(command::PinOverride, &mut SchedPinOverride::new(pcpu))
            .map_err(|errno| Version::new(&self.xen).explain(command::PinOverride, errno))
    }

    /// Starts one of the domain's two watchdogs. Unless it is kicked, Xen ends the domain after
    /// `seconds`.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if both are in use.
    pub fn start_watchdog(&self, seconds: NonZero<u32>) -> Result<Watchdog<H>, Errno> {
        // Id 0 selects a free watchdog; Xen returns its id.
        let id = self.xen.call(command::Watchdog, &mut SchedWatchdog::new(0, seconds.get()))?;
        // Xen stores its error in an unsigned 32-bit number, so the result is not negative
        // (`domain_watchdog`, seen on 4.17).
        let id = check(id as u32 as i32 as isize)?;
        let id = u32::try_from(id).ok().and_then(NonZero::new).ok_or(Errno::EINVAL)?;
        Ok(self.watchdog(id))
    }

    /// Returns the watchdog with a known id, 1 or 2, that was started elsewhere.
    pub const fn watchdog(&self, id: NonZero<u32>) -> Watchdog<H> {
        Watchdog { xen: self.xen, id }
    }
}

/// A running watchdog, which [the command](command::Watchdog) controls. Unless it is
/// [kicked](Self::kick) in time, Xen ends the domain with [`ShutdownReason::WATCHDOG`].
///
/// Dropping it does not stop it.
#[derive(Clone, Copy, Debug)]
#[must_use = "unless it is kicked or stopped, the watchdog ends the domain"]
pub struct Watchdog<H> {
    xen: H,
    id: NonZero<u32>,
}

impl<H: Hypercall> Watchdog<H> {
    /// Returns the watchdog's number within the domain, 1 or 2.
    #[must_use]
    pub const fn id(&self) -> NonZero<u32> {
        self.id
    }

    /// Restarts the watchdog: Xen ends the domain after `seconds` from now.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not run.
    pub fn kick(&self, seconds: NonZero<u32>) -> Result<(), Errno> {
        self.set(seconds.get())
    }

    /// Stops the watchdog and frees it for another use.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not run.
    pub fn stop(&self) -> Result<(), Errno> {
        self.set(0)
    }

    fn set(&self, seconds: u32) -> Result<(), Errno> {
        self.xen
            .call(command::Watchdog, &mut SchedWatchdog::new(self.id.get(), seconds))
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests;
