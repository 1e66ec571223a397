//! What the examples share: the seed, the exit code, and the mapping of `shared_info`.

use std::error::Error;
use std::process::ExitCode;

use xen_hal::memory::WidthLatch;
use xen_pac::shared_info::SharedInfo;
use xen_sim::{Guest, Hypervisor};

/// Any error.
pub(crate) type Problem = Box<dyn Error>;

/// Runs a program with the seed that is the first argument, 1 by default, and prints what it has
/// shown.
#[must_use]
pub(crate) fn show(program: impl FnOnce(u64) -> Result<(), Problem>, shown: &str) -> ExitCode {
    match seed().and_then(program) {
        Ok(()) => {
            println!("shown: {shown}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn seed() -> Result<u64, Problem> {
    let seed = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|error| format!("expected a u64 as the seed, found `{text}`: {error}"))?,
        None => 1,
    };
    println!("seed {seed}");
    Ok(seed)
}

/// Maps `shared_info` in place of page 0, which the program must not use otherwise.
///
/// # Errors
///
/// Xen's.
#[allow(dead_code, reason = "not every example maps the page")]
pub(crate) fn shared_page(
    guest: Guest,
    latch: WidthLatch<Hypervisor>,
) -> Result<SharedInfo<'static>, Problem> {
    // SAFETY: nothing is kept in page 0, and the page exists as long as the machine runs.
    Ok(unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?)
}
