//! Waiting for a condition without missing the event that makes it true.

use core::hint::spin_loop;

use super::Sched;
use crate::clock::SystemTime;
use crate::event::Port;
use crate::hypercall::{Errno, Hypercall};
use crate::platform::Interrupts;

impl<H: Hypercall + Copy> Sched<H> {
    /// Sleeps until `condition` is true. It is asked at first, and again after each event on one of
    /// `ports`, with interrupts off; between a sleep and the next check they are as the caller had
    /// them, so that handlers run.
    ///
    /// No wakeup is lost: interrupts are off from the check to the sleep, so that this vCPU takes
    /// no event in between, and one that comes in between is pending, which makes the
    /// [poll](Self::poll) return at once. That holds for what
    ///
    /// - a handler on *this* vCPU does to the condition when one of `ports` has an event, if
    ///   interrupts are on when this is called; or
    /// - the condition itself takes: for a masked port, `|| bitmaps.clear(port)`.
    ///
    /// Whoever else makes the condition true (another vCPU, say) must signal one of the ports
    /// afterwards. While a port stays pending that nobody takes, this does not sleep.
    ///
    /// # Errors
    ///
    /// As for [`poll`](Self::poll).
    pub fn wait_until(
        &self,
        interrupts: &impl Interrupts,
        ports: &[Port],
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), Errno> {
        self.wait(interrupts, ports, None, || condition().then_some(()))
    }

    /// As [`wait_until`](Self::wait_until), up to a moment of the clock `now`: says whether the
    /// condition came true. It is asked once more at the deadline.
    ///
    /// # Errors
    ///
    /// As for [`poll`](Self::poll).
    pub fn wait_until_deadline(
        &self,
        interrupts: &impl Interrupts,
        ports: &[Port],
        deadline: SystemTime,
        now: impl Fn() -> SystemTime,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool, Errno> {
        self.wait(interrupts, ports, Some(deadline), || {
            // The clock first: what comes true by the deadline counts.
            let late = now() >= deadline;
            let holds = condition();
            (holds || late).then_some(holds)
        })
    }

    fn wait<T>(
        &self,
        interrupts: &impl Interrupts,
        ports: &[Port],
        until: Option<SystemTime>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Result<T, Errno> {
        loop {
            let checked = interrupts.without(|| match check() {
                Some(result) => Ok(Some(result)),
                None => self.poll(ports, until).map(|()| None),
            })?;
            if let Some(result) = checked {
                return Ok(result);
            }
            // Handlers run here. On x86 no interrupt is taken right behind the instruction that
            // lets them in, so there has to be another.
            spin_loop();
        }
    }
}
