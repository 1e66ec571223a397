//! A backend that makes hypercalls fail.

use core::sync::atomic::{AtomicU32, Ordering};

use xen_pac::command::Command;
use xen_pac::hypercall::HypercallNr;
use xen_pac::memory::command::{DecreaseReservation, IncreaseReservation, PopulatePhysmap};

use super::{Errno, Hypercall};

/// Selects hypercalls that fail without effect.
///
/// A hypercall that returns a count and never an error, such as `XENMEM_populate_physmap`, returns
/// 0 instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The n-th hypercall from now; 1, or 0, is the next.
    Nth(u64, Errno),
    /// Every hypercall with this number.
    Each(HypercallNr, Errno),
    /// Every hypercall with this number and this command.
    EachCommand(HypercallNr, u32, Errno),
    /// One in n hypercalls on average, chosen by a seed; 0 is none.
    OneIn(u32, u64, Errno),
}

impl Fault {
    /// Returns the error of a hypercall, if it fails. `nth` counts hypercalls from 1.
    #[must_use]
    pub fn error(self, nth: u64, number: u32, command: usize) -> Option<Errno> {
        let (selected, error) = match self {
            Self::Nth(chosen, error) => (nth == chosen.max(1), error),
            Self::Each(of, error) => (of.0 == number, error),
            Self::EachCommand(of, chosen, error) => {
                (of.0 == number && chosen as usize == command, error)
            }
            Self::OneIn(n, seed, error) => {
                (mix(seed.wrapping_add(nth)).checked_rem(n.into()) == Some(0), error)
            }
        };
        selected.then_some(error)
    }

    /// Returns the answer of a hypercall that fails with an error.
    #[must_use]
    pub fn answer(number: u32, command: usize, error: Errno) -> isize {
        let counts =
            [PopulatePhysmap::NUMBER, IncreaseReservation::NUMBER, DecreaseReservation::NUMBER];
        let is_count = counts.iter().any(|count| *count as usize == command);
        if number == HypercallNr::MEMORY_OP.0 && is_count { 0 } else { error.to_answer() }
    }
}

/// Spreads numbers that differ in few bits (the finaliser of `SplitMix64`).
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A backend that makes hypercalls of another backend fail: to test the error paths of a kernel, on
/// real Xen as in the simulator.
///
/// Pass a reference to it to the subsystem under test. Hypercalls that do not fail are those of the
/// other backend.
///
/// ```
/// use xen_hal::Xen;
/// use xen_hal::hypercall::{Errno, Fault, FaultInjector, Hypercall};
/// use xen_hal::platform::VcpuId;
///
/// /// Works on any Xen: the third hypercall fails.
/// fn third_channel_is_refused(xen: impl Hypercall) {
///     let xen = FaultInjector::new(xen, Fault::Nth(3, Errno::ENOSPC));
///     let events = Xen::new(&xen).events();
///     let bound = [(); 4].map(|()| events.bind_ipi(VcpuId(0)));
///     assert!(bound[0].is_ok() && bound[1].is_ok() && bound[3].is_ok());
///     assert_eq!(bound[2].as_ref().err(), Some(&Errno::ENOSPC));
///     assert_eq!(xen.failed(), 1);
/// }
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| third_channel_is_refused(guest.xen()));
/// ```
#[derive(Debug)]
pub struct FaultInjector<H> {
    xen: H,
    fault: Fault,
    made: AtomicU32,
    failed: AtomicU32,
}

impl<H: Hypercall> FaultInjector<H> {
    /// Creates a backend that makes hypercalls of `xen` fail as `fault` selects them.
    pub const fn new(xen: H, fault: Fault) -> Self {
        Self { xen, fault, made: AtomicU32::new(0), failed: AtomicU32::new(0) }
    }

    /// Returns the number of hypercalls so far, including those that failed.
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Returns the number of hypercalls that the injector made fail.
    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }
}

// SAFETY: it forwards a hypercall unchanged, or returns an error of the hypervisor's and does
// nothing else.
unsafe impl<H: Hypercall> Hypercall for FaultInjector<H> {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        let nth = u64::from(self.made.fetch_add(1, Ordering::Relaxed)) + 1;
        if let Some(error) = self.fault.error(nth, number, a) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Fault::answer(number, a, error);
        }
        // SAFETY: the caller's obligations are the same.
        unsafe { self.xen.call5(number, a, b, c, d, e) }
    }

    fn restores(&self) -> u32 {
        self.xen.restores()
    }

    fn count_restore(&self) {
        self.xen.count_restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn a_fault_fails_one_hypercall_or_every_one() {
        let of = |fault: Fault, number, command| {
            [1, 2, 3].map(|nth| fault.error(nth, number, command).is_some())
        };
        let (event, memory) = (HypercallNr::EVENT_CHANNEL_OP, HypercallNr::MEMORY_OP);
        let (yes, no) = ([true; 3], [false; 3]);
        assert_eq!(of(Fault::Nth(2, Errno::EIO), 1, 1), [false, true, false]);
        assert_eq!(of(Fault::Nth(0, Errno::EIO), 1, 1), [true, false, false]);
        let each = Fault::Each(event, Errno::EIO);
        assert_eq!([of(each, event.0, 9), of(each, memory.0, 9)], [yes, no]);
        let command = Fault::EachCommand(event, 4, Errno::EIO);
        let found = [of(command, event.0, 4), of(command, event.0, 5), of(command, memory.0, 4)];
        assert_eq!(found, [yes, no, no]);
        assert_eq!(
            [of(Fault::OneIn(1, 7, Errno::EIO), 1, 1), of(Fault::OneIn(0, 7, Errno::EIO), 1, 1)],
            [yes, no]
        );
        let count = |seed| {
            let fails = |nth: &u64| Fault::OneIn(10, seed, Errno::EIO).error(*nth, 1, 1).is_some();
            (1..=1000).filter(fails).count()
        };
        assert!((0..20).all(|seed| (60..140).contains(&count(seed))));
    }

    #[test]
    fn a_hypercall_that_fails_is_not_made_and_the_others_are_unchanged() {
        let made = core::cell::Cell::new(0);
        let xen = Fake(|number, arguments: &[usize]| {
            made.set(made.get() + 1);
            assert_eq!((number, arguments), (7, &[1, 2, 3, 4, 5][..]));
            42
        });
        let xen = FaultInjector::new(xen, Fault::Nth(2, Errno::EBUSY));
        // SAFETY: the fake accesses no memory.
        let answers = [(); 3].map(|()| unsafe { xen.call5(7, 1, 2, 3, 4, 5) });
        assert_eq!(answers, [42, Errno::EBUSY.to_answer(), 42]);
        assert_eq!((made.get(), xen.made(), xen.failed()), (2, 3, 1));
        let populate = PopulatePhysmap::NUMBER as usize;
        assert_eq!(Fault::answer(HypercallNr::MEMORY_OP.0, populate, Errno::EIO), 0);
    }
}
