//! Secondary vCPUs, started by PSCI.

use core::arch::asm;

use smccc::psci;
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;

use crate::secondary;
pub use crate::secondary::Current;

unsafe extern "C" {
    fn secondary_entry();
}

/// Returns the number of the calling vCPU: Xen numbers a guest's first 16 vCPUs by the lowest
/// affinity.
#[must_use]
pub fn current() -> VcpuId {
    let affinity: u64;
    // SAFETY: reading the register changes nothing.
    unsafe {
        asm!("mrs {}, mpidr_el1", out(reg) affinity, options(nomem, nostack, preserves_flags));
    };
    VcpuId(affinity as u32 & 0xff)
}

/// Starts a vCPU, which runs `main` with interrupts off and then stops.
///
/// # Errors
///
/// [`Errno::ENOENT`] for a vCPU that does not exist or is not below
/// [`MAX_VCPUS`](crate::MAX_VCPUS), [`Errno::EEXIST`] for one that was already started.
pub fn start(_xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    let entry = secondary_entry as *const () as u64;
    secondary::start(vcpu, main, |stack| {
        let started = psci::cpu_on::<smccc::Hvc>(vcpu.0.into(), entry, stack as u64);
        started.map_err(|error| match error {
            psci::error::Error::AlreadyOn | psci::error::Error::OnPending => Errno::EEXIST,
            _ => Errno::ENOENT,
        })
    })
}
