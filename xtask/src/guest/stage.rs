//! Laying out a run's folder: the emulator splits the names of its files at commas and spaces, so
//! they get plain ones here, and it is started inside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::program::Program;
use super::unpack::unpack;

/// The unpacked hypervisor's name in a run's folder.
pub const HYPERVISOR: &str = "xen.elf";
/// The guest's name in a run's folder.
pub const GUEST: &str = "guest.elf";
/// The console's name in a run's folder, for each of several runs another.
#[must_use]
pub fn log(round: Option<u32>) -> String {
    round.map_or_else(|| "console.log".to_owned(), |round| format!("console-{round}.log"))
}

/// Puts what the program's run needs into a folder of its own below `runs`, and says which.
///
/// # Errors
///
/// A sentence that names the file that could not be read or written.
pub fn stage(
    runs: &Path,
    program: &Program,
    hypervisor: &Path,
    guest: &Path,
) -> Result<PathBuf, String> {
    let run = runs.join(program.name);
    let explain = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(&run).map_err(explain(&run))?;
    unpack(hypervisor, &runs.join(HYPERVISOR)).map_err(explain(hypervisor))?;
    fs::copy(guest, run.join(GUEST)).map_err(explain(guest))?;
    Ok(run)
}
