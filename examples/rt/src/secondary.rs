//! What secondary vCPUs run, and on which stacks.

use core::cell::UnsafeCell;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use xen_hal::hypercall::Errno;
use xen_hal::platform::{CurrentVcpu, VcpuId};

use crate::{MAX_VCPUS, STACK_SIZE, vcpus};

/// The calling vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Current;

// SAFETY: each vCPU has its own register that names it.
unsafe impl CurrentVcpu for Current {
    fn current_vcpu(&self) -> VcpuId {
        vcpus::current()
    }
}

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

struct Stacks([UnsafeCell<Stack>; MAX_VCPUS]);

// SAFETY: each vCPU runs on its own stack, and nothing else touches it.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks([const { UnsafeCell::new(Stack([0; STACK_SIZE])) }; MAX_VCPUS]);
/// What each vCPU runs, a `fn(VcpuId)`; 0 for a vCPU that was not started or has come to its end.
static MAINS: [AtomicUsize; MAX_VCPUS] = [const { AtomicUsize::new(0) }; MAX_VCPUS];

/// Sets what a vCPU runs, and passes the end of its stack to `start`. A vCPU that was started
/// before keeps its main function until that has returned.
pub(crate) fn start(
    vcpu: VcpuId,
    main: fn(VcpuId),
    start: impl FnOnce(usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let number = vcpu.0 as usize;
    let stack = STACKS.0.get(number).ok_or(Errno::ENOENT)?;
    MAINS[number]
        .compare_exchange(0, main as usize, Ordering::Release, Ordering::Relaxed)
        .map_err(|_| Errno::EEXIST)?;
    let end = stack.get().expose_provenance() + size_of::<Stack>();
    start(end).inspect_err(|_| MAINS[number].store(0, Ordering::Relaxed))
}

/// Runs the main function of the calling vCPU, which was set before the vCPU started.
pub(crate) fn run(vcpu: VcpuId) {
    let main = MAINS[vcpu.0 as usize].load(Ordering::Acquire);
    // SAFETY: `start` set it before it started this vCPU, to a function of this type.
    let main: fn(VcpuId) = unsafe { mem::transmute(main) };
    main(vcpu);
}

/// Lets a vCPU whose main function has returned be started again.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) fn end(vcpu: VcpuId) {
    MAINS[vcpu.0 as usize].store(0, Ordering::Release);
}
