//! What starting a guest takes, and where it is on this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{self, Tool, find_program};

/// Names the variable that points to another emulator.
pub const QEMU_VARIABLE: &str = "XEN_GUEST_QEMU";
/// Names the variable that points to another hypervisor image, packed with gzip or not.
pub const HYPERVISOR_VARIABLE: &str = "XEN_GUEST_HYPERVISOR";
/// Names the variable that chooses another target to build guests for.
pub const TARGET_VARIABLE: &str = "XEN_GUEST_TARGET";

/// The targets that a guest for x86_64 can be built for, the best first: a bare-metal one, and the
/// hosted one that every x86_64 Linux toolchain has.
const TARGETS: [&str; 2] = ["x86_64-unknown-none", HOSTED];
const HOSTED: &str = "x86_64-unknown-linux-gnu";

/// Everything that a run needs from the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    /// The emulator.
    pub qemu: PathBuf,
    /// The hypervisor's image, as installed.
    pub hypervisor: PathBuf,
    /// The target to build the guest for.
    pub target: String,
}

impl fmt::Display for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {}, guest built for {}",
            self.hypervisor.display(),
            self.qemu.display(),
            self.target
        )
    }
}

/// What is missing, a sentence for each thing, with the command that brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.join("\n"))
    }
}

/// Finds everything, or says all that is missing.
///
/// # Errors
///
/// One sentence for each thing that is not here.
pub fn kit() -> Result<Kit, Missing> {
    let qemu = program(tools::QEMU_X86, QEMU_VARIABLE);
    let hypervisor = program(tools::XEN_AMD64, HYPERVISOR_VARIABLE);
    let target = target();
    match (qemu, hypervisor, target) {
        (Ok(qemu), Ok(hypervisor), Ok(target)) => Ok(Kit { qemu, hypervisor, target }),
        (qemu, hypervisor, target) => Err(Missing(
            [qemu.err(), hypervisor.err(), target.err()].into_iter().flatten().collect(),
        )),
    }
}

/// The place that the variable names, else where the tool is by itself.
fn program(tool: Tool, variable: &str) -> Result<PathBuf, String> {
    match std::env::var_os(variable) {
        Some(chosen) => chosen_file(variable, Path::new(&chosen)),
        None => tool.find().ok_or_else(|| tool.missing()),
    }
}

/// A file by its path, or by a name on the search path.
fn chosen_file(variable: &str, chosen: &Path) -> Result<PathBuf, String> {
    let found = if chosen.is_file() {
        Some(chosen.to_owned())
    } else {
        chosen.to_str().and_then(find_program)
    };
    found.ok_or_else(|| format!("{variable} names {}, which is no file", chosen.display()))
}

/// The target that the variable names, else the best of those that are installed.
fn target() -> Result<String, String> {
    let chosen = match std::env::var(TARGET_VARIABLE) {
        Ok(chosen) => chosen,
        Err(_) => installed_target(&sysroot()?)?.to_owned(),
    };
    // The hosted target links through the C compiler.
    if chosen == HOSTED && tools::GCC.find().is_none() {
        Err(tools::GCC.missing())
    } else {
        Ok(chosen)
    }
}

fn installed_target(sysroot: &Path) -> Result<&'static str, String> {
    let installed = |target: &&str| sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
    TARGETS.into_iter().find(|target| installed(target)).ok_or_else(|| {
        format!("no target to build guests for; `rustup target add {}` brings one", TARGETS[0])
    })
}

fn sysroot() -> Result<PathBuf, String> {
    let answer = Command::new("rustc").args(["--print", "sysroot"]).output();
    let answer = answer
        .map_err(|error| format!("rustc cannot be run ({error}); https://rustup.rs brings it"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim()))
}

#[cfg(test)]
mod tests {
    use super::{chosen_file, installed_target};
    use std::path::Path;

    #[test]
    fn the_bare_metal_target_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        assert!(installed_target(folder.path()).unwrap_err().contains("rustup target add"));
        std::fs::create_dir_all(folder.path().join("lib/rustlib/x86_64-unknown-linux-gnu/lib"))
            .unwrap();
        assert_eq!(installed_target(folder.path()), Ok("x86_64-unknown-linux-gnu"));
        std::fs::create_dir_all(folder.path().join("lib/rustlib/x86_64-unknown-none/lib")).unwrap();
        assert_eq!(installed_target(folder.path()), Ok("x86_64-unknown-none"));
    }

    #[test]
    fn a_variable_that_points_nowhere_is_named() {
        let error = chosen_file("XEN_GUEST_QEMU", Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.contains("XEN_GUEST_QEMU") && error.contains("/nowhere/at/all"), "{error}");
    }
}
