//! Choosing the way into Xen at run time, by what CPUID says of the processor.

use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

use super::cpuid::{Registers, cpuid};
use super::entry::{Arguments, Entry, hypercall_by_entry};
use super::{HypercallPage, PageError, Vmcall, Vmmcall, XenCpuid};

/// The way into Xen that was found at run time: a backend that knows which of the others it is.
///
/// It costs a comparison for each hypercall. A kernel that is built for one make of processor can
/// name [`Vmcall`] or [`Vmmcall`] itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyBackend {
    /// Intel, Centaur or Zhaoxin.
    Vmcall(Vmcall),
    /// AMD or Hygon.
    Vmmcall(Vmmcall),
    /// Any other.
    Page(HypercallPage),
}

impl Entry for AnyBackend {
    #[inline(always)]
    unsafe fn enter(&self, number: u32, arguments: Arguments) -> isize {
        match self {
            // SAFETY: the caller's promise is the same.
            Self::Vmcall(xen) => unsafe { xen.enter(number, arguments) },
            // SAFETY: as above.
            Self::Vmmcall(xen) => unsafe { xen.enter(number, arguments) },
            // SAFETY: as above.
            Self::Page(xen) => unsafe { xen.enter(number, arguments) },
        }
    }
}

hypercall_by_entry!(AnyBackend);

/// Why no way into Xen was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetectError {
    /// This is no guest of Xen's.
    NoXen,
    /// The processor is of a make whose instruction is not known: it takes a hypercall page, which
    /// only [`detect_with_page`] can set up.
    UnknownProcessor,
    /// It takes a hypercall page, and there is none.
    Page(PageError),
}

impl fmt::Display for DetectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoXen => f.write_str("Xen does not show itself: this is no guest of Xen's"),
            Self::UnknownProcessor => f.write_str(
                "the processor is of an unknown make, on which hypercalls take a hypercall page",
            ),
            Self::Page(error) => error.fmt(f),
        }
    }
}

impl Error for DetectError {}

/// Finds Xen, and the instruction that enters it.
///
/// # Errors
///
/// When this is no guest of Xen's, or the processor's instruction is not known.
pub fn detect() -> Result<AnyBackend, DetectError> {
    XenCpuid::find().ok_or(DetectError::NoXen)?;
    by_vendor(cpuid(0)).ok_or(DetectError::UnknownProcessor)
}

/// Finds Xen, and the instruction that enters it; on a processor of unknown make, has Xen fill a
/// hypercall page.
///
/// # Errors
///
/// When this is no guest of Xen's, or the page is needed and there is none.
///
/// # Safety
///
/// As for [`HypercallPage::install`].
pub unsafe fn detect_with_page(
    code: NonNull<u8>,
    physical: u64,
) -> Result<AnyBackend, DetectError> {
    let leaves = XenCpuid::find().ok_or(DetectError::NoXen)?;
    match by_vendor(cpuid(0)) {
        Some(found) => Ok(found),
        // SAFETY: the caller's promise is the same.
        None => unsafe { HypercallPage::install(leaves, code, physical) }
            .map(AnyBackend::Page)
            .map_err(DetectError::Page),
    }
}

/// The instruction of a processor, by its first leaf: the maker's name is in ebx, edx and ecx.
fn by_vendor(first: Registers) -> Option<AnyBackend> {
    let mut name = [0; 12];
    for (letters, register) in name.chunks_exact_mut(4).zip([first.ebx, first.edx, first.ecx]) {
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
    use super::{AnyBackend, Registers, by_vendor};

    fn maker(ebx: u32, edx: u32, ecx: u32) -> Option<AnyBackend> {
        by_vendor(Registers { eax: 0xd, ebx, ecx, edx })
    }

    #[test]
    fn each_make_has_its_instruction() {
        // The registers as the processors' manuals list them.
        assert!(
            matches!(maker(0x756e_6547, 0x4965_6e69, 0x6c65_746e), Some(AnyBackend::Vmcall(_))),
            "Intel"
        );
        assert!(
            matches!(maker(0x6874_7541, 0x6974_6e65, 0x444d_4163), Some(AnyBackend::Vmmcall(_))),
            "AMD"
        );
        assert!(
            matches!(maker(0x6f67_7948, 0x6e65_476e, 0x656e_6975), Some(AnyBackend::Vmmcall(_))),
            "Hygon"
        );
        assert_eq!(maker(0x756e_6547, 0x4965_6e69, 0x6c65_746f), None, "one letter off");
        assert_eq!(maker(0, 0, 0), None);
    }
}
