//! Configures fault injection.

use xen_hal::hypercall::Errno;
use xen_pac::hypercall::HypercallNr;

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

/// Selects hypercalls of a domain that fail without effect.
///
/// A hypercall that returns a count and never an error, such as `XENMEM_populate_physmap`, returns
/// 0 instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The n-th hypercall from now. 0 and 1 are the next hypercall.
    Nth(u64, Errno),
    /// Every hypercall with this number.
    Each(HypercallNr, Errno),
    /// Every hypercall with this number and this command.
    EachCommand(HypercallNr, u32, Errno),
}

/// The faults of a domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the error with which the next hypercall fails, if it does.
    pub(crate) fn next(&mut self, number: u32, command: usize) -> Option<Errno> {
        let mut errno = None;
        self.0.retain_mut(|fault| match fault {
            Fault::Nth(left, with) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    errno = Some(*with);
                }
                *left > 0
            }
            Fault::Each(HypercallNr(which), with) => {
                if *which == number {
                    errno = Some(*with);
                }
                true
            }
            Fault::EachCommand(HypercallNr(which), of, with) => {
                if *which == number && *of as usize == command {
                    errno = Some(*with);
                }
                true
            }
        });
        errno
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, HypercallNr};
    use xen_hal::hypercall::Errno;

    #[test]
    fn a_fault_fails_one_hypercall_or_every_one() {
        let mut faults = Faults::default();
        faults.add(Fault::Nth(2, Errno::EIO));
        faults.add(Fault::EachCommand(HypercallNr(32), 4, Errno::EPERM));
        assert_eq!(faults.next(32, 3), None);
        assert_eq!(faults.next(32, 3), Some(Errno::EIO));
        assert_eq!(faults.next(32, 3), None);
        assert_eq!(
            [faults.next(32, 4), faults.next(32, 4), faults.next(29, 4)],
            [Some(Errno::EPERM), Some(Errno::EPERM), None]
        );
        faults.clear();
        faults.add(Fault::Each(HypercallNr(29), Errno::ENOMEM));
        assert_eq!([faults.next(32, 4), faults.next(29, 4)], [None, Some(Errno::ENOMEM)]);
    }
}
