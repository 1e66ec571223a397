//! Keeping interrupts away for a moment.

/// Control over the interrupts of the vCPU that runs.
///
/// # Safety
///
/// After [`disable`](Self::disable), no interrupt handler may run on this vCPU until
/// [`restore`](Self::restore): code that owns data together with a handler relies on it.
pub unsafe trait Interrupts {
    /// Whether interrupts were on.
    type State: Copy;

    /// Turns interrupts off, and says how they were.
    fn disable(&self) -> Self::State;

    /// Puts interrupts back as [`disable`](Self::disable) found them.
    fn restore(&self, state: Self::State);

    /// Runs `work` without interrupts.
    #[inline]
    fn without<T>(&self, work: impl FnOnce() -> T) -> T
    where
        Self: Sized,
    {
        let state = self.disable();
        let result = work();
        self.restore(state);
        result
    }
}

// SAFETY: a borrowed control acts as the control itself.
unsafe impl<I: Interrupts> Interrupts for &I {
    type State = I::State;

    #[inline(always)]
    fn disable(&self) -> Self::State {
        (**self).disable()
    }

    #[inline(always)]
    fn restore(&self, state: Self::State) {
        (**self).restore(state);
    }
}
