//! Fetching what the steps need, where the machine is a Debian and we may.

use std::collections::BTreeSet;
use std::process::Command;

use super::Step;
use crate::tools::find_program;

/// Installs the packages of all missing tools.
///
/// # Errors
///
/// Says what stands in the way: no apt, or an install that failed. Steps whose tools are missing
/// are then skipped or failed as ever.
pub fn install_missing(steps: &[Step]) -> Result<(), String> {
    let packages: BTreeSet<&str> = steps
        .iter()
        .flat_map(|step| &step.needs)
        .filter(|tool| tool.find().is_none())
        .filter_map(|tool| tool.package)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let line = packages.iter().copied().collect::<Vec<_>>().join(" ");
    if find_program("apt-get").is_none() {
        return Err(format!("there is no apt-get to install {line} with"));
    }
    println!("==> installing {line}");
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    apt(&install)
}

fn apt(args: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(format!("`apt-get {}` ended with {status}; it must run as root", args.join(" ")))
        }
        Err(error) => Err(format!("`apt-get {}` could not be started: {error}", args.join(" "))),
    }
}
