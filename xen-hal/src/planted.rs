//! Mistakes that can be made on purpose, to see whether tests notice them. Feature `planted`, which
//! is for this crate's own tests and nobody else.

use core::sync::atomic::{AtomicU8, Ordering};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The mistake of that name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

bugs! {
    /// Unmasking a port looks for an event first and clears the mask then.
    UnmaskLooksFirst,
    /// The dispatcher takes all pending bits of a word at once, those of masked ports too.
    DispatchTakesWholeWords,
    /// The dispatcher clears a port's pending bit when its handler is done.
    DispatchClearsLate,
    /// The dispatcher begins behind the cursor and forgets the ports of that word which come
    /// before.
    DispatchForgetsTheLowerPart,
    /// A handler that stops leaves the other events of its pass without an upcall.
    BreakForgetsTheRest,
    /// Waiting checks its condition with interrupts on.
    WaitChecksUnprotected,
    /// Revoking looks at the entry and then empties it.
    RevokeInTwoSteps,
    /// Revoking takes a page back that is only read.
    RevokeIgnoresReaders,
    /// Revoking takes the empty entry of a new table for one in use.
    RevokeForgetsResumes,
    /// A dropped grant gives its reference back, whoever uses the page.
    DropFreesInUse,
    /// A positive grant status, which Xen never gives, is taken for success.
    PositiveStatusIsSuccess,
    /// The memory map has as many entries as Xen says.
    MapBelievesItsCount,
    /// As many extents were done as Xen says.
    ExtentsBelieveTheirCount,
    /// A long text has as many bytes as Xen says.
    TextBelievesItsLength,
    /// A batch forgets what failed in the lists before its last one.
    BatchForgetsFailures,
    /// The clock reads its counter outside the window in which its values are read.
    ClockReadsLate,
    /// The clock's counter cannot be behind the time block.
    ElapsedSaturates,
    /// The clamp notes the latest time and does not hold others to it.
    ClampForgets,
    /// A copy may go one byte beyond the page.
    CopyGoesOneBeyond,
    /// A copy leaves out the bytes behind the last whole word.
    CopyForgetsTheTail,
}

/// The active mistake's number and one; 0 for none.
static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// Makes a mistake from now on, in the whole process, or none.
pub fn plant(bug: Option<Bug>) {
    ACTIVE.store(bug.map_or(0, |bug| bug as u8 + 1), Ordering::SeqCst);
}

/// Whether a mistake is to be made.
#[inline(always)]
pub(crate) fn is(bug: Bug) -> bool {
    ACTIVE.load(Ordering::Relaxed) == bug as u8 + 1
}
