//! The platforms that the simulator has a profile of, and running a program there.

use std::sync::{Arc, Mutex};

use conformance::Failure;
use xen_pac::release::Release;
use xen_sim::{Arch, DomainConfig, FaultRates, Machine, Profile, Role};

use crate::machine::Simulated;

/// The simulator's profile of a platform, by the platform's name: that of the same width, where the
/// name's is another.
pub(crate) fn of(name: &str) -> Option<Profile> {
    let mut parts = name.split('-');
    let (arch, route, release) = (parts.next()?, parts.next()?, parts.next()?);
    let profile = match (arch, route) {
        ("x86_64" | "x86", "dom0" | "vmx") => Profile::DOM0,
        ("x86_64" | "x86", "domu") => Profile::DOMU,
        ("aarch64", "dom0less") => Profile::DOM0LESS,
        _ => return None,
    };
    let (major, minor) = release.split_once('.')?;
    Some(Profile { release: Release::new(major.parse().ok()?, minor.parse().ok()?), ..profile })
}

/// The words of a random program's plan that describe a platform's guests.
pub(crate) fn words(platform: &str) -> &'static str {
    match platform.split('-').next() {
        Some("x86") => "bits=32",
        Some("aarch64") => "arm=1",
        _ => "",
    }
}

/// Runs a program, and returns the lines that it printed, and why it failed.
pub(crate) fn run(
    on: &Profile,
    seed: u64,
    rates: FaultRates,
    program: impl FnOnce(Simulated) -> Result<(), Failure> + Send + 'static,
) -> (Vec<String>, Option<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let mut machine =
        Machine::new(*on, seed).expect("there is memory for a machine").fault_rates(rates);
    let is_arm = on.arch == Arch::Aarch64;
    let config = if on.role == Role::Guest { DomainConfig::domu() } else { DomainConfig::new() };
    let program = move |guest| program(Simulated::new(guest, is_arm, told));
    machine.domain(config.vcpus(2), program).expect("there is memory for a domain");
    let failure = machine.run().err().map(|failure| failure.to_string());
    let lines = lines.lock().expect("no line is being told any more").clone();
    (lines, failure)
}
