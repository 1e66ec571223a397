//! The registers of a hypercall on 32-bit x86: the number in eax, the arguments in ebx, ecx, edx,
//! esi and edi, the answer in eax.
//!
//! Rust lets nobody name esi, because a function may need it to find its own variables. The
//! compiler therefore chooses a register for the fourth argument, and all others being named, esi
//! and ebp are what it has to choose from. Nearly always it takes esi, and there is nothing to be
//! done; where it takes ebp, the two are exchanged around the instruction, which the assembler
//! decides. ebp is no argument of a hypercall, and keeps what it holds.

use super::entry::Arguments;

/// Implements the entry of a backend that is a single instruction.
macro_rules! direct {
    ($backend:ty, $instruction:literal) => {
        impl $crate::hypercall::entry::Entry for $backend {
            #[inline(always)]
            unsafe fn enter(
                &self,
                number: u32,
                arguments: $crate::hypercall::entry::Arguments,
            ) -> isize {
                // SAFETY: the caller's promise is the same, and the instruction does not touch the
                // stack.
                unsafe {
                    $crate::hypercall::x86::sequence!(
                        $instruction,
                        number as usize,
                        arguments,
                        options(nostack)
                    )
                }
            }
        }
        $crate::hypercall::entry::hypercall_by_entry!($backend);
    };
}

/// The sequence around `$instruction`, which is entered with `$eax` in eax and the arguments in
/// their registers.
///
/// Every argument register is an output, those that hold nothing too: the hypervisor may change
/// them.
///
/// # Safety
///
/// The instruction must enter the hypervisor, and what the hypercall does with the arguments must
/// be expected.
macro_rules! sequence {
    ($instruction:literal, $eax:expr, $arguments:expr $(, $options:tt $list:tt)?) => {{
        let [a, b, c, d, e]: $crate::hypercall::entry::Arguments = $arguments;
        let answer: isize;
        core::arch::asm!(
            ".ifnc {fourth}, esi",
            "xchg {fourth}, esi",
            ".endif",
            $instruction,
            ".ifnc {fourth}, esi",
            "xchg {fourth}, esi",
            ".endif",
            fourth = inlateout(reg) d => _,
            inlateout("eax") $eax => answer,
            inlateout("ebx") a => _,
            inlateout("ecx") b => _,
            inlateout("edx") c => _,
            inlateout("edi") e => _,
            $($options $list)?
        );
        answer
    }};
}

pub(super) use {direct, sequence};

/// Enters the hypervisor through the code at `entry`, a slot of a hypercall page.
///
/// # Safety
///
/// `entry` must be the slot of a hypercall page that the hypervisor has filled, and what the
/// hypercall does with `arguments` must be expected.
#[inline(always)]
pub(super) unsafe fn call_slot(entry: usize, arguments: Arguments) -> isize {
    // SAFETY: the slot follows the same convention as the instructions, and loads the number
    // itself. The stack is free to be used: `nostack` is not claimed.
    unsafe { sequence!("call eax", entry, arguments) }
}
