//! One attempt at an operation, of whose hypercalls one may fail.

use std::fmt::Debug;

use xen_hal::hypercall::Errno;
use xen_sim::{Fault, Guest, Snapshot};

/// The error that hypercalls fail with. Xen returns it in none of these cases, so an operation that
/// shows it has passed it on.
pub(crate) const ERROR: Errno = Errno::EIO;

/// An attempt. The operation prepares what it needs, and then does the work that is tested
/// [`during`](Self::during) the attempt.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Which hypercall fails, counted from 1.
    pub(crate) fails: Option<u64>,
    /// How many hypercalls were made.
    pub(crate) hypercalls: u64,
    /// How it ended: the error's text, if it did so.
    pub(crate) ended: Option<Result<(), String>>,
    /// What Xen knew before and after.
    pub(crate) before: Option<Snapshot>,
    pub(crate) after: Option<Snapshot>,
}

impl Attempt {
    /// Does the work, and keeps its result until Xen's state has been recorded.
    pub(crate) fn during<T, E: Debug>(
        &mut self,
        guest: Guest,
        work: impl FnOnce() -> Result<T, E>,
    ) {
        self.before = Some(guest.snapshot());
        let hypercalls = guest.hypercalls();
        if let Some(fails) = self.fails {
            guest.fail(Fault::Nth(fails, ERROR));
        }
        let result = work();
        guest.clear_faults();
        self.hypercalls = guest.hypercalls() - hypercalls;
        self.after = Some(guest.snapshot());
        self.ended = Some(result.as_ref().map(|_| ()).map_err(|error| format!("{error:?}")));
    }
}
