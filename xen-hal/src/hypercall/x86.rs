//! Hypercalls on x86: `vmcall`, `vmmcall`, the hypercall page, and the choice between them at run
//! time.
//!
//! On x86_64, the number is in rax, the arguments are in rdi, rsi, rdx, r10 and r8, and the result
//! is in rax. On 32-bit x86, the number is in eax, the arguments are in ebx, ecx, edx, esi and edi,
//! and the result is in eax.

use core::ptr::NonNull;

use xen_pac::cpuid::{CpuidLeaf, HYPERCALL_PAGE_SLOT};

use super::backend::{Arguments, Entry, Register, hypercall_by_entry};
use super::{DetectError, Errno};
use crate::platform::{PAGE_SIZE, Registers, XenCpuid, cpuid};

/// Executes `$instruction` with `$number` in rax and the arguments in their registers. Evaluates to
/// the result.
///
/// Every argument register is an output, even an unused one: the hypervisor may change it.
///
/// # Safety
///
/// The instruction must enter the hypervisor. The caller must permit the hypercall's effects.
#[cfg(target_arch = "x86_64")]
macro_rules! sequence {
    ($instruction:literal, $number:expr, $arguments:expr $(, $options:tt $list:tt)?) => {{
        let [a, b, c, d, e]: Arguments = $arguments;
        let answer: isize;
        core::arch::asm!(
            $instruction,
            inlateout("rax") $number => answer,
            inlateout("rdi") a => _,
            inlateout("rsi") b => _,
            inlateout("rdx") c => _,
            inlateout("r10") d => _,
            inlateout("r8") e => _,
            $($options $list)?
        );
        answer
    }};
}

/// Does the same on 32-bit x86. Inline assembly cannot name `esi`, which LLVM reserves. So the
/// compiler chooses the register of the fourth argument: esi or ebp, because all others are named.
/// If it is ebp, the assembler emits exchanges with esi around the instruction. ebp is not an
/// argument of a hypercall, so it keeps its value.
#[cfg(target_arch = "x86")]
macro_rules! sequence {
    ($instruction:literal, $number:expr, $arguments:expr $(, $options:tt $list:tt)?) => {{
        let [a, b, c, d, e]: Arguments = $arguments;
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
            inlateout("eax") $number => answer,
            inlateout("ebx") a => _,
            inlateout("ecx") b => _,
            inlateout("edx") c => _,
            inlateout("edi") e => _,
            $($options $list)?
        );
        answer
    }};
}

/// Defines a backend that is a single instruction.
macro_rules! direct {
    ($(#[$doc:meta])* $backend:ident, $instruction:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $backend;

        impl Entry for $backend {
            #[inline(always)]
            unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
                // SAFETY: the instruction enters the hypervisor as its calling convention requires,
                // and does not use the stack; the caller's obligations are the same.
                unsafe { sequence!($instruction, number as usize, arguments, options(nostack)) }
            }
        }

        hypercall_by_entry!($backend);
    };
}

direct! {
    /// Makes hypercalls with the `vmcall` instruction of Intel, Centaur and Zhaoxin processors.
    ///
    /// On other processors the instruction faults or is emulated slowly, as it does outside an HVM
    /// or PVH guest: use [`detect`](super::detect).
    Vmcall, "vmcall"
}

direct! {
    /// Makes hypercalls with the `vmmcall` instruction of AMD and Hygon processors.
    ///
    /// On other processors the instruction faults or is emulated slowly, as it does outside an HVM
    /// or PVH guest: use [`detect`](super::detect).
    Vmmcall, "vmmcall"
}

/// The number of hypercalls that have code in the page.
const SLOTS: u32 = PAGE_SIZE as u32 / HYPERCALL_PAGE_SLOT;

/// Makes hypercalls through the hypercall page, into which Xen writes code.
///
/// Use it only for processors of an unknown vendor. Otherwise prefer [`Vmcall`] or [`Vmmcall`]
/// (XSA-466).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HypercallPage {
    code: NonNull<u8>,
}

// SAFETY: the page is only executed, which any vCPU may do.
unsafe impl Send for HypercallPage {}
// SAFETY: as above.
unsafe impl Sync for HypercallPage {}

impl HypercallPage {
    /// Asks Xen to write its code into the page at `code`, whose guest-physical address is
    /// `physical`.
    ///
    /// This also makes Xen choose the layout of shared memory, for 32 or 64 bits, by the mode of
    /// the calling vCPU. Setting the callback does the same.
    ///
    /// # Errors
    ///
    /// [`DetectError::Misaligned`] and [`DetectError::NoPage`]. The page is unchanged then.
    ///
    /// # Safety
    ///
    /// As long as the result or a copy of it is used, `code` must map the page at `physical`, and
    /// be executable. The page must hold nothing else. The program must run at privilege level 0,
    /// because this writes a model-specific register.
    pub unsafe fn install(
        cpuid: XenCpuid,
        code: NonNull<u8>,
        physical: u64,
    ) -> Result<Self, DetectError> {
        let offset_bits = PAGE_SIZE as u64 - 1;
        // Xen writes to the page.
        if code.as_ptr().expose_provenance() as u64 & offset_bits != 0
            || physical & offset_bits != 0
        {
            return Err(DetectError::Misaligned);
        }
        // The leaf's eax is the number of pages. The offset bits of the written address select page
        // 0.
        let leaf = cpuid
            .read(CpuidLeaf::HYPERCALL_PAGE)
            .filter(|leaf| leaf.eax > 0)
            .ok_or(DetectError::NoPage)?;
        // SAFETY: Xen's CPUID leaf names this register. Xen writes into the page, which the caller
        // owns.
        unsafe { write_msr(leaf.ebx, physical) };
        Ok(Self { code })
    }

    /// Returns the code in the page.
    pub(super) const fn code(self) -> NonNull<u8> {
        self.code
    }

    /// Creates the backend for the page at `code`, which Xen has filled for earlier code, such as a
    /// boot loader.
    ///
    /// # Safety
    ///
    /// `code` must be the first byte of a page as Xen fills it, with 32 bytes of code for each
    /// hypercall, mapped and executable for as long as the result or a copy of it is used. The page
    /// must not be written to. The privilege level is as for [`install`](Self::install).
    #[must_use]
    pub const unsafe fn filled(code: NonNull<u8>) -> Self {
        Self { code }
    }
}

impl Entry for HypercallPage {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        match self.slot(number) {
            // The slot loads the number itself. The call uses the stack, so the assembly is not
            // `nostack`. SAFETY: Xen filled the page, and the slot is in the page; the caller's
            // obligations are the same.
            Some(slot) => unsafe { call_slot(slot, arguments) },
            None => Errno::ENOSYS.to_answer(),
        }
    }
}

impl HypercallPage {
    /// Returns the address of a hypercall's code.
    #[inline(always)]
    fn slot(self, number: u32) -> Option<usize> {
        let offset = (number < SLOTS).then(|| (number * HYPERCALL_PAGE_SLOT) as usize)?;
        Some(self.code.addr().get().wrapping_add(offset))
    }
}

/// Does the same as `call_slot`, in a function of its own. The call needs an aligned stack: inlined
/// into [`AnyBackend`], the alignment would also cost instructions on the paths of `vmcall` and
/// `vmmcall`. All arguments are passed in registers.
///
/// # Safety
///
/// As for `call_slot`.
#[cold]
#[inline(never)]
unsafe fn call_slot_apart(
    slot: usize,
    a: Register,
    b: Register,
    c: Register,
    d: Register,
    e: Register,
) -> isize {
    // SAFETY: the caller's obligations are the same.
    unsafe { call_slot(slot, [a, b, c, d, e]) }
}

hypercall_by_entry!(HypercallPage);

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call_slot(slot: usize, arguments: Arguments) -> isize {
    // SAFETY: the caller's obligations are the same.
    unsafe { sequence!("call rax", slot, arguments) }
}

#[cfg(target_arch = "x86")]
#[inline(always)]
unsafe fn call_slot(slot: usize, arguments: Arguments) -> isize {
    // SAFETY: the caller's obligations are the same.
    unsafe { sequence!("call eax", slot, arguments) }
}

/// Writes a model-specific register.
///
/// # Safety
///
/// The register must exist, the program must run at privilege level 0, and the caller must permit
/// the effects of the write.
unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's obligations are the same. Memory counts as changed, because Xen fills a
    // page.
    unsafe {
        core::arch::asm!(
            "wrmsr",
            in("ecx") register,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags)
        );
    }
}

/// The backend that [`detect`] returns.
///
/// It adds a comparison to each hypercall. A kernel that is built for one vendor's processors can
/// name [`Vmcall`] or [`Vmmcall`] itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyBackend {
    /// Intel, Centaur or Zhaoxin.
    Vmcall(Vmcall),
    /// AMD or Hygon.
    Vmmcall(Vmmcall),
    /// Any other vendor.
    Page(HypercallPage),
}

impl Entry for AnyBackend {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        match self {
            // SAFETY: the caller's obligations are the same.
            Self::Vmcall(xen) => unsafe { xen.enter(number, arguments) },
            // SAFETY: as above.
            Self::Vmmcall(xen) => unsafe { xen.enter(number, arguments) },
            Self::Page(page) => match page.slot(number) {
                Some(slot) => {
                    let [a, b, c, d, e] = arguments;
                    // SAFETY: Xen filled the page, and the slot lies in it; as above.
                    unsafe { call_slot_apart(slot, a, b, c, d, e) }
                }
                None => Errno::ENOSYS.to_answer(),
            },
        }
    }
}

hypercall_by_entry!(AnyBackend);

/// Finds Xen and the instruction that enters it.
///
/// # Errors
///
/// [`DetectError::NoXen`] and [`DetectError::UnknownProcessor`].
pub fn detect() -> Result<AnyBackend, DetectError> {
    XenCpuid::find().ok_or(DetectError::NoXen)?;
    by_vendor(cpuid(0)).ok_or(DetectError::UnknownProcessor)
}

/// Detects Xen and the instruction that enters it. If the processor's vendor is unknown, installs a
/// hypercall page.
///
/// # Errors
///
/// [`DetectError::NoXen`], and those of [`HypercallPage::install`].
///
/// # Safety
///
/// As for [`HypercallPage::install`].
pub unsafe fn detect_with_page(
    code: NonNull<u8>,
    physical: u64,
) -> Result<AnyBackend, DetectError> {
    let xen = XenCpuid::find().ok_or(DetectError::NoXen)?;
    match by_vendor(cpuid(0)) {
        Some(found) => Ok(found),
        // SAFETY: the caller's obligations are the same.
        None => unsafe { HypercallPage::install(xen, code, physical) }.map(AnyBackend::Page),
    }
}

/// Selects a processor's instruction by its leaf 0: the vendor's name is in ebx, edx and ecx.
fn by_vendor(leaf: Registers) -> Option<AnyBackend> {
    let mut name = [0; 12];
    for (letters, register) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        letters.copy_from_slice(&register.to_le_bytes());
    }
    match &name {
        b"GenuineIntel" | b"CentaurHauls" | b"  Shanghai  " => Some(AnyBackend::Vmcall(Vmcall)),
        b"AuthenticAMD" | b"HygonGenuine" => Some(AnyBackend::Vmmcall(Vmmcall)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendor_has_its_instruction() {
        let (vmcall, vmmcall) = (AnyBackend::Vmcall(Vmcall), AnyBackend::Vmmcall(Vmmcall));
        // The registers as the processors' manuals list them.
        for (ebx, edx, ecx, expected) in [
            (0x756e_6547, 0x4965_6e69, 0x6c65_746e, Some(vmcall)), // Intel
            (0x6874_7541, 0x6974_6e65, 0x444d_4163, Some(vmmcall)), // AMD
            (0x6f67_7948, 0x6e65_476e, 0x656e_6975, Some(vmmcall)), // Hygon
            (0x756e_6547, 0x4965_6e69, 0x6c65_746f, None),         // one letter off
            (0, 0, 0, None),
        ] {
            let found = by_vendor(Registers { eax: 0xd, ebx, ecx, edx });
            assert_eq!(found, expected, "{ebx:#x} {edx:#x} {ecx:#x}");
        }
    }
}
