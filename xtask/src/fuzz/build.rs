//! Building the targets as programs that libFuzzer drives.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::known;

/// What makes the compiler count which code an input reaches and note what it compares: the flags
/// that cargo-fuzz passes, of which none needs a nightly toolchain.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Builds all targets below `folder`, and says where the programs are.
///
/// # Errors
///
/// Says what is missing or went wrong.
pub fn build(root: &Path, folder: &Path) -> Result<PathBuf, String> {
    if known::GXX.find().is_none() {
        return Err(known::GXX.missing());
    }
    let host = host()?;
    // With a target named, build scripts are not among what is counted.
    let status = cargo()
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--bins",
            "--target",
            &host,
            "--target-dir",
        ])
        .arg(folder)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root.join("xen-hal/fuzz"))
        .status()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if status.success() {
        Ok(folder.join(host).join("release"))
    } else {
        Err("the fuzz targets cannot be built".to_owned())
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The target for which programs of this machine are built.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(&rustc)
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc could not be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    told.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc does not name its host".to_owned())
}
