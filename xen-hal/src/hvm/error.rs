//! The errors of HVM parameters, and the parameters that Xen has removed.

use xen_pac::hvm::HvmParam;

use crate::hypercall::Errno;
use crate::version::CommandError;

/// A parameter was not read or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// Current releases refuse the parameter for every caller and value. No hypercall was made.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// Only later releases have the parameter.
    #[error("HVM parameter {error}")]
    Unsupported {
        /// The parameter.
        parameter: HvmParam,
        /// A [`CommandError::Release`], with the parameter's name.
        error: CommandError,
    },
    /// Xen refused.
    #[error("Xen refused access to HVM parameter {parameter}: {errno}")]
    Refused {
        /// The parameter.
        parameter: HvmParam,
        /// Xen's reason.
        errno: Errno,
    },
    /// The parameter has a value that its type does not have.
    #[error("HVM parameter {parameter} has the unknown value {value:#x}")]
    Unknown {
        /// The parameter.
        parameter: HvmParam,
        /// The value that Xen returned.
        value: u64,
    },
}

impl ParameterError {
    /// Returns the parameter.
    #[must_use]
    pub const fn parameter(self) -> HvmParam {
        match self {
            Self::Removed(removed) => removed.parameter,
            Self::Unsupported { parameter, .. }
            | Self::Refused { parameter, .. }
            | Self::Unknown { parameter, .. } => parameter,
        }
    }

    /// Returns Xen's error, if Xen refused; `None` if Xen was not asked.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Unsupported { error, .. } => error.errno(),
            Self::Refused { errno, .. } => Some(errno),
            Self::Removed(_) | Self::Unknown { .. } => None,
        }
    }
}

/// A parameter that current releases refuse, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HVM parameter {parameter} is removed: {reason}")]
pub struct Removed {
    parameter: HvmParam,
    reason: &'static str,
}

impl Removed {
    /// Returns the parameter.
    #[must_use]
    pub const fn parameter(self) -> HvmParam {
        self.parameter
    }

    /// Returns what replaced the parameter.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.reason
    }
}

const MONITOR: &str = "a monitor subscribes to register changes by a separate domctl";
const ALWAYS_PAE: &str = "every domain may use physical address extension";
const IOREQ_SERVERS: &str =
    "device models register as ioreq servers, each with its own pages and channels";
const AT_CREATION: &str = "a flag at the domain's creation allows nested virtualisation";

/// The parameters that Xen refuses with `EINVAL` since 4.15, also for reading. The description
/// keeps their names, each with the last release that has it.
#[expect(deprecated, reason = "the headers dropped exactly these")]
const REMOVED: &[(HvmParam, &str)] = &[
    (HvmParam::PAE_ENABLED, ALWAYS_PAE),
    (HvmParam::DM_DOMAIN, IOREQ_SERVERS),
    (HvmParam::BUFIOREQ_EVTCHN, IOREQ_SERVERS),
    (HvmParam::NESTEDHVM, AT_CREATION),
    (HvmParam::MEMORY_EVENT_CR0, MONITOR),
    (HvmParam::MEMORY_EVENT_CR3, MONITOR),
    (HvmParam::MEMORY_EVENT_CR4, MONITOR),
    (HvmParam::MEMORY_EVENT_INT3, MONITOR),
    (HvmParam::MEMORY_EVENT_SINGLE_STEP, MONITOR),
    (HvmParam::MEMORY_EVENT_MSR, MONITOR),
];

/// Refuses a parameter that Xen has removed.
pub(super) fn check(parameter: HvmParam) -> Result<(), Removed> {
    match REMOVED.iter().find(|(removed, _)| *removed == parameter) {
        Some((parameter, reason)) => Err(Removed { parameter: *parameter, reason }),
        None => Ok(()),
    }
}

/// Returns whether Xen 4.15 and later refuse to read and to write the parameter. The answer comes
/// from a fixed list, not from the running Xen.
#[must_use]
pub fn is_removed(parameter: HvmParam) -> bool {
    check(parameter).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::string::{String, ToString};

    /// Returns the parameters' numbers by the names of the headers, and whether the newest headers
    /// still have the name.
    fn measured() -> BTreeMap<String, (u32, bool)> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../abi-yaml/facts/constants.txt");
        let facts = std::fs::read_to_string(file).expect("the facts are there");
        let parameters = facts.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("HVM_PARAM_")?.split_once(' ')?;
            let (value, releases) = rest.split_once(" @ ").unwrap_or((rest, "4.4-"));
            let in_newest = releases.ends_with('-') || !releases.contains('-');
            Some((name.to_string(), (value.parse().ok()?, in_newest)))
        });
        // These name parts of the value of `CALLBACK_IRQ`.
        parameters.filter(|(name, _)| !name.starts_with("CALLBACK_TYPE_")).collect()
    }

    #[test]
    fn those_are_refused_whose_numbers_the_newest_headers_dropped() {
        let parameters = measured();
        assert!(parameters.len() > 30, "{parameters:?}");
        let current: BTreeSet<u32> = parameters
            .values()
            .filter(|(_, in_newest)| *in_newest)
            .map(|(number, _)| *number)
            .collect();
        let dropped: BTreeSet<u32> = parameters
            .values()
            .map(|(number, _)| *number)
            .filter(|number| !current.contains(number))
            .collect();
        let refused: BTreeSet<u32> =
            (0..1000).filter(|number| check(HvmParam(*number)).is_err()).collect();
        assert_eq!(refused, dropped);
    }

    #[test]
    fn the_reason_is_shown() {
        let removed = check(HvmParam(24)).unwrap_err();
        assert_eq!(
            removed.to_string(),
            std::format!("HVM parameter NESTEDHVM is removed: {AT_CREATION}")
        );
    }
}
