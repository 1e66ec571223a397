//! Building a guest program: its package is a workspace of its own, because it is built for another
//! machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::Program;

/// Builds the program for `target`, and says where it is. Files go into `folder`, apart from the
/// host's.
///
/// # Errors
///
/// A sentence, when cargo cannot be run or reports an error (which it has shown by then).
pub fn build(
    workspace: &Path,
    program: &Program,
    target: &str,
    folder: &Path,
) -> Result<PathBuf, String> {
    let status = Command::new("cargo")
        .current_dir(workspace.join("examples/guests"))
        .args(["build", "--quiet", "--bin", program.binary, "--target", target, "--target-dir"])
        .arg(folder)
        // Flags meant for the host's programs would replace those that the package has for its own.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if status.success() {
        Ok(folder.join(target).join("debug").join(program.binary))
    } else {
        Err(format!("{} does not build", program.binary))
    }
}
