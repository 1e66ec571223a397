//! From Xen's hands to Rust: the way from the PVH entry in 32-bit mode to `start` in 64-bit mode.
//!
//! Xen enters with paging off, flat segments, interrupts off, the physical address of the start
//! info in ebx, and nothing else that could be relied on: no stack, and an A20 line and descriptor
//! tables of its own.

use core::arch::global_asm;

/// How large the boot CPU's stack is, in bytes.
const STACK_SIZE: usize = 64 * 1024;

/// How many gibibytes are mapped to themselves. Four reach everything that a PC maps below 4 GiB,
/// the local APIC included.
const GIBIBYTES: usize = 4;

/// Page table entry: present and writable.
const TABLE: u32 = 0b11;
/// Page table entry: present, writable, and a large page.
const LARGE_PAGE: u32 = 0b1000_0011;
/// CR0: the coprocessor is monitored (MP), write protection holds in the kernel too (WP), paging
/// (PG).
const CR0_SET: u32 = 1 << 1 | 1 << 16 | 1 << 31;
/// CR0: the coprocessor is emulated (EM), a task switched (TS): either would make SSE fault.
const CR0_CLEAR: u32 = 1 << 2 | 1 << 3;
/// CR4: physical address extension, and the two flags by which an operating system says that it
/// knows SSE.
const CR4_SET: u32 = 1 << 5 | 1 << 9 | 1 << 10;
/// The model specific register that turns on long mode.
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
    // Nobody promises that .bss is zero, and the page tables and the stack are in it.
    "    xor eax, eax",
    "    mov edi, offset bss_start",
    "    mov ecx, offset bss_end",
    "    sub ecx, edi",
    "    rep stosb",
    // The first entry of the top table points to the second level, whose entries point to one table
    // for each gibibyte.
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
    // Those map large pages, each to itself.
    "    mov edi, offset boot_pds",
    "    mov eax, {large_page}",
    "    mov ecx, {large_pages}",
    "2:  mov [edi], eax",
    "    add edi, 8",
    "    add eax, 0x200000",
    "    loop 2b",
    // Long mode: the table, the extension that it needs, the enabling bit, and paging, in that
    // order.
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
    // Still in a 32-bit segment: a far return loads the 64-bit one.
    "    mov esp, offset boot_stack_end",
    "    lgdt [boot_gdt_pointer]",
    "    push {code}",
    "    mov eax, offset pvh_long_mode",
    "    push eax",
    "    retf",
    ".code64",
    "pvh_long_mode:",
    "    mov eax, {data}",
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
    ".popsection",
    // The segments of 64-bit mode: code and data at privilege level 0.
    ".pushsection .rodata.boot, \"a\"",
    ".balign 8",
    "boot_gdt:",
    "    .quad 0",
    "    .quad 0x00af9b000000ffff",
    "    .quad 0x00cf93000000ffff",
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
    code = const 0x08,
    data = const 0x10,
    stack_size = const STACK_SIZE,
    start = sym super::start::start,
);
