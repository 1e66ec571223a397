//! Finding Xen by the processor's CPUID instruction, and what its leaves say.

use xen_pac::cpuid::{
    CpuidLeaf, XEN_CPUID_END_LEAF, XEN_CPUID_FIRST_LEAF, XEN_CPUID_SIGNATURE_EBX,
    XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX, XEN_CPUID_STRIDE,
};

use super::cpuid::{Registers, cpuid};

/// Xen's leaves of CPUID.
///
/// ```
/// use xen_hal::hypercall::XenCpuid;
///
/// match XenCpuid::find() {
///     Some(xen) => println!("Xen {:?}", xen.version()),
///     None => println!("no Xen that would show itself"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenCpuid {
    base: u32,
}

impl XenCpuid {
    /// Looks for Xen's leaves. They need not come first: Xen can show those of another hypervisor
    /// before its own.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::search(cpuid)
    }

    fn search(mut read: impl FnMut(u32) -> Registers) -> Option<Self> {
        const SIGNATURE: [u32; 3] =
            [XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX];
        let mut bases =
            (XEN_CPUID_FIRST_LEAF..XEN_CPUID_END_LEAF).step_by(XEN_CPUID_STRIDE as usize);
        bases
            .find(|base| {
                let found = read(*base);
                // A Xen without the leaf on the hypercall page is none that ever was.
                [found.ebx, found.ecx, found.edx] == SIGNATURE
                    && found.eax.wrapping_sub(*base) >= CpuidLeaf::HYPERCALL_PAGE.0
            })
            .map(|base| Self { base })
    }

    /// The number of the first leaf.
    #[must_use]
    pub const fn base(self) -> u32 {
        self.base
    }

    /// What a leaf says, its first subleaf where it has several; `None` for a leaf that this Xen
    /// does not have.
    #[must_use]
    pub fn read(self, leaf: CpuidLeaf) -> Option<Registers> {
        let last = cpuid(self.base).eax;
        let number = self.base.checked_add(leaf.0)?;
        (number <= last).then(|| cpuid(number))
    }

    /// The release, major and minor.
    #[must_use]
    pub fn version(self) -> (u16, u16) {
        let version = cpuid(self.base + CpuidLeaf::VERSION.0).eax;
        ((version >> 16) as u16, version as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::{Registers, XenCpuid};

    const NOTHING: Registers = Registers { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    fn letters(text: &[u8]) -> u32 {
        u32::from_le_bytes(text.try_into().unwrap())
    }

    fn signature(text: &[u8; 12], eax: u32) -> Registers {
        Registers {
            eax,
            ebx: letters(&text[..4]),
            ecx: letters(&text[4..8]),
            edx: letters(&text[8..]),
        }
    }

    #[test]
    fn xen_is_found_behind_another_hypervisor() {
        let found = XenCpuid::search(|leaf| match leaf {
            0x4000_0000 => signature(b"Microsoft Hv", 0x4000_0006),
            0x4000_0100 => signature(b"XenVMMXenVMM", 0x4000_0105),
            _ => NOTHING,
        });
        assert_eq!(found.map(XenCpuid::base), Some(0x4000_0100));
    }

    #[test]
    fn the_last_place_is_searched_and_none_beyond() {
        let mut seen = 0;
        let found = XenCpuid::search(|leaf| {
            assert!(leaf < 0x4001_0000);
            seen += 1;
            if leaf == 0x4000_ff00 { signature(b"XenVMMXenVMM", leaf + 4) } else { NOTHING }
        });
        assert_eq!((found.map(XenCpuid::base), seen), (Some(0x4000_ff00), 256));
    }

    #[test]
    fn nothing_else_is_taken_for_xen() {
        assert_eq!(XenCpuid::search(|leaf| signature(b"KVMKVMKVM\0\0\0", leaf + 1)), None);
        assert_eq!(
            XenCpuid::search(|leaf| signature(b"XenVMMXenVMM", leaf + 1)),
            None,
            "too few leaves"
        );
        // A processor without a hypervisor repeats its last basic leaf.
        assert_eq!(XenCpuid::search(|_| NOTHING), None);
    }
}
