//! Polling ports, and waiting for a condition without losing the event that makes it true.

use core::hint::spin_loop;

use xen_pac::access::Handle;
use xen_pac::sched::{SchedPoll, command};

use super::Sched;
use crate::clock::SystemTime;
use crate::event::Port;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Interrupts;

impl<H: Hypercall + Copy> Sched<H> {
    /// Sleeps until one of `ports` is pending, masked or not, or until a time has come. Without a
    /// time, only an event ends the sleep; without ports, only the time.
    ///
    /// Call it with interrupts off: it returns at once while any interrupt can be delivered. The
    /// return value does not say why it woke: look at the ports and the clock. A port stays
    /// pending, so that the next poll returns at once, until
    /// [`TwoLevel::clear`](crate::event::TwoLevel::clear) or the dispatcher takes the event.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than 128 ports, and for one that is free, is 0, or is beyond those of the
    /// domain.
    pub fn poll(&self, ports: &[Port], until: Option<SystemTime>) -> Result<(), Errno> {
        let count = u32::try_from(ports.len()).map_err(|_| Errno::EINVAL)?;
        // Xen takes 0 for "no time". For the caller it is in the past, as 1 is.
        let timeout = match until {
            None | Some(SystemTime::NEVER) => 0,
            Some(time) if time.as_nanos() == 0 => 1,
            Some(time) => time.as_nanos() as u64,
        };
        let mut argument =
            SchedPoll::new(Handle::from_const(ports.as_ptr().cast()), count, timeout);
        // SAFETY: Xen reads `count` port numbers, which `ports` consists of, and writes nothing.
        unsafe { self.xen.call_unchecked(command::Poll, &mut argument) }
    }

    /// Sleeps until `condition` is true. It is checked with interrupts off, first and after each
    /// event on one of `ports`; between a sleep and the next check, interrupts are as the caller
    /// had them, so that handlers run.
    ///
    /// No wakeup is lost: interrupts are off from the check to the sleep, and an event in between
    /// is pending, which makes the [poll](Self::poll) return at once. That holds for what
    ///
    /// - a handler on *this* vCPU does to the condition when one of `ports` has an event, if
    ///   interrupts are on when this is called; or
    /// - the condition itself takes: for a masked port, `|| bitmaps.clear(port)`.
    ///
    /// Anything else that makes the condition true, such as another vCPU, must signal one of the
    /// ports afterwards. If an event of `ports` is never taken, this spins.
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

    /// As [`wait_until`](Self::wait_until), up to a deadline of the clock `now`. Returns whether
    /// the condition came true. It is checked once more at the deadline.
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
            // Handlers run here. On x86 no interrupt is taken right after the instruction that
            // turns interrupts on, so there must be another.
            spin_loop();
        }
    }
}
