//! What a guest can run on: an architecture, a way to become a guest there, and a release of Xen.

use std::fmt;

use crate::diagnostic::nearest;

/// An architecture of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// x86 in 64-bit mode.
    X8664,
    /// x86 in 32-bit mode.
    X86,
    /// Arm in 64-bit mode.
    Aarch64,
}

/// A way to become a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// The guest is dom0, PVH, in QEMU on an AMD processor.
    Dom0,
    /// The guest is dom0, PVH, in Bochs on an Intel processor with VMX.
    Vmx,
    /// The guest is a domain that `xl` creates in a Linux dom0, in QEMU: PVH on x86.
    Domu,
    /// The guest is a domain that Xen creates at boot, without dom0, in QEMU.
    Dom0less,
}

/// A row of the proof matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// The architecture.
    pub arch: Arch,
    /// The way.
    pub route: Route,
    /// The release of Xen.
    pub release: &'static str,
}

const fn platform(arch: Arch, route: Route, release: &'static str) -> Platform {
    Platform { arch, route, release }
}

/// All platforms. The first is the default.
pub const PLATFORMS: &[Platform] = &[
    platform(Arch::X8664, Route::Dom0, "4.17"),
    platform(Arch::X8664, Route::Dom0, "4.20"),
    platform(Arch::X8664, Route::Vmx, "4.17"),
    platform(Arch::X8664, Route::Vmx, "4.20"),
    platform(Arch::X8664, Route::Domu, "4.17"),
    platform(Arch::X8664, Route::Domu, "4.20"),
    platform(Arch::X86, Route::Dom0, "4.17"),
    platform(Arch::X86, Route::Dom0, "4.20"),
    platform(Arch::X86, Route::Vmx, "4.17"),
    platform(Arch::X86, Route::Vmx, "4.20"),
    platform(Arch::X86, Route::Domu, "4.17"),
    platform(Arch::X86, Route::Domu, "4.20"),
    platform(Arch::Aarch64, Route::Domu, "4.17"),
    platform(Arch::Aarch64, Route::Dom0less, "4.17"),
];

impl Arch {
    /// Returns the name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X8664 => "x86_64",
            Self::X86 => "x86",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl Route {
    /// Returns the name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dom0 => "dom0",
            Self::Vmx => "vmx",
            Self::Domu => "domu",
            Self::Dom0less => "dom0less",
        }
    }

    /// What the guest is there.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Dom0 => "dom0, PVH, on an AMD processor in QEMU",
            Self::Vmx => "dom0, PVH, on an Intel processor in Bochs",
            Self::Domu => "an unprivileged domain that xl creates in a Linux dom0, in QEMU",
            Self::Dom0less => "an unprivileged domain that Xen creates at boot, in QEMU",
        }
    }
}

impl Platform {
    /// Returns whether the matrix of all platforms leaves it out. A boot in Bochs takes three times
    /// as long as one in QEMU, and the matrix has the later release on the AMD processor.
    #[must_use]
    pub fn is_only_by_name(self) -> bool {
        self.route == Route::Vmx && self.release != "4.17"
    }
}

impl fmt::Display for Platform {
    /// Returns the name of the folder with the platform's transcripts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.arch.name(), self.route.name(), self.release)
    }
}

/// Returns the platforms that fit what was asked for.
///
/// # Errors
///
/// Names what is unknown, with the nearest known name, or the platforms that there are.
pub fn choose(
    arch: Option<&str>,
    route: Option<&str>,
    release: Option<&str>,
) -> Result<Vec<Platform>, String> {
    known("architecture", arch, |platform| platform.arch.name())?;
    known("route", route, |platform| platform.route.name())?;
    known("release", release, |platform| platform.release)?;
    let fits = |asked: Option<&str>, is: &str| asked.is_none_or(|asked| asked == is);
    let chosen: Vec<Platform> = PLATFORMS
        .iter()
        .filter(|platform| fits(arch, platform.arch.name()))
        .filter(|platform| fits(route, platform.route.name()))
        .filter(|platform| fits(release, platform.release))
        .copied()
        .collect();
    if chosen.is_empty() {
        let all: Vec<String> = PLATFORMS.iter().map(Platform::to_string).collect();
        return Err(format!("no platform fits; there are {}", all.join(", ")));
    }
    Ok(chosen)
}

/// Refuses a name that no platform has.
fn known(
    kind: &str,
    asked: Option<&str>,
    name: impl Fn(&Platform) -> &'static str,
) -> Result<(), String> {
    let Some(asked) = asked else { return Ok(()) };
    let mut names: Vec<&str> = PLATFORMS.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&asked) {
        return Ok(());
    }
    Err(match nearest(asked, names.iter().copied()) {
        Some(meant) => format!("unknown {kind} `{asked}`; did you mean `{meant}`?"),
        None => format!("unknown {kind} `{asked}`; expected one of {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::{PLATFORMS, choose};

    #[test]
    fn a_platform_is_found_by_any_part_of_its_name() {
        assert_eq!(choose(None, None, None).unwrap(), PLATFORMS);
        assert_eq!(choose(Some("x86_64"), Some("dom0"), Some("4.17")).unwrap(), [PLATFORMS[0]]);
        let vmx = choose(None, Some("vmx"), None).unwrap();
        assert!(!vmx.is_empty() && vmx.iter().all(|platform| platform.route.name() == "vmx"));
    }

    #[test]
    fn a_refusal_names_what_was_meant_or_what_there_is() {
        let cases = [
            (Some("x86-64"), None, "did you mean `x86_64`?"),
            (None, Some("dom0les"), "did you mean `dom0less`?"),
            (None, Some("kvm"), "expected one of dom0, dom0less, domu, vmx"),
            (Some("aarch64"), Some("vmx"), "no platform fits; there are x86_64-dom0-4.17"),
        ];
        for (arch, route, expected) in cases {
            let why = choose(arch, route, None).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
