//! The scenarios, a file each.

#[cfg(not(target_arch = "x86"))]
mod arm_events;
#[cfg(not(target_arch = "x86"))]
mod arm_memory;
#[cfg(not(target_arch = "x86"))]
mod arm_vcpus;
#[cfg(not(target_arch = "aarch64"))]
mod callbacks;
mod clock;
mod common;
mod console;
mod event_kinds;
mod event_masks;
mod event_refusals;
mod grant;
mod grant_refusals;
mod grant_versions;
#[cfg(not(target_arch = "aarch64"))]
mod hvm_params;
mod hvm_typed;
mod ipi;
mod memory;
#[cfg(not(target_arch = "aarch64"))]
mod runstate;
mod sched;
mod shared_info;
mod timer;
#[cfg(not(target_arch = "aarch64"))]
mod upcall_edge;
#[cfg(not(target_arch = "aarch64"))]
mod upcall_vector;
#[cfg(not(target_arch = "aarch64"))]
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
        "callbacks" => callbacks::run,
        "clock" => clock::run,
        "console" => console::run,
        "event-kinds" => event_kinds::run,
        "event-masks" => event_masks::run,
        "event-refusals" => event_refusals::run,
        "grant" => grant::run,
        "grant-refusals" => grant_refusals::run,
        "grant-versions" => grant_versions::run,
        #[cfg(not(target_arch = "aarch64"))]
        "hvm-params" => hvm_params::run,
        "hvm-typed" => hvm_typed::run,
        "ipi" => ipi::run,
        "memory" => memory::run,
        #[cfg(not(target_arch = "aarch64"))]
        "runstate" => runstate::run,
        "sched" => sched::run,
        "shared-info" => shared_info::run,
        "timer" => timer::run,
        #[cfg(not(target_arch = "aarch64"))]
        "upcall-edge" => upcall_edge::run,
        #[cfg(not(target_arch = "aarch64"))]
        "upcall-vector" => upcall_vector::run,
        #[cfg(not(target_arch = "aarch64"))]
        "vcpu" => vcpu::run,
        "version" => version::run,
        _ => return Err(Failure::Unknown),
    };
    scenario(machine, transcript)
}
