//! A guest that echoes what is typed on the console of a simulated control domain.

#[path = "support/dom0.rs"]
mod dom0;

use std::process::ExitCode;

fn main() -> ExitCode {
    dom0::run([], "quit\n", |_, console| programs::echo(console))
}
