//! The hypercall page: code that Xen writes into a page of the guest, and that knows how to enter
//! it.
//!
//! The direct instructions are to be preferred (XSA-466): this is for processors that nobody knows,
//! and for guests that must run where only Xen knows what they run on.

use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

use xen_pac::cpuid::{CpuidLeaf, HYPERCALL_PAGE_SLOT};

use super::entry::{Arguments, Entry, hypercall_by_entry};
#[cfg(target_arch = "x86")]
use super::x86::call_slot;
#[cfg(target_arch = "x86_64")]
use super::x86_64::call_slot;
use super::{Errno, XenCpuid};
use crate::platform::PAGE_SIZE;

/// How many hypercalls have code in the page.
const SLOTS: u32 = PAGE_SIZE as u32 / HYPERCALL_PAGE_SLOT;

/// Hypercalls through a page that Xen filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HypercallPage {
    code: NonNull<u8>,
}

// SAFETY: the page is only ever executed, by any vCPU.
unsafe impl Send for HypercallPage {}
// SAFETY: as above.
unsafe impl Sync for HypercallPage {}

/// Why there is no hypercall page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageError {
    /// The address is not that of a whole page.
    Misaligned,
    /// Xen offers none.
    NotOffered,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "the hypercall page must begin at a page's first byte",
            Self::NotOffered => "Xen offers no hypercall page",
        })
    }
}

impl Error for PageError {}

impl HypercallPage {
    /// Has Xen write its code into the page at `code`, whose guest-physical address is `physical`.
    ///
    /// This is one of the two moments at which Xen notes whether the guest is a 32-bit or a 64-bit
    /// one, for the layout of shared memory.
    ///
    /// # Errors
    ///
    /// Nothing has been done when either address is not that of a whole page, or Xen offers no
    /// page.
    ///
    /// # Safety
    ///
    /// `code` must be mapped to the page at `physical`, executable, for as long as the result or a
    /// copy of it is used, and nothing may be in the page that is still needed, nor be written
    /// there later. The program must run at privilege level 0.
    pub unsafe fn install(
        leaves: XenCpuid,
        code: NonNull<u8>,
        physical: u64,
    ) -> Result<Self, PageError> {
        let offset_bits = PAGE_SIZE as u64 - 1;
        if code.addr().get() as u64 & offset_bits != 0 || physical & offset_bits != 0 {
            return Err(PageError::Misaligned);
        }
        // Page 0 of those that the leaf offers: its number is what the address's offset bits mean
        // to Xen.
        let offered = leaves
            .read(CpuidLeaf::HYPERCALL_PAGE)
            .filter(|leaf| leaf.eax > 0)
            .ok_or(PageError::NotOffered)?;
        // SAFETY: the register is the one that Xen named for this; it writes into the page, which
        // is the caller's to give.
        unsafe { write_msr(offered.ebx, physical) };
        Ok(Self { code })
    }

    /// The page at `code`, which Xen has filled before: at the request of code that ran earlier,
    /// such as a boot loader or the kernel's own start in assembly.
    ///
    /// # Safety
    ///
    /// `code` must be the first byte of a page with 32 bytes of code for each hypercall, as Xen
    /// writes it, mapped and executable for as long as the result or a copy of it is used, and
    /// nothing may be written there. What is said of privilege for [`install`](Self::install) holds
    /// for the hypercalls.
    #[must_use]
    pub const unsafe fn filled(code: NonNull<u8>) -> Self {
        Self { code }
    }
}

impl Entry for HypercallPage {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        if number >= SLOTS {
            return Errno::ENOSYS.to_answer();
        }
        let slot = self.code.addr().get().wrapping_add((number * HYPERCALL_PAGE_SLOT) as usize);
        // SAFETY: Xen filled the page when it was installed, and the slot lies in it; what the
        // hypercall does is the caller's promise.
        unsafe { call_slot(slot, arguments) }
    }
}

hypercall_by_entry!(HypercallPage);

/// Writes to a register of the processor's model.
///
/// # Safety
///
/// The register must exist, the program must run at privilege level 0, and what the write does must
/// be expected.
unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's promise is the same. Memory is taken to have changed, because Xen fills
    // in a page.
    unsafe {
        core::arch::asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}
