//! The registers of a hypercall on 32-bit x86: the number in eax, the arguments in ebx, ecx, edx, esi and edi, the answer in eax.
//!
//! The compiler keeps esi to itself. The fourth argument therefore travels in memory, beside whatever belongs in eax, and the sequence puts both in place and
//! gives esi back.

use super::entry::Arguments;

/// Implements the entry of a backend that is a single instruction.
macro_rules! direct {
    ($backend:ty, $instruction:literal) => {
        impl $crate::hypercall::entry::Entry for $backend {
            #[inline(always)]
            unsafe fn enter(&self, number: u32, arguments: $crate::hypercall::entry::Arguments) -> isize {
                // SAFETY: the caller's promise is the same.
                unsafe { $crate::hypercall::x86::sequence!($instruction, number as usize, arguments) }
            }
        }
        $crate::hypercall::entry::hypercall_by_entry!($backend);
    };
}

/// The sequence around `$instruction`, which is entered with `$eax` in eax and the arguments in their registers.
///
/// # Safety
///
/// The instruction must enter the hypervisor, and what the hypercall does with the arguments must be expected.
macro_rules! sequence {
    ($instruction:literal, $eax:expr, $arguments:expr) => {{
        let [a, b, c, d, e]: $crate::hypercall::entry::Arguments = $arguments;
        let in_memory = [core::mem::MaybeUninit::new($eax), d];
        let answer: isize;
        core::arch::asm!(
            "push esi",
            "mov esi, [eax + 4]",
            "mov eax, [eax]",
            $instruction,
            "pop esi",
            inlateout("eax") in_memory.as_ptr() => answer,
            inlateout("ebx") a => _,
            inlateout("ecx") b => _,
            inlateout("edx") c => _,
            inlateout("edi") e => _,
        );
        answer
    }};
}

pub(super) use {direct, sequence};

/// Enters the hypervisor through the code at `entry`, a slot of a hypercall page.
///
/// # Safety
///
/// `entry` must be the slot of a hypercall page that the hypervisor has filled, and what the hypercall does with `arguments` must be expected.
#[inline(always)]
pub(super) unsafe fn call_slot(entry: usize, arguments: Arguments) -> isize {
    // SAFETY: the slot follows the same convention as the instructions, and loads the number itself.
    unsafe { sequence!("call eax", entry, arguments) }
}
