//! Where the processor goes on an exception and on an interrupt, and where it halts: what cannot be
//! written in Rust.

use core::arch::global_asm;

use super::interrupts::{exception, own_upcall, upcall};

/// What the processor, and then the stub, put on the stack.
#[repr(C)]
pub(super) struct Frame {
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) instruction: u64,
    pub(super) code_segment: u64,
    pub(super) flags: u64,
    pub(super) stack: u64,
    pub(super) stack_segment: u64,
}

// Each exception has a stub that makes the frame alike: some come with an error code and some do
// not. They do not return, so that nothing need be kept.
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
    "exception_common:",
    "    mov rdi, rsp",
    "    and rsp, -16",
    "    cld",
    "    call {exception}",
    "    ud2",
    // An interrupt finds code that knows nothing of it: whatever a function may change is kept, the
    // vector registers included.
    ".macro interrupt_stub name, function",
    ".globl \\name",
    "\\name:",
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
    // A vCPU that was about to halt, and was interrupted nevertheless, must not halt now: the
    // interrupt that it was to wait for has been.
    "    cmp qword ptr [rsp], offset halt_instruction",
    "    jne 2f",
    "    mov qword ptr [rsp], offset halt_passed",
    "2:  iretq",
    ".endm",
    "interrupt_stub upcall_stub, {upcall}",
    "interrupt_stub own_upcall_stub, {own_upcall}",
    // Whatever the local APIC took for an interrupt and was none is over at once, and is not
    // answered.
    ".globl spurious_stub",
    "spurious_stub:",
    "    iretq",
    // Lets interrupts in and halts, and returns after an interrupt. They come in one instruction
    // after the flag is set, when the processor has halted. QEMU, where it emulates a hypervisor's
    // guest, forgets that delay when a physical interrupt comes at that moment, and the one waited
    // for then comes just before the halt.
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
    ".irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "    .quad exception_\\vector",
    ".endr",
    ".popsection",
    exception = sym exception,
    upcall = sym upcall,
    own_upcall = sym own_upcall,
);

unsafe extern "C" {
    /// Where the stub of each exception is.
    #[link_name = "exception_stubs"]
    pub(super) static EXCEPTION_STUBS: [u64; 32];
    /// Where the processor goes on an upcall.
    pub(super) fn upcall_stub();
    /// Where it goes on an upcall of the vCPU's own.
    pub(super) fn own_upcall_stub();
    /// Where it goes when there was no interrupt.
    pub(super) fn spurious_stub();
    /// Lets interrupts in and halts until one has come.
    pub(super) fn enable_and_halt();
}
