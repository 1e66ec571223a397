//! The way from the PVH entry to [`start`](super::start), and the start of secondary vCPUs. Paging
//! stays off.
//!
//! Xen enters with flat segments, interrupts off, and the physical address of the start info in
//! ebx. Nothing else is promised: no stack, and no descriptor tables.

use core::arch::global_asm;

use xen_hal::platform::VcpuId;
use xen_hal::vcpu::ProtectedMode;

use crate::STACK_SIZE;

/// CR0: the coprocessor is monitored (MP).
const CR0_SET: u32 = 1 << 1;
/// CR0: the coprocessor is emulated (EM), a task switched (TS). Either would make SSE fault.
const CR0_CLEAR: u32 = 1 << 2 | 1 << 3;
/// CR4: the two flags that enable SSE.
const CR4_SET: u32 = 1 << 9 | 1 << 10;

global_asm!(
    ".macro enable_sse",
    "    mov ecx, cr4",
    "    or ecx, {cr4}",
    "    mov cr4, ecx",
    "    mov ecx, cr0",
    "    and ecx, {cr0_keep}",
    "    or ecx, {cr0}",
    "    mov cr0, ecx",
    ".endm",
    ".pushsection .text.entry, \"ax\"",
    ".globl pvh_entry",
    "pvh_entry:",
    "    cld",
    // .bss may hold anything, and the stack is in it.
    "    xor eax, eax",
    "    mov edi, offset bss_start",
    "    mov ecx, offset bss_end",
    "    sub ecx, edi",
    "    rep stosb",
    "    enable_sse",
    "    mov esp, offset boot_stack_end",
    "    xor ebp, ebp", // the end of the chain of frames
    "    sub esp, 12",
    "    push ebx",
    "    call {start}",
    "    ud2",
    // Xen starts a secondary vCPU with its stack in esp and its number in eax.
    ".globl secondary_entry",
    "secondary_entry:",
    "    enable_sse",
    "    xor ebp, ebp",
    "    sub esp, 12",
    "    push eax",
    "    call {secondary}",
    "    ud2",
    ".popsection",
    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 16",
    "boot_stack: .skip {stack_size}",
    "boot_stack_end:",
    ".popsection",
    cr4 = const CR4_SET,
    cr0 = const CR0_SET,
    cr0_keep = const !CR0_CLEAR,
    stack_size = const STACK_SIZE,
    start = sym super::start,
    secondary = sym super::secondary,
);

unsafe extern "C" {
    fn secondary_entry();
}

/// Returns the state in which a secondary vCPU starts: flat segments, paging off.
pub(super) fn secondary_state(stack: usize, vcpu: VcpuId) -> ProtectedMode {
    ProtectedMode::new(secondary_entry as *const () as u32, stack as u32).argument(vcpu.0)
}
