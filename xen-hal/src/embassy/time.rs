//! Implements the time driver on a time source that the kernel sets.

use core::cell::RefCell;
use core::fmt;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};
use embassy_time_queue_utils::Queue;

use crate::clock::Instant;
use crate::hypercall::Errno;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Provides the time driver with a clock, a timer for each vCPU, and the domain's alarms.
///
/// [`PvTimer`](super::PvTimer) implements it for x86, `VirtualTimer` for aarch64.
pub trait TimeSource {
    /// Reads the time. It must not run backwards, also if different vCPUs read it.
    fn now(&self) -> Instant;

    /// Sets the timer of the calling vCPU, in place of an earlier setting. If `at` has passed, the
    /// timer must fire at once. When it fires, [`Alarms::check`] must be called on that vCPU.
    ///
    /// It is called with interrupts off.
    ///
    /// # Errors
    ///
    /// Xen's error. The driver then wakes all tasks with alarms, which set them again.
    fn set_timer(&self, at: Instant) -> Result<(), Errno>;

    /// Returns the domain's alarms. Every call must return the same reference.
    fn alarms(&self) -> &Alarms;
}

/// The function that returns the source: null, or a `fn() -> Option<&'static dyn TimeSource>`.
static FIND: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

type Find = fn() -> Option<&'static dyn TimeSource>;

/// Sets the source of the time driver. Until it is set, and while `find` returns `None`, the time
/// is 0 and a task that waits for a time is polled without a pause.
///
/// A kernel passes `|| Some(&SOURCE)`. A test on the simulator passes a function that returns the
/// source of the calling domain.
pub fn set_time_source(find: Find) {
    FIND.store(find as *mut (), Ordering::Release);
}

fn source() -> Option<&'static dyn TimeSource> {
    let find = FIND.load(Ordering::Acquire);
    if find.is_null() {
        return None;
    }
    // SAFETY: `FIND` holds null or such a function.
    let find = unsafe { mem::transmute::<*mut (), Find>(find) };
    find()
}

/// The tasks that wait for a time. Their number has no limit, because each task holds the memory of
/// its own entry.
///
/// All vCPUs share the alarms. The vCPU that sets the earliest alarm gets the timer's interrupt and
/// wakes the task, which can belong to another vCPU. The vCPU must stay up until then.
#[derive(Debug)]
pub struct Alarms(Mutex<RefCell<Queue>>);

impl Alarms {
    /// Creates an empty set of alarms.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Queue::new())))
    }

    /// Wakes the tasks whose time has passed, and sets the timer of the calling vCPU for the next.
    /// `source` must be the source that has these alarms.
    pub fn check(&self, source: &dyn TimeSource) {
        self.with(|queue| set_timer(queue, source));
    }

    fn schedule(&self, source: &dyn TimeSource, at: u64, waker: &Waker) {
        self.with(|queue| {
            if queue.schedule_wake(at, waker) {
                set_timer(queue, source);
            }
        });
    }

    fn with(&self, work: impl FnOnce(&mut Queue)) {
        critical_section::with(|section| work(&mut self.0.borrow_ref_mut(section)));
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self::new()
    }
}

/// Wakes the tasks whose time has passed, and sets the timer for the next.
fn set_timer(queue: &mut Queue, source: &dyn TimeSource) {
    let next = queue.next_expiration(ticks(source.now()));
    if next != u64::MAX && source.set_timer(instant(next)).is_err() {
        // The timer is not set, so wakes all tasks: each checks the time and sets its alarm again.
        queue.next_expiration(u64::MAX);
    }
}

/// Converts an instant to Embassy's time, rounded down; 0 for an instant before the base.
fn ticks(now: Instant) -> u64 {
    let nanos = now.as_nanos().max(0) as u128;
    (nanos * u128::from(TICK_HZ) / NANOS_PER_SECOND) as u64
}

/// Returns the first instant at which Embassy's time is `ticks`: a timer must not fire before it.
fn instant(ticks: u64) -> Instant {
    let nanos = (u128::from(ticks) * NANOS_PER_SECOND).div_ceil(TICK_HZ.into());
    i64::try_from(nanos).map_or(Instant::NEVER, Instant::from_nanos)
}

struct XenDriver;

impl Driver for XenDriver {
    fn now(&self) -> u64 {
        source().map_or(0, |source| ticks(source.now()))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        match source() {
            Some(source) => source.alarms().schedule(source, at, waker),
            None => waker.wake_by_ref(),
        }
    }
}

time_driver_impl!(static DRIVER: XenDriver = XenDriver);

impl fmt::Debug for dyn TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeSource").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_never_before_its_tick() {
        for at in [0, 1, 999, 1_000, 1_000_001, u64::MAX >> 21] {
            assert_eq!(ticks(instant(at)), at);
            let before = Instant::from_nanos(instant(at).as_nanos() - 1);
            assert!(ticks(before) < at || at == 0, "{at}");
        }
        assert_eq!(instant(u64::MAX), Instant::NEVER);
        assert_eq!(ticks(Instant::from_nanos(-5)), 0);
    }
}
