//! A lock for critical sections.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{CurrentVcpu, Interrupts};

/// The lock of a critical section. One vCPU at a time holds it, with interrupts off, and can
/// acquire it recursively.
///
/// The feature `critical-section` implements the crate of that name with this lock and
/// [`LocalInterrupts`](super::LocalInterrupts). A kernel with its own [`Interrupts`] can use the
/// lock to implement that crate itself, without the feature.
#[derive(Debug, Default)]
pub struct ReentrantLock {
    /// The holder's number plus 1, or 0.
    holder: AtomicU32,
}

/// Set in the state if interrupts were on before the acquire.
const WERE_ON: u8 = 1;
/// Set in the state if the vCPU already held the lock.
const NESTED: u8 = 2;

impl ReentrantLock {
    /// Creates a free lock.
    #[must_use]
    pub const fn new() -> Self {
        Self { holder: AtomicU32::new(0) }
    }

    /// Turns interrupts off and acquires the lock. Returns the state that
    /// [`release`](Self::release) takes.
    pub fn acquire(&self, interrupts: &impl Interrupts, current: &impl CurrentVcpu) -> u8 {
        let were_on = u8::from(interrupts.disable()) * WERE_ON;
        // Interrupts are off, so this thread stays on the vCPU.
        let holder = current.current_vcpu().0.wrapping_add(1);
        if self.holder.load(Ordering::Relaxed) == holder {
            return were_on | NESTED;
        }
        let (acquired, failed) = (Ordering::Acquire, Ordering::Relaxed);
        while self.holder.compare_exchange_weak(0, holder, acquired, failed).is_err() {
            interrupts.pause();
        }
        were_on
    }

    /// Ends a critical section. The outermost section of the vCPU releases the lock and restores
    /// interrupts.
    ///
    /// # Safety
    ///
    /// `state` must be what [`acquire`](Self::acquire) returned. Each state must be released once,
    /// in the reverse order of the acquires, on the same vCPU.
    pub unsafe fn release(&self, interrupts: &impl Interrupts, state: u8) {
        if state & NESTED == 0 {
            self.holder.store(0, Ordering::Release);
        }
        // SAFETY: if interrupts were on, no critical section encloses the one that ends here.
        unsafe { interrupts.restore(state & WERE_ON != 0) };
    }
}
