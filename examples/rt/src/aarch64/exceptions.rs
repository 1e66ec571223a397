//! The exception vectors: interrupts go to the interrupt controller's driver, everything else is
//! reported and ends the guest.

use core::arch::{asm, global_asm};

use super::{gic, vcpus};

// Each vector has room for 32 instructions. Only the second four of the 16 exist, those of the
// current level with its own stack pointer: the runtime uses neither SP_EL0 nor EL0. The linker
// script puts the Image header and the entry in place of the first four, and other code in place
// of the last eight. An interrupt saves the registers that a function may change; the code of
// softfloat targets uses no vector registers.
global_asm!(
    ".pushsection .text.vectors, \"ax\"",
    ".globl exception_vectors",
    "exception_vectors:",
    ".irp vector, 4, 5, 6, 7",
    "    .balign 128",
    "    .if \\vector == 5",
    "    b interrupt",
    "    .else",
    "    mov x0, #\\vector",
    "    b exception",
    "    .endif",
    ".endr",
    "exception:",
    "    bl {exception}",
    "interrupt:",
    "    stp x0, x1, [sp, #-208]!",
    "    stp x2, x3, [sp, #16]",
    "    stp x4, x5, [sp, #32]",
    "    stp x6, x7, [sp, #48]",
    "    stp x8, x9, [sp, #64]",
    "    stp x10, x11, [sp, #80]",
    "    stp x12, x13, [sp, #96]",
    "    stp x14, x15, [sp, #112]",
    "    stp x16, x17, [sp, #128]",
    "    stp x18, x29, [sp, #144]",
    "    mrs x0, elr_el1",
    "    mrs x1, spsr_el1",
    "    stp x30, x0, [sp, #160]",
    "    str x1, [sp, #176]",
    "    bl {interrupt}",
    "    ldr x1, [sp, #176]",
    "    ldp x30, x0, [sp, #160]",
    "    msr spsr_el1, x1",
    "    msr elr_el1, x0",
    "    ldp x18, x29, [sp, #144]",
    "    ldp x16, x17, [sp, #128]",
    "    ldp x14, x15, [sp, #112]",
    "    ldp x12, x13, [sp, #96]",
    "    ldp x10, x11, [sp, #80]",
    "    ldp x8, x9, [sp, #64]",
    "    ldp x6, x7, [sp, #48]",
    "    ldp x4, x5, [sp, #32]",
    "    ldp x2, x3, [sp, #16]",
    "    ldp x0, x1, [sp], #208",
    "    eret",
    ".popsection",
    exception = sym exception,
    interrupt = sym gic::interrupt,
);

/// Reports an exception and ends the guest.
extern "C" fn exception(vector: usize) -> ! {
    let (syndrome, address, instruction): (u64, u64, u64);
    // SAFETY: reading the registers changes nothing.
    unsafe {
        asm!(
            "mrs {}, esr_el1", "mrs {}, far_el1", "mrs {}, elr_el1",
            out(reg) syndrome, out(reg) address, out(reg) instruction,
            options(nomem, nostack, preserves_flags)
        );
    }
    // A panic could be another exception, in a guest whose panics abort at once.
    crate::exception(format_args!(
        "by exception {vector} ({}) at {instruction:#x}, syndrome {syndrome:#x}, \
         address {address:#x}, vCPU {}",
        name(syndrome >> 26),
        vcpus::current(),
    ))
}

/// Returns the name of an exception class in the Arm architecture's manual.
fn name(class: u64) -> &'static str {
    match class {
        0x00 => "unknown reason",
        0x07 => "trapped vector instruction",
        0x0e => "illegal execution state",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned program counter",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned stack pointer",
        0x2f => "system error",
        0x3c => "breakpoint",
        _ => "other",
    }
}
