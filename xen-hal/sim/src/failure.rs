//! Why a machine stopped before its programs were done.

use core::fmt;
use std::string::String;
use std::vec::Vec;

use xen_pac::base::Domid;

use xen_hal::platform::VcpuId;

/// A machine stopped before its programs were done.
///
/// What it shows names the seed: with the same seed, the same programs come to the same end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The machine's seed.
    pub seed: u64,
    /// What happened.
    pub what: What,
}

/// What stopped a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A program panicked.
    Panicked {
        /// On which vCPU.
        on: (Domid, VcpuId),
        /// What it said.
        message: String,
    },
    /// A program ended with an error.
    Failed {
        /// On which vCPU.
        on: (Domid, VcpuId),
        /// The error, as it shows itself.
        message: String,
    },
    /// Every vCPU waits for an event that nobody is left to send, and no timer runs: a wakeup was
    /// lost, or never meant to come.
    Deadlock {
        /// What each of them waits for.
        waiting: Vec<String>,
    },
    /// An interrupt came for which the domain has no handler.
    NoHandler {
        /// On which vCPU.
        on: (Domid, VcpuId),
        /// The interrupt's vector; on Arm, its number.
        vector: u8,
    },
    /// A vCPU took the same interrupt again and again, and nothing of its program between: what
    /// raises it, a pending upcall, is never taken by the handler.
    Storm {
        /// On which vCPU.
        on: (Domid, VcpuId),
        /// The interrupt's vector; on Arm, its number.
        vector: u8,
    },
    /// A vCPU was brought up, and has no program to run.
    NoProgram {
        /// Which vCPU.
        on: (Domid, VcpuId),
    },
    /// Xen destroyed the domain, because of what it did.
    Crashed {
        /// Which vCPU did it.
        on: (Domid, VcpuId),
        /// What it did.
        why: &'static str,
    },
    /// The computer on which the simulator runs refused memory or a thread.
    Host(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (seed {})", self.what, self.seed)
    }
}

impl core::error::Error for Failure {}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { on, message } => write!(f, "{} panicked: {message}", Place(*on)),
            Self::Failed { on, message } => {
                write!(f, "{} ended with an error: {message}", Place(*on))
            }
            Self::Deadlock { waiting } => {
                write!(f, "nothing can go on any more: {}", waiting.join("; "))
            }
            Self::NoHandler { on, vector } => {
                write!(f, "{} has no handler for interrupt {vector:#x}", Place(*on))
            }
            Self::Storm { on, vector } => {
                write!(
                    f,
                    "{} gets no further for interrupt {vector:#x}: its handler leaves the upcall pending",
                    Place(*on)
                )
            }
            Self::NoProgram { on } => {
                write!(f, "{} was brought up and has no program: see `Guest::prepare`", Place(*on))
            }
            Self::Crashed { on, why } => {
                write!(f, "{} made Xen destroy its domain: {why}", Place(*on))
            }
            Self::Host(message) => write!(f, "the computer refused: {message}"),
        }
    }
}

/// A vCPU as texts name it.
pub(super) struct Place(pub(super) (Domid, VcpuId));

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((domain, vcpu)) = self;
        write!(f, "domain {domain}, vCPU {vcpu}")
    }
}
