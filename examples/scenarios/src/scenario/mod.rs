//! The scenarios, a file each.

mod event_kinds;
mod event_masks;
mod event_refusals;
mod ipi;
mod shared_info;
mod version;

use crate::{Failure, Machine, Transcript};

/// Runs a scenario of the [list](crate::list::SCENARIOS) as the first thing that a domain does.
///
/// # Errors
///
/// When it could not go on; what it told until then stays told.
pub fn run<M: Machine>(name: &str, machine: &M) -> Result<(), Failure> {
    let sink = |line: core::fmt::Arguments<'_>| machine.tell(line);
    let transcript = &Transcript::new(&sink);
    let scenario = match name {
        "event-kinds" => event_kinds::run,
        "event-masks" => event_masks::run,
        "event-refusals" => event_refusals::run,
        "ipi" => ipi::run,
        "shared-info" => shared_info::run,
        "version" => version::run,
        _ => return Err(Failure::Unknown),
    };
    scenario(machine, transcript)
}
