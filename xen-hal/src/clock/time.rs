//! Points in time.

use core::ops::{Add, Sub};
use core::time::Duration;

use super::scale::NANOS_PER_SECOND;

/// A point in Xen's system time: nanoseconds since the hypervisor (on x86) or the counter (on
/// aarch64) started.
///
/// Timers are set to such points. Additions stop at the end of time instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTime(u64);

impl SystemTime {
    /// The point that many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for SystemTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = duration
            .as_secs()
            .saturating_mul(NANOS_PER_SECOND)
            .saturating_add(u64::from(duration.subsec_nanos()));
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for SystemTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_and_does_not_wrap() {
        assert_eq!(
            SystemTime::from_nanos(u64::MAX - 1) + Duration::MAX,
            SystemTime::from_nanos(u64::MAX)
        );
        assert_eq!(SystemTime::from_nanos(1) - SystemTime::from_nanos(2), Duration::ZERO);
    }
}
