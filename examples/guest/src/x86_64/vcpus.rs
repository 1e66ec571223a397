//! Secondary vCPUs: Xen starts them in 64-bit mode right away, with the registers that it is given.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::{InitialiseError, LongMode, Vcpu};

use super::descriptors::{self, MAX_VCPUS};
use super::{interrupts, stop};

#[repr(C, align(16))]
struct Stack([u8; 64 * 1024]);

struct Stacks([UnsafeCell<Stack>; MAX_VCPUS]);

// SAFETY: each vCPU runs on its own, and nothing else touches it.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks([const { UnsafeCell::new(Stack([0; 64 * 1024])) }; MAX_VCPUS]);

// The registers rdi and rsi hold the arguments already, and rsp the end of the vCPU's stack.
global_asm!(
    ".globl secondary_entry",
    "secondary_entry:",
    "    xor ebp, ebp",
    "    call {secondary}",
    "    ud2",
    secondary = sym secondary,
);

unsafe extern "C" {
    fn secondary_entry();
}

/// Starts a vCPU, which runs `main` on a stack of its own, with interrupts off, and stops after it.
///
/// # Errors
///
/// Xen's: the vCPU does not exist, or was started before. A vCPU beyond [`MAX_VCPUS`] has no stack,
/// and is treated as one that does not exist.
pub fn start(xen: &impl Hypercall, vcpu: VcpuId, main: fn(VcpuId)) -> Result<(), Errno> {
    let stack = STACKS.0.get(vcpu.0 as usize).ok_or(Errno::ENOENT)?;
    let top = (stack.get().expose_provenance() + size_of::<Stack>()) as u64;
    let vcpu = Vcpu::new(xen, vcpu);
    let state = like_this_one(secondary_entry as *const () as u64, top);
    let state = state.argument(vcpu.id().0.into()).second_argument(main as usize as u64);
    // SAFETY: the state leads to the entry above, on a stack that nothing else uses, and with this
    // vCPU's own memory map.
    unsafe { vcpu.initialise(&state) }.map_err(|error| match error {
        InitialiseError::Refused(errno) => errno,
        _ => Errno::EINVAL,
    })?;
    vcpu.up()
}

/// A start in the mode of the calling vCPU, and with its memory map.
fn like_this_one(entry: u64, stack: u64) -> LongMode {
    const EFER: u32 = 0xc000_0080;
    let (cr0, cr3, cr4): (u64, u64, u64);
    let (low, high): (u32, u32);
    // SAFETY: reading these registers changes nothing.
    unsafe {
        asm!(
            "mov {}, cr0", "mov {}, cr3", "mov {}, cr4", "rdmsr",
            out(reg) cr0, out(reg) cr3, out(reg) cr4, in("ecx") EFER, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags)
        );
    }
    LongMode::new(entry, stack, cr3).control(cr0, cr4, u64::from(high) << 32 | u64::from(low))
}

extern "C" fn secondary(vcpu: u32, main: usize) -> ! {
    // SAFETY: it is the function that `start` was given, which went through a register as a number.
    let main: fn(VcpuId) = unsafe { core::mem::transmute(main) };
    let vcpu = VcpuId(vcpu);
    // SAFETY: this is the vCPU's first act, with interrupts off.
    unsafe { descriptors::load(vcpu) };
    // SAFETY: the descriptor tables are loaded.
    unsafe { interrupts::load() };
    main(vcpu);
    stop()
}
