//! aarch64: the architected counter is the system clock, and Xen adds nothing to it.

use super::{SystemTime, ticks_to_nanos};
use crate::platform::Counter;

/// The system time of an aarch64 guest: the virtual counter in nanoseconds.
///
/// The counter is common to all vCPUs, so no clamp is needed. On x86 the type exists too, for tests
/// and simulators.
#[derive(Clone, Copy, Debug)]
pub struct CounterClock<C> {
    counter: C,
    frequency: u64,
}

impl<C: Counter> CounterClock<C> {
    /// The clock of a counter that runs at `frequency` ticks a second, such as
    /// `VirtualCounter::frequency` reports; `None` for 0, which firmware leaves when it does not
    /// know.
    pub fn new(counter: C, frequency: u64) -> Option<Self> {
        (frequency != 0).then_some(Self { counter, frequency })
    }

    /// The system time now.
    #[inline]
    pub fn now(&self) -> SystemTime {
        SystemTime::from_nanos(ticks_to_nanos(self.counter.read(), self.frequency))
    }

    /// The counter's rate in ticks a second.
    pub fn frequency(&self) -> u64 {
        self.frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Counter for Fixed {
        fn read(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn ticks_become_nanoseconds() {
        let clock = CounterClock::new(Fixed(125_000_000), 62_500_000).unwrap();
        assert_eq!(clock.now().as_nanos(), 2_000_000_000);
        assert!(CounterClock::new(Fixed(1), 0).is_none());
    }
}
