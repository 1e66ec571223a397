//! The interrupt table: exceptions are reported and end the guest, and Xen's upcall comes to a function of the program's.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::descriptors::{CODE, EXCEPTION_STACK, INTERRUPT_STACK, Pointer};
use crate::{exit, println};

/// A gate: its two words.
type Gate = [u64; 2];

#[repr(C, align(16))]
struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: written with interrupts off by the first vCPU only, as `set` demands.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));

/// What the program wants called on an upcall, as a number; 0 for nothing.
static UPCALL: AtomicUsize = AtomicUsize::new(0);

/// What the processor, and then the stub, put on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    instruction: u64,
    code_segment: u64,
    flags: u64,
    stack: u64,
    stack_segment: u64,
}

// Each exception has a stub that makes the frame alike: some come with an error code and some do not. They do not return, so that nothing need be kept.
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
    // An upcall interrupts code that knows nothing of it: whatever a function may change is kept, the vector registers included.
    ".globl upcall_stub",
    "upcall_stub:",
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
    "    call {upcall}",
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
    // A vCPU that was about to halt, and was interrupted nevertheless, must not halt now: the interrupt that it was to wait for has been.
    "    cmp qword ptr [rsp], offset halt_instruction",
    "    jne 2f",
    "    mov qword ptr [rsp], offset halt_passed",
    "2:  iretq",
    // Lets interrupts in and halts, and returns after an interrupt. They come in one instruction after the flag is set, when the processor has halted. QEMU, where it
    // emulates a hypervisor's guest, forgets that delay when a physical interrupt comes at that moment, and the one waited for then comes just before the halt.
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
);

unsafe extern "C" {
    /// Where the stub of each exception is.
    #[link_name = "exception_stubs"]
    static EXCEPTION_STUBS: [u64; 32];
    /// Where the processor goes on an upcall.
    fn upcall_stub();
    /// Lets interrupts in and halts until one has come.
    fn enable_and_halt();
}

/// Fills the table with the exceptions. Call it before [`load`].
///
/// # Safety
///
/// With interrupts off, on the first vCPU, before any other runs.
pub(super) unsafe fn prepare() {
    for vector in 0..32_u8 {
        // SAFETY: the table was filled by the assembler, and nothing writes to it.
        let stub = unsafe { EXCEPTION_STUBS[usize::from(vector)] };
        // SAFETY: the stub reports any exception; the rest is the caller's promise.
        unsafe { set(vector, stub, EXCEPTION_STACK) };
    }
}

/// Makes the calling vCPU use the table.
///
/// # Safety
///
/// The vCPU has its own descriptor tables by then.
pub(super) unsafe fn load() {
    let pointer = Pointer { limit: size_of::<Table>() as u16 - 1, base: TABLE.0.get().expose_provenance() as u64 };
    // SAFETY: the table is static, and its gates lead to stubs.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// Has `handler` called, with interrupts off and on a stack of its own, whenever Xen announces events at `vector`.
///
/// # Safety
///
/// With interrupts off, on the first vCPU, before any other runs; `vector` must be 32 or above.
pub unsafe fn on_upcall(vector: u8, handler: fn()) {
    UPCALL.store(handler as usize, Ordering::Release);
    // SAFETY: the stub keeps what it interrupts; the rest is the caller's promise.
    unsafe { set(vector, upcall_stub as *const () as u64, INTERRUPT_STACK) };
}

/// Lets interrupts in.
///
/// # Safety
///
/// There is a handler for each interrupt that can come.
pub unsafe fn enable() {
    // SAFETY: the caller's promise.
    unsafe { asm!("sti", options(nostack)) };
}

/// Halts the vCPU until `done` says so, which is asked again after each interrupt. None can slip in between the question and the halt.
///
/// # Safety
///
/// There is a handler for each interrupt that can come.
pub unsafe fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        // SAFETY: interrupts are let in again below.
        unsafe { asm!("cli", options(nostack)) };
        if done() {
            // SAFETY: the caller's promise.
            return unsafe { enable() };
        }
        // SAFETY: the caller's promise.
        unsafe { enable_and_halt() };
    }
}

/// Writes a gate that keeps interrupts off while its handler runs.
///
/// # Safety
///
/// `handler` can be entered by the processor, and the table is not in use by another vCPU.
unsafe fn set(vector: u8, handler: u64, stack: u8) {
    const INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = handler & 0xffff | u64::from(CODE) << 16 | u64::from(stack) << 32 | INTERRUPT_GATE | (handler >> 16 & 0xffff) << 48;
    let gates = TABLE.0.get().cast::<Gate>();
    // SAFETY: the table has a gate for every vector, and nobody else uses it meanwhile.
    unsafe { gates.wrapping_add(usize::from(vector)).write([low, handler >> 32]) };
}

extern "C" fn upcall() {
    let handler = UPCALL.load(Ordering::Acquire);
    if handler != 0 {
        // SAFETY: only `on_upcall` sets it, to a function of this type.
        let handler: fn() = unsafe { core::mem::transmute(handler) };
        handler();
    }
}

/// Reports an exception and ends the guest.
extern "C" fn exception(frame: &Frame) -> ! {
    let address: u64;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    println!(
        "guest: panic by exception {} ({}) at {:#x}, error {:#x}, address {address:#x}, stack {:#x}",
        frame.vector,
        name(frame.vector),
        frame.instruction,
        frame.error,
        frame.stack
    );
    exit::panicked()
}

/// What processors' manuals call an exception.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "no coprocessor",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        14 => "page fault",
        17 => "misaligned access",
        18 => "machine check",
        19 => "vector arithmetic",
        _ => "reserved",
    }
}
