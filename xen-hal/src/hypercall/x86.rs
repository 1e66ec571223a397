//! The registers of a hypercall on 32-bit x86: the number in eax, the arguments in ebx, ecx, edx, esi and edi, the answer in eax.
//!
//! The compiler keeps esi to itself. The fourth argument therefore travels in memory, beside whatever belongs in eax, and the sequence puts both in place and
//! gives esi back. Where there is no fourth argument, esi is only kept.

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

            #[inline(always)]
            unsafe fn enter_with_three(&self, number: u32, [a, b, c]: [core::mem::MaybeUninit<usize>; 3]) -> isize {
                let answer: isize;
                // SAFETY: the instruction enters the hypervisor by its convention; esi, which the hypercall may change, is kept on the stack, every other register
                // that may change is an output, and memory is taken to have changed. What the hypercall itself does is the caller's promise.
                unsafe {
                    core::arch::asm!(
                        "push esi",
                        $instruction,
                        "pop esi",
                        inlateout("eax") number as usize => answer,
                        inlateout("ebx") a => _,
                        inlateout("ecx") b => _,
                        inlateout("edx") c => _,
                        lateout("edi") _,
                    );
                }
                answer
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
