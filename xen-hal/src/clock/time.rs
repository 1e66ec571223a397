//! Points in time: Xen's system time, and the kernel's own monotonic time.

use core::ops::{Add, AddAssign, Sub, SubAssign};
use core::time::Duration;

/// Nanoseconds in a second.
pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns a duration in nanoseconds; `u64::MAX`, the distance between the first and the last point
/// in time, if it is longer.
const fn nanos_of(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// Defines a point in time as signed nanoseconds, with the arithmetic of such points.
macro_rules! time_point {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The end of time, 2^63 - 1 ns. A timer or a poll with this deadline never fires.
            pub const NEVER: Self = Self(i64::MAX);

            /// Creates the point at `nanos` nanoseconds. A negative number is before the start of
            /// this time.
            #[must_use]
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// Returns the nanoseconds since the base; negative for a point before it.
            #[must_use]
            pub const fn as_nanos(self) -> i64 {
                self.0
            }

            /// Returns the time from `earlier` to this point; zero if `earlier` is later.
            #[must_use]
            pub const fn duration_since(self, earlier: Self) -> Duration {
                match self.checked_duration_since(earlier) {
                    Some(duration) => duration,
                    None => Duration::ZERO,
                }
            }

            /// Returns the time from `earlier` to this point; `None` if `earlier` is later.
            #[must_use]
            pub const fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
                if self.0 < earlier.0 {
                    return None;
                }
                Some(Duration::from_nanos(self.0.wrapping_sub(earlier.0) as u64))
            }

            /// Adds a duration; `None` if the sum is [`NEVER`](Self::NEVER) or later.
            #[must_use]
            pub const fn checked_add(self, duration: Duration) -> Option<Self> {
                match self.saturating_add(duration) {
                    Self::NEVER => None,
                    sum => Some(sum),
                }
            }

            /// Subtracts a duration; `None` if the difference is before -2^63 ns, or if this is
            /// [`NEVER`](Self::NEVER).
            #[must_use]
            pub const fn checked_sub(self, duration: Duration) -> Option<Self> {
                let nanos = duration.as_nanos();
                if nanos > u64::MAX as u128 || self.0 == i64::MAX {
                    return None;
                }
                match self.0.checked_sub_unsigned(nanos as u64) {
                    Some(nanos) => Some(Self(nanos)),
                    None => None,
                }
            }

            /// Adds a duration; [`NEVER`](Self::NEVER) if the sum is later than that.
            #[must_use]
            pub const fn saturating_add(self, duration: Duration) -> Self {
                Self(self.0.saturating_add_unsigned(nanos_of(duration)))
            }

            /// Subtracts a duration; -2^63 ns if the difference is earlier than that.
            /// [`NEVER`](Self::NEVER) stays as it is.
            #[must_use]
            pub const fn saturating_sub(self, duration: Duration) -> Self {
                match self.checked_sub(duration) {
                    Some(difference) => difference,
                    None if self.0 == i64::MAX => self,
                    None => Self(i64::MIN),
                }
            }
        }

        /// Does the same as [`saturating_add`](
        #[doc = concat!(stringify!($name), "::saturating_add).")]
        impl Add<Duration> for $name {
            type Output = Self;

            fn add(self, duration: Duration) -> Self {
                self.saturating_add(duration)
            }
        }

        impl AddAssign<Duration> for $name {
            fn add_assign(&mut self, duration: Duration) {
                *self = *self + duration;
            }
        }

        /// Does the same as [`saturating_sub`](
        #[doc = concat!(stringify!($name), "::saturating_sub).")]
        impl Sub<Duration> for $name {
            type Output = Self;

            fn sub(self, duration: Duration) -> Self {
                self.saturating_sub(duration)
            }
        }

        impl SubAssign<Duration> for $name {
            fn sub_assign(&mut self, duration: Duration) {
                *self = *self - duration;
            }
        }

        /// Does the same as [`duration_since`](
        #[doc = concat!(stringify!($name), "::duration_since).")]
        impl Sub for $name {
            type Output = Duration;

            fn sub(self, earlier: Self) -> Duration {
                self.duration_since(earlier)
            }
        }
    };
}

time_point! {
    /// A point in Xen's system time: signed nanoseconds since the hypervisor started, as Xen's
    /// `s_time_t`.
    ///
    /// The deadlines of timers and polls have this type. Additions saturate at
    /// [`NEVER`](Self::NEVER), so the deadline `now + Duration::MAX` never comes. Without that, it
    /// would be negative, which is a time in the past.
    ///
    /// A restore changes what the time counts from, because the domain can then run on another
    /// host. Store deadlines that outlive a suspend as [`Instant`]s.
    SystemTime
}

time_point! {
    /// A point in the kernel's monotonic time: signed nanoseconds on a time line that continues
    /// across suspend and restore. See [`Monotonic`](super::Monotonic).
    Instant
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: i64) -> SystemTime {
        SystemTime::from_nanos(nanos)
    }

    #[test]
    fn additions_end_at_never() {
        for (start, duration, end) in [
            (0, Duration::MAX, i64::MAX),
            (i64::MAX - 1, Duration::from_nanos(1), i64::MAX),
            (i64::MAX, Duration::from_nanos(1), i64::MAX),
            (-5, Duration::from_nanos(7), 2),
            (-5, Duration::MAX, i64::MAX),
            (i64::MIN, Duration::from_nanos(1 << 63), 0),
            (i64::MIN, Duration::from_nanos(u64::MAX), i64::MAX),
        ] {
            assert_eq!(at(start) + duration, at(end), "{start} + {duration:?}");
            let mut sum = at(start);
            sum += duration;
            assert_eq!(sum, at(end));
            let checked = at(start).checked_add(duration);
            assert_eq!(checked, (end != i64::MAX).then_some(at(end)), "{start} + {duration:?}");
        }
    }

    #[test]
    fn subtractions_saturate_and_keep_never() {
        for (start, duration, end, exact) in [
            (10, Duration::from_nanos(3), 7, true),
            (3, Duration::from_nanos(10), -7, true),
            (0, Duration::MAX, i64::MIN, false),
            (i64::MIN, Duration::from_nanos(1), i64::MIN, false),
            (i64::MAX - 1, Duration::from_nanos(u64::MAX), i64::MIN, false),
            (i64::MAX, Duration::from_nanos(1), i64::MAX, false),
        ] {
            assert_eq!(at(start).checked_sub(duration), exact.then_some(at(end)), "{start}");
            assert_eq!(at(start) - duration, at(end), "{start} - {duration:?}");
            let mut difference = at(start);
            difference -= duration;
            assert_eq!(difference, at(end));
        }
    }

    #[test]
    fn differences_are_durations() {
        assert_eq!(at(5) - at(2), Duration::from_nanos(3));
        assert_eq!(at(2) - at(5), Duration::ZERO);
        assert_eq!(at(2).checked_duration_since(at(5)), None);
        assert_eq!(at(i64::MAX) - at(i64::MIN), Duration::from_nanos(u64::MAX));
    }
}
