//! Waits for a driver's peer.

use core::ops::ControlFlow;

use crate::clock::SystemTime;
use crate::event::{Port, TwoLevel};
use crate::hypercall::Hypercall;
use crate::sched::Sched;

/// Decides how, and how long, a driver waits for its peer.
///
/// A driver without work calls [`wait`](Self::wait), and checks again when it returns. If `wait`
/// breaks, the driver ends its loop and reports that the peer timed out, so a peer cannot block the
/// guest.
///
/// The provided implementations need no interrupts. A kernel with threads supplies a closure that
/// sleeps until the handler of `port` has run, or until its own timeout.
pub trait Wait {
    /// Returns when the peer may have acted, which it signals by an event on `port`; it may return
    /// early. `attempt` is the number of earlier waits of the same operation; a new operation
    /// starts at 0.
    ///
    /// Returns `Break` when the driver must give up.
    fn wait(&mut self, port: Port, attempt: u32) -> ControlFlow<()>;
}

impl<F: FnMut(Port, u32) -> ControlFlow<()>> Wait for F {
    fn wait(&mut self, port: Port, attempt: u32) -> ControlFlow<()> {
        self(port, attempt)
    }
}

/// Yields after each check, up to a limit.
///
/// It needs only hypercalls, and suits early boot and panic handlers.
#[derive(Clone, Copy, Debug)]
pub struct YieldWait<H> {
    sched: Sched<H>,
    attempts: u32,
}

impl<H: Hypercall + Copy> YieldWait<H> {
    /// The default limit. It suffices for a backend that pauses for a fifth of a second, as
    /// xenconsoled does for guests that print a lot.
    pub const ATTEMPTS: u32 = 1 << 20;

    /// Waits for at most [`ATTEMPTS`](Self::ATTEMPTS) yields.
    pub const fn new(xen: H) -> Self {
        Self { sched: Sched::new(xen), attempts: Self::ATTEMPTS }
    }

    /// Waits for at most `attempts` yields. A yield takes about a microsecond, or longer if another
    /// vCPU runs.
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
        // A yield does not fail. If it did, the number of attempts would still bound the loop.
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
        // Clear the event before the driver checks: an event after the check then ends the next
        // poll at once.
        self.bitmaps.clear(port);
        if polled.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
