//! Describes why the run of a machine failed.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use xen_hal::platform::VcpuId;
use xen_pac::base::Domid;

/// Describes why the run of a machine failed.
///
/// With the same seed, the same programs fail in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The machine's seed.
    pub seed: u64,
    /// What happened.
    pub kind: FailureKind,
    /// The last hypercalls, interrupts and accesses to shared memory of each vCPU that ran, one per
    /// line. [`for_each_seed`](crate::for_each_seed) shows them.
    pub last_events: Vec<String>,
}

/// The reason of a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// A program panicked.
    Panicked {
        /// The vCPU.
        on: (Domid, VcpuId),
        /// The panic's message.
        message: String,
    },
    /// A program returned an error.
    Failed {
        /// The vCPU.
        on: (Domid, VcpuId),
        /// The error's text.
        message: String,
    },
    /// All vCPUs wait, no timer is set, and so no event can arrive: a wakeup was lost.
    Deadlock {
        /// What each vCPU waits for.
        waiting: Vec<String>,
    },
    /// The domain has no handler for an interrupt.
    NoHandler {
        /// The vCPU.
        on: (Domid, VcpuId),
        /// The interrupt's vector; on Arm, its number.
        vector: u8,
    },
    /// A vCPU took the same interrupt repeatedly without executing its program: the handler leaves
    /// the upcall pending.
    Storm {
        /// The vCPU.
        on: (Domid, VcpuId),
        /// The interrupt's vector; on Arm, its number.
        vector: u8,
    },
    /// A [`Deadline`](crate::Deadline) was not met.
    Late {
        /// The vCPU that set the deadline.
        on: (Domid, VcpuId),
        /// The time that it had.
        limit: Duration,
    },
    /// A vCPU without a program was brought up.
    NoProgram {
        /// The vCPU.
        on: (Domid, VcpuId),
    },
    /// Xen destroyed a domain.
    Crashed {
        /// The vCPU that made the hypercall.
        on: (Domid, VcpuId),
        /// The invalid operation.
        why: &'static str,
    },
    /// Domains ended without releasing resources:
    /// [`Machine::fail_on_leaks`](crate::Machine::fail_on_leaks).
    Leaked(BTreeMap<u16, Vec<String>>),
    /// The host refused memory or a thread.
    Host(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (seed {})", self.kind, self.seed)
    }
}

impl core::error::Error for Failure {}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { on, message } => write!(f, "{} panicked: {message}", Place(*on)),
            Self::Failed { on, message } => {
                write!(f, "{} returned an error: {message}", Place(*on))
            }
            Self::Deadlock { waiting } => write!(f, "deadlock: {}", waiting.join("; ")),
            Self::NoHandler { on, vector } => {
                write!(f, "{} has no handler for interrupt {vector:#x}", Place(*on))
            }
            Self::Storm { on, vector } => {
                let place = Place(*on);
                write!(
                    f,
                    "{place} makes no progress: interrupt {vector:#x} leaves its upcall pending"
                )
            }
            Self::Late { on, limit } => {
                write!(f, "{} missed a deadline of {limit:?}", Place(*on))
            }
            Self::NoProgram { on } => {
                write!(
                    f,
                    "{} was brought up without a program: see `Guest::set_program`",
                    Place(*on)
                )
            }
            Self::Crashed { on, why } => {
                write!(f, "{}: Xen destroyed the domain: {why}", Place(*on))
            }
            Self::Leaked(leaks) => {
                let domain = |(number, leaks): (&u16, &Vec<String>)| {
                    format!("domain {number} leaks {}", leaks.join(", "))
                };
                write!(f, "{}", leaks.iter().map(domain).collect::<Vec<_>>().join("; "))
            }
            Self::Host(message) => write!(f, "the host refused a resource: {message}"),
        }
    }
}

/// Displays a vCPU.
pub(crate) struct Place(pub(crate) (Domid, VcpuId));

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((domain, vcpu)) = self;
        write!(f, "domain {domain}, vCPU {vcpu}")
    }
}

/// The environment variable that selects a seed.
pub(crate) const SEED_VARIABLE: &str = "XEN_SIM_SEED";

/// Returns the command line that runs a seed again. The test harness names a thread after its test.
pub(crate) fn replay(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("replay: {SEED_VARIABLE}={seed} cargo test {test}").trim_end().to_string()
}
