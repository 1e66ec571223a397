//! The scenarios, a file each.

mod callbacks;
mod clock;
mod console;
mod event_kinds;
mod event_masks;
mod event_refusals;
mod grant;
mod grant_refusals;
mod grant_versions;
mod hvm_params;
mod hvm_typed;
mod ipi;
mod memory;
mod own_grants;
mod runstate;
mod sched;
mod shared_info;
mod timer;
mod upcall_edge;
mod upcall_vector;
mod vcpu;
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
        "callbacks" => callbacks::run,
        "clock" => clock::run,
        "console" => console::run,
        "event-kinds" => event_kinds::run,
        "event-masks" => event_masks::run,
        "event-refusals" => event_refusals::run,
        "grant" => grant::run,
        "grant-refusals" => grant_refusals::run,
        "grant-versions" => grant_versions::run,
        "hvm-params" => hvm_params::run,
        "hvm-typed" => hvm_typed::run,
        "ipi" => ipi::run,
        "memory" => memory::run,
        "runstate" => runstate::run,
        "sched" => sched::run,
        "shared-info" => shared_info::run,
        "timer" => timer::run,
        "upcall-edge" => upcall_edge::run,
        "upcall-vector" => upcall_vector::run,
        "vcpu" => vcpu::run,
        "version" => version::run,
        _ => return Err(Failure::Unknown),
    };
    scenario(machine, transcript)
}
