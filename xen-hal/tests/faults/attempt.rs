//! One attempt at an operation, of whose hypercalls one may fail.

use std::fmt::Debug;

use xen_hal::hypercall::Errno;
use xen_sim::{Fault, Guest, Snapshot};

/// The error that hypercalls fail with: one that Xen gives in none of these cases, so that whoever
/// shows it passed it on.
pub(crate) const ERROR: Errno = Errno::EIO;

/// An attempt. The operation prepares what it needs, and then does what is to be tried
/// [`during`](Self::during) the attempt.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Which hypercall is to fail, counted from 1.
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
    /// Does what is to be tried, and keeps what it gave until Xen's state has been looked at.
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
