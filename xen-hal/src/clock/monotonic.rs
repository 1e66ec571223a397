//! A clock that does not run backwards, whichever vCPU reads it.

use core::sync::atomic::{AtomicU64, Ordering};

use super::SystemTime;

/// The latest time that any vCPU has been told.
///
/// Unless the time block's flags say that the TSC is stable, two vCPUs may read times that are a
/// little apart, so that an event seems to come before its cause. One such value, shared by all
/// vCPUs, keeps every reading from falling behind an earlier one.
#[derive(Debug, Default)]
pub struct Monotonic(AtomicU64);

impl Monotonic {
    /// A clamp that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// `now`, or the latest time seen so far, whichever is later.
    #[inline]
    #[must_use]
    pub fn clamp(&self, now: SystemTime) -> SystemTime {
        // One total order of the updates is all that is needed: nothing else is published with the
        // time.
        let mut latest = self.0.load(Ordering::Relaxed);
        while latest < now.as_nanos() {
            match self.0.compare_exchange_weak(
                latest,
                now.as_nanos(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return now,
                Err(newer) => latest = newer,
            }
        }
        SystemTime::from_nanos(latest)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn readings_never_fall_behind() {
        let clamp = Monotonic::new();
        let times = [5, 3, 9, 8, 9, 1, 10]
            .map(|nanos| clamp.clamp(SystemTime::from_nanos(nanos)).as_nanos());
        assert_eq!(times, [5, 5, 9, 9, 9, 9, 10]);
    }

    #[test]
    fn threads_agree() {
        let clamp = Monotonic::new();
        std::thread::scope(|scope| {
            for step in 1..=4 {
                let clamp = &clamp;
                scope.spawn(move || {
                    let mut last = SystemTime::default();
                    for nanos in 0..20_000_u64 {
                        let now = clamp.clamp(SystemTime::from_nanos(nanos * step));
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
        });
        assert_eq!(clamp.clamp(SystemTime::default()).as_nanos(), 19_999 * 4);
    }
}
