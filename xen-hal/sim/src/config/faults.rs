//! Configures fault injection.

use xen_hal::hypercall::Errno;
pub use xen_hal::hypercall::Fault;

/// Fault-injection rates. A field with value n makes its fault occur once in n opportunities on
/// average, decided by the seed; 0 disables it.
///
/// ```
/// use xen_sim::FaultRates;
///
/// let rates = FaultRates { spurious_upcalls: 10, ..FaultRates::new() };
/// assert_ne!(rates, FaultRates::none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultRates {
    /// Before and after a hypercall: the processor switches to a ready vCPU, chosen by the seed.
    pub preempt_hypercalls: u32,
    /// At an access to memory that is shared with Xen or another domain: the processor switches as
    /// for `preempt_hypercalls`, and the vCPU takes interrupts.
    pub preempt_accesses: u32,
    /// At a hypercall: Xen raises an upcall without an event.
    pub spurious_upcalls: u32,
    /// When a vCPU could take an interrupt: the interrupt is delayed, and later ones can overtake
    /// it.
    pub late_upcalls: u32,
    /// At a reading of the counter: Xen updates the vCPU's time block, so the reader must retry. On
    /// x86, the vCPU also moves to a processor with a different counter.
    pub clock_updates: u32,
    /// At an update of the time block: the counter is a few ticks behind the block's time stamp.
    pub counter_lag: u32,
    /// On x86, when [`Interrupts::enable`](xen_hal::platform::Interrupts::enable) turns interrupts
    /// on: the next hypercall follows directly, in the interrupt shadow. No interrupt can be
    /// delivered before it, so `SCHEDOP_block` sleeps although an upcall is pending. Accesses to
    /// the program's own memory do not end the shadow.
    pub interrupt_shadow: u32,
    /// When a vCPU loses the processor at an access to shared memory or before a hypercall: another
    /// domain, which is not simulated, gets it for up to 100 microseconds.
    pub stolen_time: u32,
    /// At a suspend: it is cancelled. Otherwise the domain is restored on another host.
    pub cancelled_suspends: u32,
}

impl FaultRates {
    /// Returns rates with preemption and stolen time only, a machine's default.
    #[must_use]
    pub const fn new() -> Self {
        Self { preempt_hypercalls: 2, preempt_accesses: 64, stolen_time: 8, ..Self::none() }
    }

    /// Returns rates without faults or preemption: a vCPU runs until it waits.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            preempt_hypercalls: 0,
            preempt_accesses: 0,
            spurious_upcalls: 0,
            late_upcalls: 0,
            clock_updates: 0,
            counter_lag: 0,
            interrupt_shadow: 0,
            stolen_time: 0,
            cancelled_suspends: 0,
        }
    }

    /// Returns high rates for every fault.
    #[must_use]
    pub const fn storm() -> Self {
        Self {
            preempt_hypercalls: 2,
            preempt_accesses: 3,
            spurious_upcalls: 8,
            late_upcalls: 4,
            clock_updates: 4,
            counter_lag: 2,
            interrupt_shadow: 2,
            stolen_time: 8,
            cancelled_suspends: 2,
        }
    }
}

impl Default for FaultRates {
    fn default() -> Self {
        Self::new()
    }
}

/// The faults of a domain, each with the number of hypercalls since it was added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<(Fault, u64)>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the error with which the next hypercall fails, if it does.
    pub(crate) fn next(&mut self, number: u32, command: usize) -> Option<Errno> {
        let mut error = None;
        self.0.retain_mut(|(fault, made)| {
            *made += 1;
            let found = fault.error(*made, number, command);
            error = found.or(error);
            // That of one hypercall is spent.
            found.is_none() || !matches!(fault, Fault::Nth(..))
        });
        error
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};
    use xen_hal::hypercall::Errno;

    #[test]
    fn each_fault_counts_from_when_it_was_added() {
        let mut faults = Faults::default();
        let mut next = |added: &[Fault]| {
            added.iter().for_each(|fault| faults.add(*fault));
            faults.next(32, 4)
        };
        assert_eq!(next(&[Fault::Nth(2, Errno::EIO)]), None);
        assert_eq!(next(&[Fault::Nth(2, Errno::EPERM)]), Some(Errno::EIO));
        assert_eq!([next(&[]), next(&[])], [Some(Errno::EPERM), None]);
        assert!(faults.0.is_empty(), "{faults:?}");
        faults.add(Fault::Nth(1, Errno::EIO));
        faults.clear();
        assert_eq!(faults.next(32, 4), None);
    }
}
