//! What goes wrong, and how often.

use std::vec::Vec;

use xen_pac::hypercall::HypercallNr;

use xen_hal::hypercall::Errno;

/// How unkind the machine is. Each field says that something happens once in so many times, by
/// chance that the seed decides; 0 is never.
///
/// ```
/// use xen_sim::Adversity;
///
/// let rough = Adversity { spurious_upcalls: 10, ..Adversity::new() };
/// assert_ne!(rough, Adversity::calm());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Adversity {
    /// At a hypercall, before it and after it: the processor is given to a vCPU by lot.
    pub preempt_hypercalls: u32,
    /// At an access to memory that is shared with Xen or with another domain: the same, in the
    /// middle of the program, and interrupts come.
    pub preempt_accesses: u32,
    /// At a hypercall: an upcall comes for which there is no event.
    pub spurious_upcalls: u32,
    /// Where an interrupt could be taken: it comes later, after others that were raised behind it.
    pub late_upcalls: u32,
    /// At a reading of the counter: the vCPU goes on on another processor, whose counter shows
    /// something else (not on Arm), and Xen writes its time block anew, in the middle of the
    /// reader's window.
    pub clock_updates: u32,
    /// At a suspend: it is called off, and the domain stays where it is. Otherwise it comes back on
    /// another machine.
    pub cancelled_suspends: u32,
}

impl Adversity {
    /// What is usual on a machine with several vCPUs: they are preempted, and nothing else. A
    /// machine is like that unless it is told otherwise.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            preempt_hypercalls: 2,
            preempt_accesses: 64,
            spurious_upcalls: 0,
            late_upcalls: 0,
            clock_updates: 0,
            cancelled_suspends: 0,
        }
    }

    /// Nothing: a vCPU runs until it waits.
    #[must_use]
    pub const fn calm() -> Self {
        Self {
            preempt_hypercalls: 0,
            preempt_accesses: 0,
            spurious_upcalls: 0,
            late_upcalls: 0,
            clock_updates: 0,
            cancelled_suspends: 0,
        }
    }

    /// All of it, often.
    #[must_use]
    pub const fn storm() -> Self {
        Self {
            preempt_hypercalls: 2,
            preempt_accesses: 3,
            spurious_upcalls: 8,
            late_upcalls: 4,
            clock_updates: 4,
            cancelled_suspends: 2,
        }
    }
}

impl Default for Adversity {
    fn default() -> Self {
        Self::new()
    }
}

/// Hypercalls of a domain that are to fail without being carried out.
///
/// One of those that answer with a count and never with an error (giving and taking memory) answers
/// 0 instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The n-th from now on, the next one being the first (and, as it cannot be sooner, the 0th).
    Nth(u64, Errno),
    /// Each one with this number.
    Each(HypercallNr, Errno),
    /// Each one with this number and this command.
    EachCommand(HypercallNr, u32, Errno),
}

/// The faults of a domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether this hypercall, the next one of its domain, is to fail.
    pub(super) fn strike(&mut self, number: u32, command: usize) -> Option<Errno> {
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
    fn a_fault_strikes_once_or_each_time() {
        let mut faults = Faults::default();
        faults.add(Fault::Nth(2, Errno::EIO));
        faults.add(Fault::EachCommand(HypercallNr(32), 4, Errno::EPERM));
        assert_eq!(faults.strike(32, 3), None);
        assert_eq!(faults.strike(32, 3), Some(Errno::EIO));
        assert_eq!(faults.strike(32, 3), None);
        assert_eq!(
            [faults.strike(32, 4), faults.strike(32, 4), faults.strike(29, 4)],
            [Some(Errno::EPERM), Some(Errno::EPERM), None]
        );
        faults.clear();
        faults.add(Fault::Each(HypercallNr(29), Errno::ENOMEM));
        assert_eq!([faults.strike(32, 4), faults.strike(29, 4)], [None, Some(Errno::ENOMEM)]);
    }
}
