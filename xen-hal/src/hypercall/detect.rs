//! Choosing the way into Xen at run time.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{AnyBackend, detect, detect_with_page};

/// No way into Xen was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// CPUID has no leaves of Xen's.
    #[error("CPUID does not show Xen: this is not a Xen guest, or Xen hides itself")]
    NoXen,
    /// The processor's vendor is unknown, so it needs a hypercall page: use `detect_with_page`.
    #[error("unknown processor vendor: hypercalls need a hypercall page")]
    UnknownProcessor,
    /// The address of the hypercall page is not a page's first byte.
    #[error("expected the hypercall page at a page's first byte")]
    Misaligned,
    /// Xen offers no hypercall page.
    #[error("this Xen offers no hypercall page")]
    NoPage,
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86 {
    use core::ptr::NonNull;

    use super::DetectError;
    use crate::hypercall::backend::{Arguments, Entry, hypercall_by_entry};
    use crate::hypercall::cpuid::{Registers, cpuid};
    use crate::hypercall::{HypercallPage, Vmcall, Vmmcall, XenCpuid};

    /// The way into Xen that was found at run time.
    ///
    /// It costs a comparison for each hypercall. A kernel that is built for one vendor's processors
    /// can name [`Vmcall`] or [`Vmmcall`] itself.
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
                // SAFETY: as above.
                Self::Page(xen) => unsafe { xen.enter(number, arguments) },
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

    /// Finds Xen and the instruction that enters it. If the processor's vendor is unknown, installs
    /// a hypercall page.
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

    /// The instruction of a processor by its leaf 0: the vendor's name is in ebx, edx and ecx.
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
                matches!(
                    maker(0x6874_7541, 0x6974_6e65, 0x444d_4163),
                    Some(AnyBackend::Vmmcall(_))
                ),
                "AMD"
            );
            assert!(
                matches!(
                    maker(0x6f67_7948, 0x6e65_476e, 0x656e_6975),
                    Some(AnyBackend::Vmmcall(_))
                ),
                "Hygon"
            );
            assert_eq!(maker(0x756e_6547, 0x4965_6e69, 0x6c65_746f), None, "one letter off");
            assert_eq!(maker(0, 0, 0), None);
        }
    }
}
