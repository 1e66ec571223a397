//! The way from the PVH entry, in 32-bit mode, to [`start`](super::start) in 64-bit mode, and the
//! start of secondary vCPUs.
//!
//! Xen enters with paging off, flat segments, interrupts off, and the physical address of the start
//! info in ebx. Nothing else is promised: no stack, and no descriptor tables.

use core::arch::{asm, global_asm};

use xen_hal::platform::VcpuId;
use xen_hal::vcpu::LongMode;

use super::descriptors::{CODE_SEGMENT, DATA_SEGMENT};
use crate::STACK_SIZE;

/// How many GiB are mapped to themselves. Four reach everything that a PC has below 4 GiB, the
/// local APIC included.
const GIBIBYTES: usize = 4;

/// Page table entry: present and writable.
const TABLE: u32 = 0b11;
/// Page table entry: present, writable, and a large page.
const LARGE_PAGE: u32 = 0b1000_0011;
/// CR0: the coprocessor is monitored (MP), write protection holds in the kernel too (WP), paging
/// (PG).
const CR0_SET: u32 = 1 << 1 | 1 << 16 | 1 << 31;
/// CR0: the coprocessor is emulated (EM), a task switched (TS). Either would make SSE fault.
const CR0_CLEAR: u32 = 1 << 2 | 1 << 3;
/// CR4: physical address extension, and the two flags that enable SSE.
const CR4_SET: u32 = 1 << 5 | 1 << 9 | 1 << 10;
/// The model specific register that enables long mode.
const EFER: u32 = 0xc000_0080;
/// EFER: long mode enable.
const EFER_LME: u32 = 1 << 8;

global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".code32",
    ".globl pvh_entry",
    "pvh_entry:",
    "    cld",
    "    mov esi, ebx", // the start info; nothing below touches esi
    // .bss may hold anything, and the page tables and the stack are in it.
    "    xor eax, eax",
    "    mov edi, offset bss_start",
    "    mov ecx, offset bss_end",
    "    sub ecx, edi",
    "    rep stosb",
    // The first entry of the top table points to the second level, whose entries point to one table
    // for each GiB.
    "    mov edi, offset boot_pml4",
    "    mov eax, offset boot_pdpt",
    "    or eax, {table}",
    "    mov [edi], eax",
    "    mov edi, offset boot_pdpt",
    "    mov eax, offset boot_pds",
    "    or eax, {table}",
    "    mov ecx, {gibibytes}",
    "2:  mov [edi], eax",
    "    add edi, 8",
    "    add eax, 4096",
    "    loop 2b",
    // The entries of the third level map large pages, each to itself.
    "    mov edi, offset boot_pds",
    "    mov eax, {large_page}",
    "    mov ecx, {large_pages}",
    "2:  mov [edi], eax",
    "    add edi, 8",
    "    add eax, 0x200000",
    "    loop 2b",
    // Long mode takes the table, the extension, the enabling bit and paging, in that order.
    "    mov eax, offset boot_pml4",
    "    mov cr3, eax",
    "    mov eax, cr4",
    "    or eax, {cr4}",
    "    mov cr4, eax",
    "    mov ecx, {efer}",
    "    rdmsr",
    "    or eax, {lme}",
    "    wrmsr",
    "    mov eax, cr0",
    "    and eax, {cr0_keep}",
    "    or eax, {cr0}",
    "    mov cr0, eax",
    // The segment is still a 32-bit one: a far return loads the 64-bit one.
    "    mov esp, offset boot_stack_end",
    "    lgdt [boot_gdt_pointer]",
    "    push 0x08",
    "    mov eax, offset pvh_long_mode",
    "    push eax",
    "    retf",
    ".code64",
    "pvh_long_mode:",
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov ss, eax",
    "    xor eax, eax",
    "    mov fs, eax",
    "    mov gs, eax",
    "    mov rsp, offset boot_stack_end",
    "    xor ebp, ebp", // the end of the chain of frames
    "    mov edi, esi",
    "    call {start}",
    "    ud2",
    // Xen starts a secondary vCPU in 64-bit mode, with its stack in rsp and its number in rdi.
    ".globl secondary_entry",
    "secondary_entry:",
    "    xor ebp, ebp",
    "    call {secondary}",
    "    ud2",
    ".popsection",
    ".pushsection .rodata.boot, \"a\"",
    ".balign 8",
    "boot_gdt:",
    "    .quad 0",
    "    .quad {code_segment}",
    "    .quad {data_segment}",
    "boot_gdt_pointer:",
    "    .word boot_gdt_pointer - boot_gdt - 1",
    "    .quad boot_gdt",
    ".popsection",
    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    "boot_pml4: .skip 4096",
    "boot_pdpt: .skip 4096",
    "boot_pds: .skip 4096 * {gibibytes}",
    "boot_stack: .skip {stack_size}",
    "boot_stack_end:",
    ".popsection",
    table = const TABLE,
    large_page = const LARGE_PAGE,
    gibibytes = const GIBIBYTES,
    large_pages = const GIBIBYTES * 512,
    cr4 = const CR4_SET,
    efer = const EFER,
    lme = const EFER_LME,
    cr0 = const CR0_SET,
    cr0_keep = const !CR0_CLEAR,
    code_segment = const CODE_SEGMENT,
    data_segment = const DATA_SEGMENT,
    stack_size = const STACK_SIZE,
    start = sym super::start,
    secondary = sym super::secondary,
);

unsafe extern "C" {
    fn secondary_entry();
}

/// Returns the state in which a secondary vCPU starts: the mode and the memory map of the calling
/// vCPU.
pub(super) fn secondary_state(stack: usize, vcpu: VcpuId) -> LongMode {
    let (cr0, cr3, cr4): (u64, u64, u64);
    let (low, high): (u32, u32);
    // SAFETY: reading these registers changes nothing.
    unsafe {
        asm!(
            "mov {}, cr0", "mov {}, cr3", "mov {}, cr4", "rdmsr",
            out(reg) cr0, out(reg) cr3, out(reg) cr4,
            in("ecx") EFER, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags)
        );
    }
    LongMode::new(secondary_entry as *const () as u64, stack as u64, cr3)
        .control(cr0, cr4, u64::from(high) << 32 | u64::from(low))
        .argument(vcpu.0.into())
}
