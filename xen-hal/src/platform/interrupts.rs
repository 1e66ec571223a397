//! Controls the calling vCPU's interrupts, and sleeps until one arrives.

use core::hint;

/// Controls the interrupts of the calling vCPU.
///
/// # For kernels
///
/// Use [`without`](Self::without) for a critical section, and [`wait_until`](Self::wait_until) to
/// sleep until a handler has changed something. On x86, do not turn interrupts on and then call
/// [`Sched::block`](crate::sched::Sched::block): directly after `sti`, no interrupt can be
/// delivered yet, so Xen finds none and blocks for ever.
///
/// # Safety
///
/// - After [`disable`](Self::disable), no interrupt handler may run on this vCPU until
///   [`enable`](Self::enable) or [`wait`](Self::wait): code that shares data with a handler relies
///   on it.
/// - [`wait`](Self::wait) must turn interrupts on and start to sleep as one step: an interrupt that
///   arrives after the call began must end the sleep.
pub unsafe trait Interrupts {
    /// Turns interrupts off. Returns whether they were on.
    fn disable(&self) -> bool;

    /// Turns interrupts on. Handlers of pending interrupts run before this returns, or shortly
    /// after.
    ///
    /// # Safety
    ///
    /// No critical section of this vCPU may be in progress that relies on interrupts being off. A
    /// handler must exist for every interrupt that can arrive.
    unsafe fn enable(&self);

    /// Turns interrupts on and sleeps until one arrives. If one is pending, does not sleep.
    /// Interrupts are on when this returns. It can return without an interrupt.
    ///
    /// Call it with interrupts off, after a check that there is nothing to do: see
    /// [`wait_until`](Self::wait_until).
    ///
    /// # Safety
    ///
    /// As for [`enable`](Self::enable).
    unsafe fn wait(&self);

    /// Hints that the caller spins. Loops that wait for another vCPU without sleeping call this in
    /// each iteration.
    #[inline(always)]
    fn pause(&self) {
        hint::spin_loop();
    }

    /// Ends a section that [`disable`](Self::disable) started: turns interrupts on if `were_on`.
    ///
    /// # Safety
    ///
    /// As for [`enable`](Self::enable), unless `were_on` is false.
    #[inline(always)]
    unsafe fn restore(&self, were_on: bool) {
        if were_on {
            // SAFETY: the caller's obligations are the same.
            unsafe { self.enable() };
        }
    }

    /// Runs `work` with interrupts off.
    #[inline]
    fn without<T>(&self, work: impl FnOnce() -> T) -> T
    where
        Self: Sized,
    {
        let were_on = self.disable();
        let result = work();
        // SAFETY: interrupts were on before, so no critical section around this one needs them off.
        unsafe { self.restore(were_on) };
        result
    }

    /// Sleeps until `condition` is true. Checks it with interrupts off, first at the call and then
    /// after each sleep. Handlers run during the sleep. No wakeup is lost between a check and the
    /// sleep.
    ///
    /// The code that makes the condition true must interrupt this vCPU afterwards. If interrupts
    /// are off at the call, this does not sleep: it spins until the condition is true.
    #[inline]
    fn wait_until(&self, mut condition: impl FnMut() -> bool)
    where
        Self: Sized,
    {
        let were_on = self.disable();
        while !condition() {
            if were_on {
                // SAFETY: interrupts were on when this was called, so no critical section around
                // the call needs them off.
                unsafe { self.wait() };
                self.disable();
            } else {
                self.pause();
            }
        }
        // SAFETY: as above.
        unsafe { self.restore(were_on) };
    }
}

// SAFETY: forwards to the value behind the reference.
unsafe impl<I: Interrupts + ?Sized> Interrupts for &I {
    #[inline(always)]
    fn disable(&self) -> bool {
        (**self).disable()
    }

    #[inline(always)]
    unsafe fn enable(&self) {
        // SAFETY: the caller's obligations are the same.
        unsafe { (**self).enable() };
    }

    #[inline(always)]
    unsafe fn wait(&self) {
        // SAFETY: the caller's obligations are the same.
        unsafe { (**self).wait() };
    }

    #[inline(always)]
    fn pause(&self) {
        (**self).pause();
    }
}
