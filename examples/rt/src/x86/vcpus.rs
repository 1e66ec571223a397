//! Secondary vCPUs.

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::Vcpu;

pub use super::descriptors::current;
use super::entry;
use crate::secondary;
pub use crate::secondary::Current;

/// Starts a vCPU, which runs `main` with interrupts off and then stops.
///
/// # Errors
///
/// Xen's error if the vCPU does not exist or was already started. [`Errno::ENOENT`] for a vCPU that
/// is not below [`MAX_VCPUS`](crate::MAX_VCPUS).
pub fn start(xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    secondary::start(vcpu, main, |stack| {
        let state = entry::secondary_state(stack, vcpu);
        let vcpu = Vcpu::new(xen, vcpu);
        // SAFETY: the state leads to `secondary` on a stack that nothing else uses, in the calling
        // vCPU's mode and memory map.
        unsafe { vcpu.initialise(&state) }
            .map_err(|error| error.errno().unwrap_or(Errno::EINVAL))?;
        vcpu.up()
    })
}
