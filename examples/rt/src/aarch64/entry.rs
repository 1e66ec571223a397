//! The Image header, and the way from it to [`start`](super::start): Xen enters at EL1 with the MMU
//! and the caches off, interrupts off, and the physical address of the device tree in x0.
//!
//! The MMU comes first: with it off, all memory is device memory, on which exclusive accesses
//! (every atomic operation) are not promised to work. The boot page tables map memory to itself:
//!
//! | addresses | what Xen puts there | attributes |
//! |---|---|---|
//! | below 0x3800_0000 | interrupt controller, UART | device (nGnRnE), never executed |
//! | from 0x3800_0000 | room for grant frames, special pages | normal, write-back, inner shareable |
//! | from 0x4000_0000 | memory | normal, write-back, inner shareable |
//!
//! Xen and all domains use normal, write-back, inner-shareable memory for what they share. Another
//! attribute would see stale data.

use core::arch::global_asm;

use crate::STACK_SIZE;

/// Where the device registers of a Xen guest end, in blocks of 2 MiB.
const DEVICE_BLOCKS: u32 = 0x3800_0000 >> 21;
/// A block of device memory: accessed (AF), attribute 0.
const DEVICE_BLOCK: u64 = 1 << 10 | 0b01 | NEVER_EXECUTED;
/// A block of normal memory: accessed (AF), inner shareable, attribute 1.
const NORMAL_BLOCK: u64 = 1 << 10 | 0b11 << 8 | 1 << 2 | 0b01;
/// Neither EL1 nor EL0 executes the memory (PXN, UXN).
const NEVER_EXECUTED: u64 = 0b11 << 53;
/// Attribute 0: device memory (nGnRnE). Attribute 1: normal memory, write-back.
const MAIR: u64 = 0xff << 8;
/// Virtual addresses of 39 bits (T0SZ), tables in write-back, inner-shareable memory (IRGN0, ORGN0,
/// SH0), no second half (EPD1). The size of physical addresses is added at run time.
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 0b11 << 12 | 1 << 23;
/// MMU (M), data cache (C), instruction cache (I).
const SCTLR_SET: u64 = 1 | 1 << 2 | 1 << 12;

global_asm!(
    ".pushsection .text.head, \"ax\"",
    ".globl image_head",
    "image_head:",
    "    b image_entry",
    "    .long 0",
    "    .quad 0",          // the offset from the start of memory
    "    .quad image_size", // .bss included
    "    .quad 0b1010",     // little-endian, 4 KiB pages, anywhere in memory
    "    .quad 0, 0, 0",
    "    .ascii \"ARM\\x64\"",
    "    .long 0",
    "image_entry:",
    "    mov x19, x0",
    // .bss may hold anything, and the page tables and the stack are in it.
    "    adrp x0, bss_start",
    "    adrp x1, bss_end",
    "2:  cmp x0, x1",
    "    b.hs 3f",
    "    stp xzr, xzr, [x0], #16",
    "    b 2b",
    // The first level: a table for the first GiB, and blocks of 1 GiB for the rest.
    "3:  adrp x0, boot_level1",
    "    adrp x1, boot_level2",
    "    orr x2, x1, #0b11",
    "    str x2, [x0]",
    "    ldr x2, ={normal_block}",
    "    mov x3, #1",
    "2:  orr x4, x2, x3, lsl #30",
    "    str x4, [x0, x3, lsl #3]",
    "    add x3, x3, #1",
    "    cmp x3, #512",
    "    b.lo 2b",
    // The second level: blocks of 2 MiB.
    "    ldr x4, ={device_block}",
    "    mov x3, #0",
    "2:  cmp x3, #{device_blocks}",
    "    csel x5, x4, x2, lo",
    "    orr x5, x5, x3, lsl #21",
    "    str x5, [x1, x3, lsl #3]",
    "    add x3, x3, #1",
    "    cmp x3, #512",
    "    b.lo 2b",
    // All of .bss was written with the caches off. Clean lines that were fetched before, for the
    // cacheable mapping of another privilege level, must not hide it.
    "    dsb sy",
    "    adrp x0, bss_start",
    "    adrp x1, bss_end",
    "    mrs x2, ctr_el0",
    "    ubfx x2, x2, #16, #4", // the smallest line, as a logarithm of words
    "    mov x3, #4",
    "    lsl x2, x3, x2",
    "2:  dc ivac, x0",
    "    add x0, x0, x2",
    "    cmp x0, x1",
    "    b.lo 2b",
    "    bl enable_mmu",
    "    adrp x1, boot_stack_end",
    "    mov sp, x1",
    "    mov x0, x19",
    "    mov x29, xzr", // the end of the chain of frames
    "    bl {start}",
    "    udf #0",
    // Firmware starts a secondary vCPU with the context in x0: the end of its stack.
    ".globl secondary_entry",
    "secondary_entry:",
    "    mov x19, x0",
    "    bl enable_mmu",
    "    mov sp, x19",
    "    mov x29, xzr",
    "    bl {secondary}",
    "    udf #0",
    "enable_mmu:",
    "    adrp x0, boot_level1",
    "    msr ttbr0_el1, x0",
    "    ldr x0, ={mair}",
    "    msr mair_el1, x0",
    "    ldr x0, ={tcr}",
    "    mrs x1, id_aa64mmfr0_el1",
    "    bfi x0, x1, #32, #3", // physical addresses of the processor's size
    "    msr tcr_el1, x0",
    // The tables are complete in memory, and no translation or instruction from before is used.
    "    dsb sy",
    "    tlbi vmalle1",
    "    ic iallu",
    "    dsb sy",
    "    isb",
    "    mrs x0, sctlr_el1",
    "    ldr x1, ={sctlr}",
    "    orr x0, x0, x1",
    "    msr sctlr_el1, x0",
    "    adrp x0, image_head", // the vectors follow the entry
    "    msr vbar_el1, x0",
    "    isb",
    "    ret",
    ".ltorg",
    ".popsection",
    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    "boot_level1: .skip 4096",
    "boot_level2: .skip 4096",
    "boot_stack: .skip {stack_size}",
    "boot_stack_end:",
    ".popsection",
    normal_block = const NORMAL_BLOCK,
    device_block = const DEVICE_BLOCK,
    device_blocks = const DEVICE_BLOCKS,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR_SET,
    stack_size = const STACK_SIZE,
    start = sym super::start,
    secondary = sym super::secondary,
);
