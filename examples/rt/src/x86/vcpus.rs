//! Secondary vCPUs.

use core::cell::UnsafeCell;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::{InitialiseError, Vcpu};

pub use super::descriptors::current;
use super::{descriptors, entry, interrupts, stop};
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

/// Starts a vCPU. It runs `main` with interrupts off and then stops for good.
///
/// # Errors
///
/// Xen's: the vCPU does not exist, or was started before. [`Errno::ENOENT`] for a vCPU beyond
/// [`MAX_VCPUS`].
pub fn start(xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    let number = vcpu.0 as usize;
    let stack = STACKS.0.get(number).ok_or(Errno::ENOENT)?;
    MAINS[number].store(main as usize, Ordering::Release);
    let top = stack.get().expose_provenance() + size_of::<Stack>();
    let state = entry::secondary_state(top, vcpu);
    let vcpu = Vcpu::new(xen, vcpu);
    // SAFETY: the state leads to `secondary` on a stack that nothing else uses, in the calling
    // vCPU's mode and memory map.
    unsafe { vcpu.initialise(&state) }.map_err(|error| match error {
        InitialiseError::Refused(errno) => errno,
        _ => Errno::EINVAL,
    })?;
    vcpu.up()
}

/// Continues a secondary vCPU's entry in Rust.
pub(super) extern "C" fn secondary(vcpu: u32) -> ! {
    let vcpu = VcpuId(vcpu);
    // SAFETY: this vCPU has just started, with interrupts off.
    unsafe { descriptors::load(vcpu) };
    // SAFETY: the descriptor tables are loaded.
    unsafe { interrupts::load() };
    let main = MAINS[vcpu.0 as usize].load(Ordering::Acquire);
    // SAFETY: `start` stored a function of this type before it started the vCPU.
    let main: fn(VcpuId) = unsafe { mem::transmute(main) };
    main(vcpu);
    stop()
}
