//! Reads Xen's system time from the architected counter on aarch64.

use super::time::NANOS_PER_SECOND;
use super::{Clock, SystemTime};
use crate::platform::Counter;

/// The system time of an aarch64 guest, from the virtual counter.
///
/// Xen does not fill the time block on Arm. All vCPUs share the counter, so readings on different
/// vCPUs never run backwards. The counter starts with the domain, and Xen's system time starts with
/// Xen: a [`TimeOffset`] is the difference. The type also exists on x86, for tests and simulators.
///
/// ```
/// use xen_hal::clock::{Clock, CounterClock, SystemTime, TimeOffset};
/// use xen_hal::platform::Counter;
///
/// struct Stopped;
///
/// impl Counter for Stopped {
///     fn read(&self) -> u64 {
///         125_000_000
///     }
/// }
///
/// let clock = CounterClock::new(Stopped, 62_500_000, TimeOffset::ZERO).unwrap();
/// assert_eq!(clock.now(), SystemTime::from_nanos(2_000_000_000));
/// // What `platform::LocalTimer::set` takes for a deadline:
/// assert_eq!(clock.ticks_at(SystemTime::from_nanos(2_000_000_001)), 125_000_001);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CounterClock<C> {
    counter: C,
    frequency: u64,
    tick: Tick,
    offset: TimeOffset,
}

impl<C: Counter> CounterClock<C> {
    /// Creates a clock from a counter that runs at `frequency` ticks a second, as
    /// `VirtualCounter::frequency` reports it. Returns `None` if the rate is above 10^18, or is 0,
    /// as with firmware that does not set it.
    #[must_use]
    pub fn new(counter: C, frequency: u64, offset: TimeOffset) -> Option<Self> {
        Some(Self { counter, frequency, tick: Tick::new(frequency)?, offset })
    }

    /// Returns the counter's rate in ticks per second.
    #[must_use]
    pub const fn frequency(&self) -> u64 {
        self.frequency
    }

    /// Returns the first counter value at which the system time is `at` or later, as
    /// `platform::LocalTimer::set` takes it. 0 for a time before the counter's start, `u64::MAX`
    /// for [`SystemTime::NEVER`] and for a time beyond the counter's range.
    #[must_use]
    pub fn ticks_at(&self, at: SystemTime) -> u64 {
        if at == SystemTime::NEVER {
            return u64::MAX;
        }
        let nanos = i128::from(at.as_nanos()) - i128::from(self.offset.nanos);
        let Ok(nanos) = u128::try_from(nanos) else { return 0 };
        let exact = |nanos: u128| {
            let ticks = (nanos * u128::from(self.frequency)).div_ceil(NANOS_PER_SECOND.into());
            u64::try_from(ticks).unwrap_or(u64::MAX)
        };
        // The clock reads at most one nanosecond less than the exact time, so the first value at
        // which it reads `at` is between these. Up to 1 GHz they differ by one at most.
        let (mut first, mut last) = (exact(nanos), exact(nanos + 1));
        while first < last {
            let middle = first + (last - first) / 2;
            if self.tick.nanos(middle) < nanos {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        first
    }

    #[inline]
    fn nanos(&self, ticks: u64) -> SystemTime {
        SystemTime::from_nanos((self.tick.nanos(ticks) as i64).wrapping_add(self.offset.nanos))
    }
}

impl<C: Counter> Clock for CounterClock<C> {
    #[inline]
    fn now(&self) -> SystemTime {
        self.nanos(self.counter.read())
    }

    #[inline]
    fn is_common(&self) -> bool {
        true
    }
}

/// The length of a tick in nanoseconds, as a fixed-point number: a reading needs two
/// multiplications and no shift.
#[derive(Clone, Copy, Debug)]
struct Tick {
    whole: u64,
    /// The rest, times 2^64.
    part: u64,
}

impl Tick {
    /// Returns `None` for a rate of 0 or of more than 10^18.
    const fn new(frequency: u64) -> Option<Self> {
        if frequency == 0 || frequency > NANOS_PER_SECOND * NANOS_PER_SECOND {
            return None;
        }
        let rest = ((NANOS_PER_SECOND % frequency) as u128) << 64;
        Some(Self { whole: NANOS_PER_SECOND / frequency, part: (rest / frequency as u128) as u64 })
    }

    /// Returns the nanoseconds in `ticks`, rounded down.
    #[inline]
    const fn nanos(self, ticks: u64) -> u128 {
        ticks as u128 * self.whole as u128 + ((ticks as u128 * self.part as u128) >> 64)
    }
}

/// How far Xen's system time is ahead of an Arm domain's counter.
///
/// An Arm guest gets Xen's time only as the entry time of its runstate. When a vCPU sleeps and
/// wakes, Xen stores a new entry time. It lies between the counter's readings before and after the
/// sleep. These three values are a sample, which [`narrow`](Self::narrow) takes. If a poll's
/// deadline has passed, the vCPU does not sleep, and the entry time does not change.
///
/// ```
/// use core::time::Duration;
/// use xen_hal::clock::{CounterClock, SystemTime, TimeOffset};
/// use xen_hal::hypercall::{Errno, Hypercall};
/// use xen_hal::platform::Counter;
/// use xen_hal::sched::Sched;
///
/// /// `counter` is the virtual counter, and `entry_time` reads the registered runstate area.
/// /// Interrupts must be off: a poll returns at once while one can be delivered.
/// fn clock<H: Hypercall + Copy, C: Counter>(
///     xen: H,
///     counter: C,
///     frequency: u64,
///     entry_time: impl Fn() -> SystemTime,
/// ) -> Result<Option<CounterClock<C>>, Errno> {
///     let shortest = Duration::from_micros(10);
///     let (mut offset, mut samples, mut ahead) = (TimeOffset::UNKNOWN, 0, shortest);
///     // Bounded: the vCPU does not sleep if an event of its own is pending.
///     for _ in 0..256 {
///         let (last, before) = (entry_time(), counter.read());
///         Sched::new(xen).poll(&[], Some(last + ahead))?;
///         let (entry, after) = (entry_time(), counter.read());
///         if entry == last {
///             // The deadline had passed, so the vCPU did not sleep: it may have run for long.
///             ahead = (ahead * 2).min(Duration::from_secs(60));
///             continue;
///         }
///         offset = offset.narrow(frequency, before, entry, after);
///         (samples, ahead) = (samples + 1, shortest);
///         if samples == 8 {
///             return Ok(CounterClock::new(counter, frequency, offset));
///         }
///     }
///     Ok(None)
/// }
/// # static AREAS: [xen_hal::vcpu::Area<xen_pac::vcpu::raw::VcpuRunstateInfo>; 10] =
/// #     [const { xen_hal::vcpu::Area::new() }; 10];
/// # static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
/// # xen_sim::storm(xen_sim::Profile::DOM0LESS, 10, |guest| -> Result<(), xen_hal::Error> {
/// #     let area = &AREAS[NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed)];
/// #     let latch = xen_hal::memory::WidthLatch::new(guest.xen())?;
/// #     let vcpu = xen_hal::vcpu::Vcpu::new(guest.xen(), xen_hal::platform::VcpuId(0));
/// #     // SAFETY: the area is mapped at its address as long as the program runs.
/// #     let times = unsafe { vcpu.register_runstate(latch, area) }?;
/// #     let entry_time = || times.read_own().since;
/// #     assert!(clock(guest.xen(), guest.counter(), 62_500_000, entry_time)?.is_some());
/// #     Ok(())
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOffset {
    /// The upper bound of the offset: with it, a deadline is never early.
    nanos: i64,
    /// The lower bound of the offset.
    least: i64,
}

impl TimeOffset {
    /// No offset: on the simulator, and for a kernel that exchanges no times with Xen.
    pub const ZERO: Self = Self { nanos: 0, least: 0 };

    /// An unknown offset. A clock with this offset reads 146 years ahead.
    pub const UNKNOWN: Self = Self { nanos: i64::MAX / 2, least: i64::MIN };

    /// Narrows the offset by a sample: the vCPU entered its current runstate at `entry`, between
    /// the counter readings `before` and `after`. A sample that contradicts the earlier ones
    /// replaces them, for example after a restore on another host.
    #[must_use]
    pub fn narrow(self, frequency: u64, before: u64, entry: SystemTime, after: u64) -> Self {
        let Some(tick) = Tick::new(frequency) else { return self };
        let offset = |ticks: u64| {
            let nanos = i64::try_from(tick.nanos(ticks)).unwrap_or(i64::MAX);
            entry.as_nanos().saturating_sub(nanos)
        };
        let sample = Self { nanos: offset(before), least: offset(after) };
        let both =
            Self { nanos: self.nanos.min(sample.nanos), least: self.least.max(sample.least) };
        if both.least <= both.nanos { both } else { sample }
    }

    /// Returns the greatest possible offset in nanoseconds, which a clock uses.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// Returns the greatest error of the offset in nanoseconds. The offset is never too small.
    #[must_use]
    pub const fn uncertainty(self) -> u64 {
        self.nanos.wrapping_sub(self.least) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u64);

    impl Counter for Fixed {
        fn read(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn rates_that_are_none() {
        for frequency in [0, NANOS_PER_SECOND * NANOS_PER_SECOND + 1, u64::MAX] {
            assert!(CounterClock::new(Fixed(1), frequency, TimeOffset::ZERO).is_none());
        }
        for (frequency, nanos) in [(1, 7_000_000_000), (2, 3_500_000_000)] {
            let clock = CounterClock::new(Fixed(7), frequency, TimeOffset::ZERO).unwrap();
            assert_eq!(clock.now(), SystemTime::from_nanos(nanos));
            assert_eq!((clock.frequency(), clock.is_common()), (frequency, true));
        }
    }

    proptest! {
        /// Within a nanosecond of the exact quotient, never above it, and never early.
        #[test]
        fn ticks_become_nanoseconds(
            ticks in 0..1_u64 << 58,
            frequency in 1_000_000..4_000_000_000_u64,
        ) {
            let exact = u128::from(ticks) * u128::from(NANOS_PER_SECOND) / u128::from(frequency);
            let clock = CounterClock::new(Fixed(ticks), frequency, TimeOffset::ZERO).unwrap();
            prop_assume!(exact < 1 << 62);
            let now = clock.now().as_nanos() as u128;
            prop_assert!(now == exact || now + 1 == exact, "{now} {exact}");
        }

        #[test]
        fn a_timer_fires_neither_early_nor_late(
            nanos in -1_000..1_i64 << 60, offset in -1_000_000..1_i64 << 50,
            frequency in 1_000_000..4_000_000_000_u64,
        ) {
            let offset = TimeOffset { nanos: offset, least: offset };
            let at = SystemTime::from_nanos(nanos);
            let shows = |ticks| CounterClock::new(Fixed(ticks), frequency, offset).unwrap().now();
            let ticks = CounterClock::new(Fixed(0), frequency, offset).unwrap().ticks_at(at);
            prop_assert!(shows(ticks) >= at);
            if let Some(before) = ticks.checked_sub(1) {
                prop_assert!(shows(before) < at, "{ticks}");
            }
        }

        /// Samples around any true offset enclose it.
        #[test]
        fn samples_enclose_the_offset(
            truth in -1_000_000_000..1_i64 << 50,
            samples in prop::collection::vec((0..1_u64 << 40, 0..50_000_u64, 0..50_000_u64), 1..9),
        ) {
            let mut offset = TimeOffset::UNKNOWN;
            let mut width = u64::MAX;
            for (before, slept, woken) in samples {
                // One tick is 16 ns.
                let entry = SystemTime::from_nanos((before + slept) as i64 * 16 + truth);
                offset = offset.narrow(62_500_000, before, entry, before + slept + woken);
                prop_assert!(offset.least <= truth && truth <= offset.as_nanos(), "{offset:?}");
                prop_assert!(offset.uncertainty() <= width);
                width = offset.uncertainty();
            }
            prop_assert!(width <= 100_000 * 16);
        }
    }

    #[test]
    fn deadlines_at_the_ends_of_time() {
        let clock = CounterClock::new(Fixed(0), 24_000_000, TimeOffset::ZERO).unwrap();
        assert_eq!(clock.ticks_at(SystemTime::NEVER), u64::MAX);
        assert_eq!(clock.ticks_at(SystemTime::from_nanos(i64::MIN)), 0);
        // The clock reads more than `i64::MAX` at some of these.
        for (frequency, ticks) in [
            (1, 9_223_372_037),
            (24_000_000, 221_360_928_884_514_620),
            (62_500_000, 1 << 59),
            (1_000_000_000, i64::MAX as u64 - 1),
            (1 << 40, u64::MAX),
            (NANOS_PER_SECOND * NANOS_PER_SECOND, u64::MAX),
        ] {
            let clock = CounterClock::new(Fixed(0), frequency, TimeOffset::ZERO).unwrap();
            let late = clock.ticks_at(SystemTime::from_nanos(i64::MAX - 1));
            assert_eq!(late, ticks, "{frequency}");
        }
        let fast = CounterClock::new(Fixed(0), NANOS_PER_SECOND.pow(2), TimeOffset::ZERO).unwrap();
        // The clock still reads 6 at 7,000,000,000.
        assert_eq!(fast.ticks_at(SystemTime::from_nanos(7)), 7_000_000_001);
    }

    #[test]
    fn an_unknown_offset_is_ahead_and_a_contradicting_sample_replaces_the_others() {
        let unknown = CounterClock::new(Fixed(7), 1_000_000_000, TimeOffset::UNKNOWN).unwrap();
        assert_eq!(unknown.now().as_nanos(), i64::MAX / 2 + 7);
        let old = TimeOffset::UNKNOWN.narrow(1_000_000_000, 0, SystemTime::from_nanos(500), 10);
        assert_eq!((old.as_nanos(), old.uncertainty()), (500, 10));
        let new = old.narrow(1_000_000_000, 100, SystemTime::from_nanos(120), 130);
        assert_eq!((new.as_nanos(), new.uncertainty()), (20, 30));
    }
}
