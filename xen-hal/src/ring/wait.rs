//! How a driver waits for its peer.

use core::ops::ControlFlow;

use crate::clock::SystemTime;
use crate::event::{Port, TwoLevel};
use crate::hypercall::Hypercall;
use crate::sched::Sched;

/// How a driver waits for its peer, and for how long.
///
/// A driver that finds nothing to do calls [`wait`](Self::wait) and checks again when it returns.
/// Every such loop ends when `wait` breaks it, so that a peer cannot hold the guest: the driver
/// then reports that the peer timed out.
///
/// The provided ways need no interrupts. A kernel with threads supplies a closure that sleeps until
/// the handler of `port` has run, or until its own timeout.
pub trait Wait {
    /// Returns when the peer may have acted, which it signals by an event on `port`; it may return
    /// early. `attempt` is the number of earlier waits of the same operation; a new operation
    /// starts at 0.
    ///
    /// Breaks when the driver must give up.
    fn wait(&mut self, port: Port, attempt: u32) -> ControlFlow<()>;
}

impl<F: FnMut(Port, u32) -> ControlFlow<()>> Wait for F {
    fn wait(&mut self, port: Port, attempt: u32) -> ControlFlow<()> {
        self(port, attempt)
    }
}

/// Yields after each check, up to a limit.
///
/// It needs nothing but hypercalls, and suits early boot and panic handlers.
#[derive(Clone, Copy, Debug)]
pub struct YieldWait<H> {
    sched: Sched<H>,
    attempts: u32,
}

impl<H: Hypercall + Copy> YieldWait<H> {
    /// Enough for a backend that is throttled for a fifth of a second, as xenconsoled does to
    /// guests that print much.
    pub const ATTEMPTS: u32 = 1 << 20;

    /// Waits for at most [`ATTEMPTS`](Self::ATTEMPTS) yields.
    pub const fn new(xen: H) -> Self {
        Self { sched: Sched::new(xen), attempts: Self::ATTEMPTS }
    }

    /// Waits for at most this many yields. One takes about a microsecond or, if another vCPU runs,
    /// longer.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }
}

impl<H: Hypercall + Copy> Wait for YieldWait<H> {
    fn wait(&mut self, _: Port, attempt: u32) -> ControlFlow<()> {
        if attempt >= self.attempts {
            return ControlFlow::Break(());
        }
        // It does not fail; and if it did, the attempts would still end.
        let _ = self.sched.yield_now();
        ControlFlow::Continue(())
    }
}

/// Sleeps in [`Sched::poll`] until the port has an event. The timeout starts at the first wait of
/// an operation. The port must be masked, so that no handler takes the event, and interrupts must
/// be off.
#[derive(Debug)]
pub struct PollWait<'a, H, C> {
    sched: Sched<H>,
    bitmaps: TwoLevel<'a>,
    now: C,
    timeout: core::time::Duration,
    deadline: SystemTime,
}

impl<'a, H: Hypercall + Copy, C: FnMut() -> SystemTime> PollWait<'a, H, C> {
    /// Waits for at most `timeout` by the clock `now`.
    pub const fn new(xen: H, bitmaps: TwoLevel<'a>, now: C, timeout: core::time::Duration) -> Self {
        Self { sched: Sched::new(xen), bitmaps, now, timeout, deadline: SystemTime::from_nanos(0) }
    }
}

impl<H: Hypercall + Copy, C: FnMut() -> SystemTime> Wait for PollWait<'_, H, C> {
    fn wait(&mut self, port: Port, attempt: u32) -> ControlFlow<()> {
        let now = (self.now)();
        if attempt == 0 {
            self.deadline = now + self.timeout;
        } else if now >= self.deadline {
            return ControlFlow::Break(());
        }
        let polled = self.sched.poll(&[port], Some(self.deadline));
        // The event is taken before the driver checks: one that comes after the check ends the next
        // poll at once.
        self.bitmaps.clear(port);
        if polled.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
