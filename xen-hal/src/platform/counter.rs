//! The counter that clocks interpolate with.

/// A counter that runs at a fixed rate: the TSC on x86, the virtual counter on aarch64.
pub trait Counter {
    /// The counter's value now, in ticks.
    ///
    /// "Now" is between the memory accesses before the call and those after it: the reading must
    /// not move past either, because it is taken inside the window of a version counter and belongs
    /// to the values read there.
    fn read(&self) -> u64;
}

impl<C: Counter + ?Sized> Counter for &C {
    #[inline(always)]
    fn read(&self) -> u64 {
        (**self).read()
    }
}
