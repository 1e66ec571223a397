//! What `xen-hal` reads that somebody else wrote, as targets for coverage-guided fuzzing.
//!
//! A target is a function of bytes, in a module of its own, that panics when the HAL does what it
//! must not. The binaries in `fuzz_targets` give them to libFuzzer.

pub mod answers;
pub mod bytes;
pub mod clock;
pub mod dispatch;
mod hook;
mod input;
mod pages;
pub mod revoke;
#[cfg(test)]
mod tests;

use std::process;

use xen_hal::planted::{Bug, plant};

/// Names the mistake that the HAL is to make, for the target to find.
pub const PLANTED: &str = "XEN_HAL_PLANTED";

/// How a target ends that was told of a mistake which does not exist: not as a crash ends, which
/// would pass for having found it.
const NO_SUCH_BUG: i32 = 2;

/// To be called before a target's first run: plants the mistake that the environment names.
pub fn prepare() {
    let Ok(name) = std::env::var(PLANTED) else { return };
    let Some(bug) = Bug::named(&name) else {
        eprintln!("{PLANTED}: there is no mistake `{name}`; there are {:?}", Bug::ALL);
        process::exit(NO_SUCH_BUG);
    };
    plant(Some(bug));
}
