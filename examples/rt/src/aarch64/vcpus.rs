//! Secondary vCPUs, started by PSCI.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use smccc::psci;
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;

use super::{gic, stop};
use crate::STACK_SIZE;

/// How many vCPUs the runtime supports.
pub const MAX_VCPUS: usize = 4;

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

struct Stacks([UnsafeCell<Stack>; MAX_VCPUS]);

// SAFETY: each vCPU runs on its own stack, and nothing else touches it.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks([const { UnsafeCell::new(Stack([0; STACK_SIZE])) }; MAX_VCPUS]);
/// What each vCPU runs, a `fn(VcpuId)`.
static MAINS: [AtomicUsize; MAX_VCPUS] = [const { AtomicUsize::new(0) }; MAX_VCPUS];

unsafe extern "C" {
    fn secondary_entry();
}

/// The number of the calling vCPU: Xen numbers a guest's first 16 vCPUs by the lowest affinity.
#[must_use]
pub fn current() -> VcpuId {
    let affinity: u64;
    // SAFETY: reading the register changes nothing.
    unsafe {
        asm!("mrs {}, mpidr_el1", out(reg) affinity, options(nomem, nostack, preserves_flags))
    };
    VcpuId(affinity as u32 & 0xff)
}

/// Starts a vCPU. It runs `main` with interrupts off and then stops for good.
///
/// # Errors
///
/// [`Errno::ENOENT`] for a vCPU that does not exist or is beyond [`MAX_VCPUS`], [`Errno::EEXIST`]
/// for one that was started before.
pub fn start(_xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    let number = vcpu.0 as usize;
    let stack = STACKS.0.get(number).ok_or(Errno::ENOENT)?;
    MAINS[number].store(main as usize, Ordering::Release);
    let top = stack.get().expose_provenance() + size_of::<Stack>();
    let entry = secondary_entry as *const () as u64;
    psci::cpu_on::<smccc::Hvc>(vcpu.0.into(), entry, top as u64).map_err(|error| match error {
        psci::error::Error::AlreadyOn | psci::error::Error::OnPending => Errno::EEXIST,
        _ => Errno::ENOENT,
    })
}

/// Continues a secondary vCPU's entry in Rust.
pub(super) extern "C" fn secondary() -> ! {
    let vcpu = current();
    gic::enable_for(vcpu);
    let main = MAINS[vcpu.0 as usize].load(Ordering::Acquire);
    // SAFETY: `start` stored a function of this type before it started the vCPU.
    let main: fn(VcpuId) = unsafe { mem::transmute(main) };
    main(vcpu);
    stop()
}
