//! Polls ports, and waits for a condition without losing a wakeup.

use core::hint::spin_loop;

use xen_pac::access::Handle;
use xen_pac::sched::{SchedPoll, command};

use super::Sched;
use crate::clock::SystemTime;
use crate::event::Port;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Interrupts;

impl<H: Hypercall + Copy> Sched<H> {
    /// Sleeps until one of `ports` is pending, masked or not, or until the time `until`. Without a
    /// time, only an event ends the sleep. With several ports, or none, any event of the domain
    /// ends it too, at whatever port.
    ///
    /// Call it with interrupts off: it returns at once while any interrupt can be delivered. The
    /// return value does not say why it woke: check the ports and the clock. Xen compares the time
    /// with the clock of the processor on which it created the vCPU. If the vCPU runs on another
    /// one, whose clock is behind, a poll ends before `until`.
    ///
    /// A port stays pending until [`TwoLevel::clear`](crate::event::TwoLevel::clear) or the
    /// dispatcher takes its event. Until then, polls of that port return at once.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than 128 ports, and for one that is free, is 0, or is beyond those of the
    /// domain.
    pub fn poll(&self, ports: &[Port], until: Option<SystemTime>) -> Result<(), Errno> {
        let count = u32::try_from(ports.len()).map_err(|_| Errno::EINVAL)?;
        // For Xen, 0 means "no time". For the caller it is in the past, as 1 is.
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

    /// Sleeps until `condition` is true. Checks it with interrupts off, first at the call and then
    /// after each event of `ports`. Between a sleep and the next check, restores the caller's
    /// interrupt state, so handlers can run.
    ///
    /// No wakeup is lost: interrupts stay off between the check and the sleep, and an event that
    /// arrives there makes the [poll](Self::poll) return at once. This covers two kinds of
    /// condition:
    ///
    /// - one that a handler on *this* vCPU makes true when one of `ports` has an event, if
    ///   interrupts are on at the call;
    /// - one that takes the event itself: for a masked port, `|| bitmaps.clear(port)`.
    ///
    /// If anything else makes the condition true, such as another vCPU, it must then signal one of
    /// the ports. If an event of `ports` is never taken, this spins.
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

    /// Does the same as [`wait_until`](Self::wait_until), until a deadline of the clock `now`.
    /// Returns whether the condition became true. Checks it a last time at the deadline.
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
            // Read the clock first: a condition that becomes true by the deadline counts.
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
            // Handlers run here. x86 takes no interrupt directly after the instruction that turns
            // interrupts on, so another instruction must follow.
            spin_loop();
        }
    }
}
