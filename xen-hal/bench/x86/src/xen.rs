//! A hypercall page whose code notes what it was called with, gives up every argument register, and
//! answers.

use core::arch::global_asm;
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
