//! The registers of a hypercall on x86_64: the number in rax, the arguments in rdi, rsi, rdx, r10
//! and r8, the answer in rax.

use core::arch::asm;

use super::entry::Arguments;

/// Implements the entry of a backend that is a single instruction.
macro_rules! direct {
    ($backend:ty, $instruction:literal) => {
        impl $crate::hypercall::entry::Entry for $backend {
            #[inline(always)]
            unsafe fn enter(&self, number: u32, arguments: $crate::hypercall::entry::Arguments) -> isize {
                let [a, b, c, d, e] = arguments;
                let answer: isize;
                // SAFETY: the instruction enters the hypervisor by its convention; every register
                // that may change is an output, and memory is taken to have changed. It does not
                // touch the stack. What the hypercall itself does is the caller's promise.
                unsafe {
                    core::arch::asm!(
                        $instruction,
                        inlateout("rax") number as usize => answer,
                        inlateout("rdi") a => _,
                        inlateout("rsi") b => _,
                        inlateout("rdx") c => _,
                        inlateout("r10") d => _,
                        inlateout("r8") e => _,
                        options(nostack)
                    );
                }
                answer
            }
        }
        $crate::hypercall::entry::hypercall_by_entry!($backend);
    };
}

pub(super) use direct;

/// Enters the hypervisor through the code at `entry`, a slot of a hypercall page.
///
/// # Safety
///
/// `entry` must be the slot of a hypercall page that the hypervisor has filled, and what the
/// hypercall does with `arguments` must be expected.
#[inline(always)]
pub(super) unsafe fn call_slot(entry: usize, arguments: Arguments) -> isize {
    let [a, b, c, d, e] = arguments;
    let answer: isize;
    // SAFETY: the slot follows the same convention as the instructions, and loads the number
    // itself. The stack is free to be used: `nostack` is not claimed.
    unsafe {
        asm!(
            "call rax",
            inlateout("rax") entry => answer,
            inlateout("rdi") a => _,
            inlateout("rsi") b => _,
            inlateout("rdx") c => _,
            inlateout("r10") d => _,
            inlateout("r8") e => _,
        );
    }
    answer
}
