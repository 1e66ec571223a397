//! Secondary vCPUs.

use core::arch::asm;
use core::hint::spin_loop;

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::Vcpu;

pub use super::descriptors::current;
use super::entry;
use crate::secondary;
pub use crate::secondary::Current;

/// Starts a vCPU, which runs `main` with interrupts off and then goes down. It can be started again
/// then, also after a restore, of which it must be down: Xen saves nothing of a vCPU that is down.
///
/// # Errors
///
/// Xen's error if the vCPU does not exist. [`Errno::EEXIST`] if it still runs its main function.
/// [`Errno::ENOENT`] for a vCPU that is not below [`MAX_VCPUS`](crate::MAX_VCPUS).
pub fn start(xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    secondary::start(vcpu, main, |stack| {
        let state = entry::secondary_state(stack, vcpu);
        let vcpu = Vcpu::new(xen, vcpu);
        // SAFETY: the state leads to `secondary` on a stack that nothing else uses, in the calling
        // vCPU's mode and memory map.
        match unsafe { vcpu.initialise(&state) }.map_err(|error| error.errno()) {
            Ok(()) => {}
            // It ran before, and is down or about to be.
            Err(Some(Errno::EEXIST)) => {
                while vcpu.is_up()? {
                    spin_loop();
                }
            }
            Err(errno) => return Err(errno.unwrap_or(Errno::EINVAL)),
        }
        vcpu.up()
    })
}

/// Takes the calling vCPU down after the end of its main function. Returns when it is started
/// again.
pub(super) fn rest(vcpu: VcpuId) {
    // SAFETY: the instruction touches no memory. The compiler moves no access across it.
    unsafe { asm!("cli", options(nostack)) };
    secondary::end(vcpu);
    if Vcpu::new(super::backend(), vcpu).down().is_err() {
        super::stop();
    }
}
