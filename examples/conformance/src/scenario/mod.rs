//! The scenarios, one file for each subject.

#[cfg(not(target_arch = "x86"))]
mod arm_events;
#[cfg(not(target_arch = "x86"))]
mod arm_memory;
#[cfg(not(target_arch = "x86"))]
mod arm_vcpus;
#[cfg(not(target_arch = "x86"))]
pub use arm_vcpus::time_offset;
mod common;
mod event_masks;
mod events;
mod grant;
mod grant_table;
#[cfg(not(target_arch = "aarch64"))]
mod hvm_params;
mod hvm_typed;
mod ipi;
mod memory;
#[cfg(not(target_arch = "aarch64"))]
mod runstate;
mod sched;
mod shared_info;
mod time;
#[cfg(not(target_arch = "aarch64"))]
mod upcalls;
#[cfg(not(target_arch = "aarch64"))]
mod vcpu;
mod version;

use crate::{Failure, Machine, Transcript};

/// Runs a scenario of the [list](crate::list::SCENARIOS) as the first thing that a domain does.
///
/// # Errors
///
/// If the scenario cannot continue. The lines so far stay written.
pub fn run<M: Machine>(name: &str, machine: &M) -> Result<(), Failure> {
    let sink = |line: core::fmt::Arguments<'_>| machine.tell(line);
    let transcript = &Transcript::new(machine.world().find_me(machine)?, &sink);
    let scenario = match name {
        #[cfg(not(target_arch = "x86"))]
        "arm-block" => arm_events::block,
        #[cfg(not(target_arch = "x86"))]
        "arm-clock" => arm_vcpus::clock,
        #[cfg(not(target_arch = "x86"))]
        "arm-edge" => arm_events::edge,
        #[cfg(not(target_arch = "x86"))]
        "arm-events" => arm_events::events,
        #[cfg(not(target_arch = "x86"))]
        "arm-fifo" => arm_events::fifo,
        #[cfg(not(target_arch = "x86"))]
        "arm-grant" => arm_memory::grant,
        #[cfg(not(target_arch = "x86"))]
        "arm-hvm" => arm_vcpus::hvm,
        #[cfg(not(target_arch = "x86"))]
        "arm-limits" => arm_memory::limits,
        #[cfg(not(target_arch = "x86"))]
        "arm-runstate" => arm_vcpus::runstate,
        #[cfg(not(target_arch = "x86"))]
        "arm-shared" => arm_memory::shared,
        #[cfg(not(target_arch = "x86"))]
        "arm-unmap" => arm_memory::unmap,
        #[cfg(not(target_arch = "x86"))]
        "arm-vcpu" => arm_vcpus::vcpu,
        #[cfg(not(target_arch = "aarch64"))]
        "callbacks" => upcalls::callbacks,
        "clock" => time::clocks,
        "console" => version::console,
        "event-kinds" => events::kinds,
        "event-masks" => event_masks::run,
        "event-refusals" => events::refusals,
        "grant" => grant::run,
        "grant-refusals" => grant_table::refusals,
        "grant-versions" => grant_table::versions,
        #[cfg(not(target_arch = "aarch64"))]
        "hvm-params" => hvm_params::run,
        "hvm-typed" => hvm_typed::run,
        "ipi" => ipi::run,
        "memory" => memory::run,
        #[cfg(not(target_arch = "aarch64"))]
        "runstate" => runstate::run,
        "sched" => sched::run,
        "shared-info" => shared_info::run,
        "timer" => time::timers,
        #[cfg(not(target_arch = "aarch64"))]
        "upcall-edge" => upcalls::edge,
        #[cfg(not(target_arch = "aarch64"))]
        "upcall-vector" => upcalls::own_vectors,
        #[cfg(not(target_arch = "aarch64"))]
        "vcpu" => vcpu::run,
        "version" => version::version,
        _ => return Err(Failure::Unknown),
    };
    scenario(machine, transcript)
}
