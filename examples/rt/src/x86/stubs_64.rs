//! The entry points of exceptions and interrupts, and halting: what cannot be written in Rust.

use core::arch::global_asm;

use super::dispatch::{UNEXPECTED, exception, own_upcall, upcall};

// Each exception has a stub that pushes the vector, and 0 for an exception without an error code.
// Exceptions do not return, so no register is saved.
global_asm!(
    ".irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31",
    "exception_\\vector:",
    "    push 0",
    "    push \\vector",
    "    jmp exception_common",
    ".endr",
    ".irp vector, 8, 10, 11, 12, 13, 14, 17, 21, 29, 30",
    "exception_\\vector:",
    "    push \\vector",
    "    jmp exception_common",
    ".endr",
    ".globl unexpected_stub",
    "unexpected_stub:",
    "    push 0",
    "    push {unexpected}",
    "exception_common:",
    "    mov rdi, rsp",
    "    and rsp, -16",
    "    cld",
    "    call {exception}",
    "    ud2",
    // An interrupt saves every register that a function may change, the vector registers included.
    // It is ignored if it came while interrupts were off: QEMU's `vmrun` leaves `exception_index`
    // set, by which an interrupt that Xen injected can come a second time.
    ".macro interrupt_stub name, function",
    ".globl \\name",
    "\\name:",
    "    test dword ptr [rsp + 16], 1 << 9",
    "    jz 2f",
    "    push rax",
    "    push rcx",
    "    push rdx",
    "    push rsi",
    "    push rdi",
    "    push r8",
    "    push r9",
    "    push r10",
    "    push r11",
    "    push rbp",
    "    mov rbp, rsp",
    "    sub rsp, 512",
    "    and rsp, -16",
    "    fxsave64 [rsp]",
    "    cld",
    "    call \\function",
    "    fxrstor64 [rsp]",
    "    mov rsp, rbp",
    "    pop rbp",
    "    pop r11",
    "    pop r10",
    "    pop r9",
    "    pop r8",
    "    pop rdi",
    "    pop rsi",
    "    pop rdx",
    "    pop rcx",
    "    pop rax",
    // If the interrupt came just before the halt, the vCPU must not halt: the interrupt that it
    // waits for may have been this one.
    "    cmp qword ptr [rsp], offset halt_instruction",
    "    jne 2f",
    "    mov qword ptr [rsp], offset halt_passed",
    "2:  iretq",
    ".endm",
    "interrupt_stub upcall_stub, {upcall}",
    "interrupt_stub own_upcall_stub, {own_upcall}",
    // A spurious interrupt needs no end of interrupt.
    ".globl spurious_stub",
    "spurious_stub:",
    "    iretq",
    // `sti` delays interrupts by one instruction, so they come once the processor has halted. QEMU
    // forgets that delay in a nested guest when a physical interrupt comes at that moment; the
    // check above makes up for it.
    ".globl enable_and_halt",
    "enable_and_halt:",
    "    sti",
    "halt_instruction:",
    "    hlt",
    "halt_passed:",
    "    ret",
    ".pushsection .rodata.exceptions, \"a\"",
    ".balign 8",
    ".globl exception_stubs",
    "exception_stubs:",
    ".irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, \
     22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "    .quad exception_\\vector",
    ".endr",
    ".popsection",
    exception = sym exception,
    upcall = sym upcall,
    own_upcall = sym own_upcall,
    unexpected = const UNEXPECTED,
);

unsafe extern "C" {
    /// The entry point of each exception.
    #[link_name = "exception_stubs"]
    pub(super) static EXCEPTION_STUBS: [usize; 32];
    /// The entry point of a vector without a handler.
    pub(super) fn unexpected_stub();
    /// The entry point of an upcall.
    pub(super) fn upcall_stub();
    /// The entry point of an upcall at the vCPU's own vector.
    pub(super) fn own_upcall_stub();
    /// The entry point of a withdrawn interrupt.
    pub(super) fn spurious_stub();
    /// Turns interrupts on and halts until one has come.
    pub(super) fn enable_and_halt();
}
