//! Giving up the processor, waiting, and ending the domain (hypercall `sched_op`; upstream:
//! `xen/include/public/sched.h`).
//!
//! ```no_run
//! use xen_hal::clock::SystemTime;
//! use xen_hal::event::{Channel, TwoLevel};
//! use xen_hal::hypercall::{Errno, Hypercall};
//! use xen_hal::platform::Interrupts;
//! use xen_hal::sched::Sched;
//! use xen_pac::sched::ShutdownReason;
//!
//! /// Waits for a peer, by a channel that stays masked and so has no handler. Gives up and ends the domain at `deadline`.
//! fn wait_for<X: Hypercall + Copy>(
//!     xen: X,
//!     interrupts: &impl Interrupts,
//!     bitmaps: TwoLevel<'_>,
//!     peer: &Channel<X>,
//!     deadline: SystemTime,
//!     now: impl Fn() -> SystemTime,
//! ) -> Result<(), Errno> {
//!     let sched = Sched::new(xen);
//!     let came = sched.wait_until_deadline(interrupts, &[peer.port()], deadline, now, || bitmaps.clear(peer.port()))?;
//!     if !came {
//!         sched.exit(ShutdownReason::CRASH);
//!     }
//!     Ok(())
//! }
//! ```

#[cfg(feature = "embedded-hal")]
mod delay;
mod wait;
mod watchdog;

#[cfg(test)]
mod tests;

use core::convert::Infallible;

use xen_pac::access::Handle;
use xen_pac::base::Domid;
use xen_pac::sched::{
    SchedPinOverride, SchedPoll, SchedRemoteShutdown, SchedShutdown, ShutdownReason, command,
};

use crate::clock::SystemTime;
use crate::event::Port;
use crate::hypercall::{Commands, Errno, Hypercall};
#[cfg(feature = "embedded-hal")]
pub use delay::Delay;
pub use watchdog::Watchdog;

/// Dealings with the scheduler, of the vCPU that calls.
#[derive(Clone, Copy, Debug)]
pub struct Sched<H> {
    xen: H,
}

/// How a domain continues after a suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resumed {
    /// It was restored, here or on another host. Channels, grants, mappings and everything else that
    /// was registered with Xen are gone.
    Restored,
    /// The suspend was cancelled. Everything is as it was.
    Cancelled,
}

impl<H: Hypercall + Copy> Sched<H> {
    /// The scheduler, through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// Lets other vCPUs run first; goes on as soon as the scheduler likes.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn yield_now(&self) -> Result<(), Errno> {
        self.xen.call(command::YieldCpu, ())
    }

    /// Sleeps until an interrupt is due for this vCPU.
    ///
    /// **Not with interrupts off on x86.** Xen looks for an interrupt that the vCPU can take *now*:
    /// with its interrupt flag clear there is none, and an upcall that came just before the call
    /// would not end the sleep. With the flag set, the upcall's handler runs before the call and
    /// whatever was checked earlier may have changed since. So neither way can a condition be
    /// waited for: use the processor's own `sti; hlt`, or [`wait_until`](Self::wait_until). On
    /// aarch64 the call unmasks interrupts (the I bit of `DAIF`) as it goes to sleep, so there it
    /// can be made with interrupts off, after a check of the condition.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn block(&self) -> Result<(), Errno> {
        self.xen.call(command::Block, ())
    }

    /// Sleeps until one of `ports` is pending, masked or not, or until a moment of Xen's time has
    /// come. Without a moment, only an event ends the sleep; without ports, only the time.
    ///
    /// Call it with interrupts off: it returns at once while any interrupt can be delivered,
    /// whatever it is for. It says not why it returned: look at the ports and at the clock. The
    /// ports stay pending, so that the next poll returns at once, until
    /// [`TwoLevel::clear`](crate::event::TwoLevel::clear) or the dispatcher takes the event.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than 128 ports, and for one that is free, is 0, or is beyond those of the
    /// domain.
    pub fn poll(&self, ports: &[Port], until: Option<SystemTime>) -> Result<(), Errno> {
        let count = u32::try_from(ports.len()).map_err(|_| Errno::EINVAL)?;
        // Xen reads 0 as "never". For the caller it is a moment in the past, as 1 is.
        let timeout = match until {
            None | Some(SystemTime::NEVER) => 0,
            Some(moment) if moment.as_nanos() == 0 => 1,
            Some(moment) => moment.as_nanos() as u64,
        };
        let mut argument =
            SchedPoll::new(Handle::from_const(ports.as_ptr().cast()), count, timeout);
        // SAFETY: Xen reads `count` port numbers, which are there and which `Port` consists of, and
        // writes nothing.
        unsafe { self.xen.call_unchecked(command::Poll, &mut argument) }
    }

    /// Ends the domain. Xen passes any reason to the toolstack, which decides what happens next.
    ///
    /// # Errors
    ///
    /// Xen's refusal; none is known. `EINVAL`, without asking Xen, for [`ShutdownReason::SUSPEND`]:
    /// use [`suspend`](Self::suspend). If it succeeds, it does not return.
    pub fn shutdown(&self, reason: ShutdownReason) -> Result<Infallible, Errno> {
        if reason == ShutdownReason::SUSPEND {
            return Err(Errno::EINVAL);
        }
        // SAFETY: a domain that is not suspended does not continue.
        unsafe { self.xen.call_unchecked(command::Shutdown, &mut SchedShutdown::new(reason)) }?;
        Err(Errno::EAGAIN)
    }

    /// Suspends the domain. Returns once it was restored or the suspend was cancelled.
    ///
    /// A [`Channel`](crate::event::Channel) and a [`WidthLatch`](crate::memory::WidthLatch) from
    /// before a restore are recognised and do nothing.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    ///
    /// # Safety
    ///
    /// After [`Resumed::Restored`], until everything is registered again:
    ///
    /// - no handle of the shared page may be used;
    /// - no grant table, and nothing made from it, may be used or dropped;
    /// - no mapping of a foreign grant or page may be used or dropped.
    ///
    /// This applies to the other vCPUs and to interrupt handlers too: other vCPUs must be down,
    /// and interrupts off.
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

    /// Ends the domain, and tries again if Xen refuses. [`ShutdownReason::SUSPEND`] becomes
    /// [`ShutdownReason::CRASH`].
    pub fn exit(&self, reason: ShutdownReason) -> ! {
        let reason = if reason == ShutdownReason::SUSPEND { ShutdownReason::CRASH } else { reason };
        loop {
            // Whatever the answer, there is nothing to return to.
            let _ = self.shutdown(reason);
            let _ = self.yield_now();
        }
    }

    /// Sets the reason that is reported when the domain ends later, whatever reason is given then:
    /// a crash handler that may itself crash does so first.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn shutdown_code(&self, reason: ShutdownReason) -> Result<(), Errno> {
        self.xen.call(command::ShutdownCode, &mut SchedShutdown::new(reason))
    }

    /// Ends another domain; for privileged domains.
    ///
    /// # Errors
    ///
    /// `ESRCH` where there is no such domain and for [`Domid::SELF`], `EPERM` without the
    /// privilege. By its number the caller ends itself.
    pub fn remote_shutdown(&self, domain: Domid, reason: ShutdownReason) -> Result<(), Errno> {
        self.xen.call(command::RemoteShutdown, &mut SchedRemoteShutdown::new(domain, reason))
    }

    /// Makes the calling vCPU run on one physical CPU, for firmware calls that insist on one;
    /// `None` lets it go again. For the hardware domain.
    ///
    /// # Errors
    ///
    /// `EPERM` in other domains, `EINVAL` for a CPU that is not there, `EBUSY` while another
    /// override is in force, `ENOSYS` before Xen 4.7.
    pub fn pin_override(&self, physical: Option<u32>) -> Result<(), Errno> {
        let pcpu = physical.map_or(Ok(-1), i32::try_from).map_err(|_| Errno::EINVAL)?;
        self.xen.call(command::PinOverride, &mut SchedPinOverride::new(pcpu))
    }
}
