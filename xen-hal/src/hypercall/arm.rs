//! Hypercalls on aarch64. The number is in x16, the arguments are in x0 to x4, and the result is in
//! x0.

use super::DetectError;
use super::backend::{Arguments, Entry, hypercall_by_entry};

/// Makes hypercalls with the `hvc` instruction and the immediate of Xen's hypercalls.
///
/// Only code at EL1 may use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hvc;

impl Entry for Hvc {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        let [a, b, c, d, e] = arguments;
        let answer: isize;
        // SAFETY: the instruction enters the hypervisor as its calling convention requires. Every
        // register that may change is an output, memory counts as changed, and the stack is not
        // used. The caller's obligations are the same.
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

/// The backend that [`detect`] returns.
pub type AnyBackend = Hvc;

/// Returns the backend. It does not check that Xen is present: the device tree or the ACPI tables
/// show that.
///
/// # Errors
///
/// None on this architecture.
pub const fn detect() -> Result<AnyBackend, DetectError> {
    Ok(Hvc)
}
