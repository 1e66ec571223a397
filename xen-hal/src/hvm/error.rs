//! Why a parameter is not read or set.

use core::fmt;

use xen_pac::hvm::HvmParam;

use crate::hypercall::Errno;

/// A parameter was not read or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterError {
    /// The parameter is refused by current releases, whatever the caller and the value. Xen was not
    /// asked.
    Removed(Removed),
    /// Xen's refusal.
    Refused {
        /// The parameter.
        parameter: HvmParam,
        /// Xen's reason.
        errno: Errno,
    },
    /// The parameter was read, and holds a value that its type does not have.
    Unknown {
        /// The parameter.
        parameter: HvmParam,
        /// The value, as Xen gave it.
        value: u64,
    },
}

impl ParameterError {
    /// The parameter in question.
    #[must_use]
    pub const fn parameter(self) -> HvmParam {
        match self {
            Self::Removed(removed) => removed.parameter,
            Self::Refused { parameter, .. } | Self::Unknown { parameter, .. } => parameter,
        }
    }

    /// Xen's answer, if it was asked and refused; for a removed parameter the one that it would
    /// have given.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Removed(_) => Some(Errno::EINVAL),
            Self::Refused { errno, .. } => Some(errno),
            Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(removed) => removed.fmt(f),
            Self::Refused { parameter, errno } => {
                write!(f, "Xen refused access to HVM parameter {parameter}: {errno}")
            }
            Self::Unknown { parameter, value } => {
                write!(f, "HVM parameter {parameter} holds {value:#x}, which is none of its values")
            }
        }
    }
}

impl core::error::Error for ParameterError {}

impl From<Removed> for ParameterError {
    fn from(removed: Removed) -> Self {
        Self::Removed(removed)
    }
}

/// A parameter that current releases refuse, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub(super) parameter: HvmParam,
    pub(super) reason: &'static str,
}

impl Removed {
    /// The parameter.
    #[must_use]
    pub const fn parameter(self) -> HvmParam {
        self.parameter
    }

    /// What became of that which it was for.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HVM parameter {} is removed: {}", self.parameter, self.reason)
    }
}

impl core::error::Error for Removed {}
