//! Keeps the kernel's time line, which never runs backwards on any vCPU or across suspend and
//! restore.

use super::{Instant, SystemTime};
use crate::atomic::{AtomicI64, Ordering};

/// Converts Xen's system time to [`Instant`]s that never run backwards. Use one for the whole
/// domain.
///
/// - Unless the time block reports a stable TSC, the clocks of two vCPUs can differ slightly, so an
///   event could seem to precede its cause. A reading that is earlier than the latest one of any
///   vCPU becomes that one.
/// - After a restore, Xen's system time is that of another host. [`rebase`](Self::rebase) continues
///   the time line from its last value, so a deadline stored as an [`Instant`] stays valid.
///
/// Before the first rebase, instants and system times are the same numbers.
///
/// ```
/// use core::time::Duration;
/// use xen_hal::clock::{Monotonic, SystemTime};
///
/// static TIME_LINE: Monotonic = Monotonic::new();
///
/// let deadline = TIME_LINE.instant(SystemTime::from_nanos(5_000)) + Duration::from_micros(1);
/// // The domain is restored on a host that has been up for 100 ns.
/// TIME_LINE.rebase(SystemTime::from_nanos(100));
/// assert_eq!(TIME_LINE.system_time(deadline), SystemTime::from_nanos(1_100));
/// ```
#[derive(Debug, Default)]
pub struct Monotonic {
    latest: AtomicI64,
    /// The difference between an instant and its system time.
    offset: AtomicI64,
}

impl Monotonic {
    /// Creates a time line without a reading.
    #[must_use]
    pub const fn new() -> Self {
        Self { latest: AtomicI64::new(0), offset: AtomicI64::new(0) }
    }

    /// Converts a reading of the system time. Returns the latest instant seen so far if that is
    /// later.
    #[inline]
    #[must_use]
    pub fn instant(&self, now: SystemTime) -> Instant {
        let now = self.unclamped(now);
        // Relaxed is enough: nothing else is published with the time.
        let mut latest = self.latest.load(Ordering::Relaxed);
        while latest < now.as_nanos() {
            let (seen, new) = (latest, now.as_nanos());
            match self.latest.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return now,
                Err(newer) => latest = newer,
            }
        }
        Instant::from_nanos(latest)
    }

    /// Converts a reading of a clock that all vCPUs share, whose readings never run backwards.
    #[inline]
    pub(super) fn unclamped(&self, now: SystemTime) -> Instant {
        Instant::from_nanos(now.as_nanos().wrapping_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Converts a deadline to Xen's system time on the current host, for timers and polls.
    /// [`Instant::NEVER`] becomes [`SystemTime::NEVER`].
    #[inline]
    #[must_use]
    pub fn system_time(&self, at: Instant) -> SystemTime {
        if at == Instant::NEVER {
            return SystemTime::NEVER;
        }
        let offset = self.offset.load(Ordering::Relaxed);
        SystemTime::from_nanos(at.as_nanos().saturating_sub(offset))
    }

    /// Records the time of an unclamped reading for [`rebase`](Self::rebase). Call it before a
    /// suspend.
    pub fn note(&self, now: SystemTime) {
        self.latest.fetch_max(self.unclamped(now).as_nanos(), Ordering::Relaxed);
    }

    /// Continues the time line from its latest instant after a restore. `now` is the system time on
    /// the new host.
    ///
    /// Call it before another vCPU reads the clock: an instant read during this call would be
    /// wrong.
    pub fn rebase(&self, now: SystemTime) {
        let latest = self.latest.load(Ordering::Relaxed);
        self.offset.store(latest.wrapping_sub(now.as_nanos()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::time::Duration;

    const fn at(nanos: i64) -> SystemTime {
        SystemTime::from_nanos(nanos)
    }

    #[test]
    fn readings_never_fall_behind() {
        let line = Monotonic::new();
        let times = [5, 3, 9, 8, 9, 1, 10].map(|nanos| line.instant(at(nanos)).as_nanos());
        assert_eq!(times, [5, 5, 9, 9, 9, 9, 10]);
    }

    #[test]
    fn a_negative_reading_does_not_hold_the_clock() {
        let line = Monotonic::new();
        assert_eq!(line.instant(at(-1)).as_nanos(), 0);
        assert_eq!(line.instant(at(7)).as_nanos(), 7);
    }

    #[test]
    fn it_continues_on_a_host_with_less_uptime_and_with_more() {
        for (last, new) in [(5_000_000, 100), (100, 5_000_000), (7, 7)] {
            let line = Monotonic::new();
            line.note(at(last));
            let deadline = line.instant(at(last)) + Duration::from_nanos(60);
            line.rebase(at(new));
            assert_eq!(line.instant(at(new)).as_nanos(), last);
            assert_eq!(line.instant(at(new + 59)).as_nanos(), last + 59);
            assert_eq!(line.system_time(deadline), at(new + 60));
            // A second restore continues from there.
            line.rebase(at(3));
            assert_eq!(line.instant(at(4)).as_nanos(), last + 60);
        }
    }

    #[test]
    fn never_is_never_on_every_host() {
        let line = Monotonic::new();
        line.note(at(1_000));
        line.rebase(at(5));
        assert_eq!(line.system_time(Instant::NEVER), SystemTime::NEVER);
        let late = Instant::from_nanos(i64::MAX - 1);
        assert_eq!(line.system_time(late), at(i64::MAX - 1 - 995));
        let line = Monotonic::new();
        line.rebase(at(1_000));
        assert_eq!(line.system_time(late), SystemTime::NEVER);
    }

    #[test]
    fn threads_agree() {
        let line = Monotonic::new();
        std::thread::scope(|scope| {
            for step in 1..=4 {
                let line = &line;
                scope.spawn(move || {
                    let mut last = Instant::default();
                    for nanos in 0..20_000_i64 {
                        let now = line.instant(at(nanos * step));
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
        });
        assert_eq!(line.instant(SystemTime::default()).as_nanos(), 19_999 * 4);
    }
}
