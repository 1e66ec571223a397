//! Mistakes that can be made on purpose, to see whether tests notice them. Feature `planted`, which is for this crate's own tests and nobody else.

use core::sync::atomic::{AtomicU8, Ordering};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// Unmasking a port looks for an event first and clears the mask then.
    UnmaskLooksFirst = 1,
    /// The dispatcher takes all pending bits of a word at once, those of masked ports too.
    DispatchTakesWholeWords,
    /// The dispatcher clears a port's pending bit when its handler is done.
    DispatchClearsLate,
    /// A handler that stops leaves the other events of its pass without an upcall.
    BreakForgetsTheRest,
    /// Waiting checks its condition with interrupts on.
    WaitChecksUnprotected,
    /// Revoking looks at the entry and then empties it.
    RevokeInTwoSteps,
    /// The clock reads its counter outside the window in which its values are read.
    ClockReadsLate,
}

static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Makes a mistake from now on, in the whole process, or none.
pub fn plant(bug: Option<Bug>) {
    ACTIVE.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
}

/// Whether a mistake is to be made.
#[inline(always)]
pub(crate) fn is(bug: Bug) -> bool {
    ACTIVE.load(Ordering::Relaxed) == bug as u8
}
