//! Measures the number of hypercalls per second of the simulator.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::tools::find_program;

/// Builds the measuring program, and runs it on one processor.
///
/// # Errors
///
/// What is missing or failed.
pub fn sim(root: &Path) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--package", "xen-sim", "--example", "rate"]);
    build.current_dir(root).env_remove("CARGO_TARGET_DIR");
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("`cargo build` failed for xen-sim's example rate".to_owned());
    }
    let taskset = find_program("taskset")
        .ok_or("there is no `taskset`, of util-linux, to keep the program on one processor")?;
    let mut rate = Command::new(taskset);
    rate.args(["--cpu-list", "0", "target/release/examples/rate"])
        .current_dir(root)
        .stderr(Stdio::inherit());
    let output = rate.output().map_err(|error| format!("taskset could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("the program ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
