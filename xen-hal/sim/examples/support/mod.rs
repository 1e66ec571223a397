//! What the programs have in common: the seed, the end, and the page that each domain shares with
//! Xen. Each program is in `src/bin/`, and shows one thing.

use std::error::Error;
use std::process::ExitCode;

use xen_hal::Xen;
use xen_hal::memory::WidthLatch;
use xen_pac::shared_info::SharedInfo;
use xen_sim::Guest;

/// Whatever went wrong.
pub(crate) type Problem = Box<dyn Error>;

/// Runs a program with the seed that the first argument names, 1 if there is none, and says what it
/// has shown.
#[must_use]
pub(crate) fn show(program: impl FnOnce(u64) -> Result<(), Problem>, shown: &str) -> ExitCode {
    match seed().and_then(program) {
        Ok(()) => {
            println!("shown: {shown}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("not as it should be: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn seed() -> Result<u64, Problem> {
    let seed = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|error| format!("a seed is a number, and not {text:?}: {error}"))?,
        None => 1,
    };
    println!("seed {seed}");
    Ok(seed)
}

/// Lets the page that the domain shares with Xen appear in place of its page 0, which the program
/// must not use otherwise.
///
/// # Errors
///
/// Xen's.
#[allow(dead_code, reason = "not every example maps the page")]
pub(crate) fn shared_page(guest: Guest, latch: WidthLatch) -> Result<SharedInfo<'static>, Problem> {
    // SAFETY: nothing is kept in page 0, and the page is there as long as any program of the
    // machine's runs.
    Ok(unsafe {
        Xen::new(guest.xen()).memory().map_shared_info(&guest.space(), guest.page(0).cast(), latch)
    }?)
}
