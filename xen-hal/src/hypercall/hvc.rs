//! `hvc`: the way in on aarch64. The number is in x16, the arguments are in x0 to x4, the answer is
//! in x0.

use super::entry::{Arguments, Entry, hypercall_by_entry};

/// Hypercalls by the `hvc` instruction, with the immediate by which Xen knows its own.
///
/// Only code at EL1 may use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hvc;

impl Entry for Hvc {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        let [a, b, c, d, e] = arguments;
        let answer: isize;
        // SAFETY: the instruction enters the hypervisor by its convention; every register that may
        // change is an output, and memory is taken to have changed. It does not touch the stack.
        // What the hypercall itself does is the caller's promise.
        unsafe {
            core::arch::asm!(
                "hvc #{tag}",
                tag = const xen_pac::hypercall::XEN_HYPERCALL_TAG,
                inlateout("x16") number as usize => _,
                inlateout("x0") a => answer,
                inlateout("x1") b => _,
                inlateout("x2") c => _,
                inlateout("x3") d => _,
                inlateout("x4") e => _,
                options(nostack)
            );
        }
        answer
    }
}

hypercall_by_entry!(Hvc);

/// The way into Xen that [`detect`] finds.
pub type AnyBackend = Hvc;

/// Why no way into Xen was found: never, on this architecture.
pub type DetectError = core::convert::Infallible;

/// The way into Xen. Whether there is a Xen is not the processor's to say here: a guest learns it
/// from its device tree or its ACPI tables.
///
/// # Errors
///
/// None on this architecture.
pub const fn detect() -> Result<AnyBackend, DetectError> {
    Ok(Hvc)
}
