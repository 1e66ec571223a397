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
/// What each vCPU runs, a `fn(VcpuId)`.
static MAINS: [AtomicUsize; MAX_VCPUS] = [const { AtomicUsize::new(0) }; MAX_VCPUS];

/// Sets what a vCPU runs, and returns the end of its stack.
pub(crate) fn prepare(vcpu: VcpuId, main: fn(VcpuId)) -> Result<usize, Errno> {
    let number = vcpu.0 as usize;
    let stack = STACKS.0.get(number).ok_or(Errno::ENOENT)?;
    MAINS[number].store(main as usize, Ordering::Release);
    Ok(stack.get().expose_provenance() + size_of::<Stack>())
}

/// Runs the main function of the calling vCPU, which was prepared before the vCPU started.
pub(crate) fn run(vcpu: VcpuId) {
    let main = MAINS[vcpu.0 as usize].load(Ordering::Acquire);
    // SAFETY: only `prepare` stores there, and what it stores is a function of this type.
    let main: fn(VcpuId) = unsafe { mem::transmute(main) };
    main(vcpu);
}
