//! Calls a function as compiled code does, and sees whether it keeps the registers that are its
//! caller's.

use core::arch::global_asm;

/// What the four registers hold before a call.
const KEPT: [u32; 4] = [0xb0b0_b0b0, 0x5151_5151, 0xd1d1_d1d1, 0xeb9e_b9eb];

/// What a function has done.
pub(crate) struct Done {
    /// What it returned.
    pub(crate) answer: isize,
    /// Whether ebx, esi, edi, ebp and the stack pointer are what they were.
    pub(crate) kept: bool,
}

// The arguments are copied to the stack, always six words: a C function looks at those that it has.
global_asm!(
    ".pushsection .text.guard, \"ax\", @progbits",
    "guarded:",
    "push ebx",
    "push esi",
    "push edi",
    "push ebp",
    "mov eax, [esp + 20]",
    "mov edx, [esp + 24]",
    "mov [guard_stack], esp",
    // So that the stack is aligned when the function is called.
    "sub esp, 4",
    "push dword ptr [edx + 20]",
    "push dword ptr [edx + 16]",
    "push dword ptr [edx + 12]",
    "push dword ptr [edx + 8]",
    "push dword ptr [edx + 4]",
    "push dword ptr [edx]",
    "mov ebx, {ebx}",
    "mov esi, {esi}",
    "mov edi, {edi}",
    "mov ebp, {ebp}",
    "call eax",
    "add esp, 28",
    "mov [guard_found], ebx",
    "mov [guard_found + 4], esi",
    "mov [guard_found + 8], edi",
    "mov [guard_found + 12], ebp",
    "mov [guard_found + 16], esp",
    "mov esp, [guard_stack]",
    "pop ebp",
    "pop edi",
    "pop esi",
    "pop ebx",
    "ret",
    ".popsection",
    ".pushsection .bss.guard, \"aw\", @nobits",
    ".balign 4",
    "guard_found: .skip 20",
    "guard_stack: .skip 4",
    ".popsection",
    ebx = const KEPT[0],
    esi = const KEPT[1],
    edi = const KEPT[2],
    ebp = const KEPT[3],
);

unsafe extern "C" {
    fn guarded(function: *const (), arguments: &[u32; 6]) -> isize;
    static guard_found: [u32; 5];
    static guard_stack: u32;
}

/// Calls `function`.
///
/// # Safety
///
/// It must be an `extern "C"` function of up to six words, and may be called with these.
pub(crate) unsafe fn call(function: *const (), arguments: &[u32; 6]) -> Done {
    // SAFETY: the caller's promise; whatever the function does to the registers is undone.
    let answer = unsafe { guarded(function, arguments) };
    // SAFETY: only the code above writes there, and it does not run now.
    let [ebx, esi, edi, ebp, esp] = unsafe { (&raw const guard_found).read_volatile() };
    // SAFETY: the same.
    let stack = unsafe { (&raw const guard_stack).read_volatile() };
    Done { answer, kept: [ebx, esi, edi, ebp] == KEPT && esp == stack }
}
