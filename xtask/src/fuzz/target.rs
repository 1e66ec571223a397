//! The fuzz targets.

/// A target, which is a module and a program of `xen-hal/fuzz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// The mistakes that can be planted in the HAL for it to find: variants of
    /// `xen_hal::planted::Bug`.
    pub bugs: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "answers",
        bugs: &[
            "PositiveStatusIsSuccess",
            "MapBelievesItsCount",
            "ExtentsBelieveTheirCount",
            "TextBelievesItsLength",
            "BatchForgetsFailures",
        ],
    },
    Target { name: "bytes", bugs: &["CopyGoesOneBeyond", "CopyForgetsTheTail"] },
    Target { name: "clock", bugs: &["ClockReadsLate", "ElapsedSaturates", "ClampForgets"] },
    Target {
        name: "dispatch",
        bugs: &[
            "DispatchTakesWholeWords",
            "DispatchClearsLate",
            "DispatchForgetsTheLowerPart",
            "BreakForgetsTheRest",
        ],
    },
    Target {
        name: "revoke",
        bugs: &[
            "RevokeInTwoSteps",
            "RevokeIgnoresReaders",
            "RevokeForgetsResumes",
            "DropFreesInUse",
        ],
    },
];

/// The targets of those names; all of them for no name.
///
/// # Errors
///
/// The first name that is no target's.
pub fn choose(names: &[String]) -> Result<Vec<Target>, String> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let named = |name: &String| {
        TARGETS.into_iter().find(|target| target.name == *name).ok_or_else(|| name.clone())
    };
    names.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, choose};
    use crate::commands::workspace_root;
    use std::fs;

    #[test]
    fn an_unknown_target_is_named() {
        assert_eq!(choose(&["clock".to_owned(), "clocks".to_owned()]).unwrap_err(), "clocks");
        assert_eq!(choose(&[]).unwrap().len(), TARGETS.len());
    }

    #[test]
    fn every_program_is_listed() {
        let folder = fs::read_dir(workspace_root().join("xen-hal/fuzz/fuzz_targets")).unwrap();
        let mut programs: Vec<_> = folder
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        programs.sort();
        assert_eq!(programs, TARGETS.map(|target| target.name));
    }
}
