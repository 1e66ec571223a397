//! The machine of the checks: a hypercall page whose code notes what it was called with, gives up
//! every argument register, and answers; a call that sees whether a function keeps the registers of
//! its caller; and what the program asks of the kernel it runs on.

use core::arch::{asm, global_asm};
use core::ptr::NonNull;

use xen_hal::hypercall::HypercallPage;

/// What the argument registers hold after a hypercall, as a debug build of Xen leaves them.
pub(crate) const POISON: u32 = 0xdead_f00d;

/// What every hypercall answers.
pub(crate) const ANSWER: isize = -38;

// Each slot loads its number, as Xen's do, and goes on where all slots do.
global_asm!(
    ".pushsection .text.fake_xen, \"ax\", @progbits",
    ".balign 4096",
    "fake_page:",
    ".set fake_slot, 0",
    ".rept 128",
    "mov eax, offset fake_slot",
    "jmp fake_xen",
    ".balign 32, 0xcc",
    ".set fake_slot, fake_slot + 1",
    ".endr",
    "fake_xen:",
    "mov [fake_seen], eax",
    "mov [fake_seen + 4], ebx",
    "mov [fake_seen + 8], ecx",
    "mov [fake_seen + 12], edx",
    "mov [fake_seen + 16], esi",
    "mov [fake_seen + 20], edi",
    "mov eax, {answer}",
    "mov ebx, {poison}",
    "mov ecx, {poison}",
    "mov edx, {poison}",
    "mov esi, {poison}",
    "mov edi, {poison}",
    "ret",
    ".popsection",
    ".pushsection .bss.fake_xen, \"aw\", @nobits",
    ".balign 4",
    "fake_seen: .skip 24",
    ".popsection",
    answer = const ANSWER,
    poison = const POISON,
);

unsafe extern "C" {
    static fake_page: u8;
    static fake_seen: [u32; 6];
}

/// The way into it.
pub(crate) fn page() -> HypercallPage {
    // SAFETY: the page lies in the program's code, and each of its slots keeps the convention.
    unsafe { HypercallPage::filled(NonNull::from(&fake_page)) }
}

/// The number and the five argument registers of the last hypercall.
pub(crate) fn seen() -> [u32; 6] {
    // SAFETY: the page's code, which writes there, does not run now.
    unsafe { (&raw const fake_seen).read_volatile() }
}

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
pub(crate) unsafe fn guarded_call(function: *const (), arguments: &[u32; 6]) -> Done {
    // SAFETY: the caller's promise; whatever the function does to the registers is undone.
    let answer = unsafe { guarded(function, arguments) };
    // SAFETY: only the code above writes there, and it does not run now.
    let [ebx, esi, edi, ebp, esp] = unsafe { (&raw const guard_found).read_volatile() };
    // SAFETY: the same.
    let stack = unsafe { (&raw const guard_stack).read_volatile() };
    Done { answer, kept: [ebx, esi, edi, ebp] == KEPT && esp == stack }
}

const EXIT: u32 = 1;
const WRITE: u32 = 4;
const ERROR_STREAM: u32 = 2;

/// Ends the program.
pub(crate) fn exit(status: u32) -> ! {
    // SAFETY: the call does not return, and nothing is left to be done.
    unsafe { asm!("int 0x80", in("eax") EXIT, in("ebx") status, options(noreturn)) }
}

/// Writes to the error stream.
pub(crate) fn print(text: &str) {
    // SAFETY: the kernel reads the text's bytes, and changes no register but the answer's.
    unsafe {
        asm!(
            "int 0x80",
            inlateout("eax") WRITE => _,
            in("ebx") ERROR_STREAM,
            in("ecx") text.as_ptr(),
            in("edx") text.len(),
        );
    }
}
