//! What vCPUs that read the clock tell each other.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use xen_hal::clock::{Instant, Monotonic};

/// Times that vCPUs have read.
#[derive(Debug)]
pub(crate) struct Readings {
    /// The latest time that a vCPU was told.
    pub(crate) latest: Monotonic,
    /// The latest time that a vCPU has published before another reads the clock, in nanoseconds.
    published: AtomicI64,
    /// Whether a vCPU found a time before one that had been published.
    backwards: AtomicBool,
}

impl Readings {
    pub(crate) const fn new() -> Self {
        Self {
            latest: Monotonic::new(),
            published: AtomicI64::new(0),
            backwards: AtomicBool::new(false),
        }
    }

    /// Compares what `read` gives with what had been published before it, and publishes it.
    pub(crate) fn compare(&self, read: impl FnOnce() -> Instant) {
        let before = self.published.load(Ordering::SeqCst);
        let now = read().as_nanos();
        if now < before {
            self.backwards.store(true, Ordering::SeqCst);
        }
        self.published.fetch_max(now, Ordering::SeqCst);
    }

    /// Whether no vCPU has found a time before one that had been published.
    pub(crate) fn in_order(&self) -> bool {
        !self.backwards.load(Ordering::SeqCst)
    }
}
