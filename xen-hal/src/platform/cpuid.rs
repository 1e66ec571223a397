//! Reads Xen's CPUID leaves: whether Xen is present, its release, and the numbers of the domain and
//! the vCPU.

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

use xen_pac::base::Domid;
use xen_pac::cpuid::{
    CpuidLeaf, XEN_CPUID_END_LEAF, XEN_CPUID_FIRST_LEAF, XEN_CPUID_SIGNATURE_EBX,
    XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX, XEN_CPUID_STRIDE, cpuid_hvm_flags,
};

use super::VcpuId;

/// The registers that CPUID returns for a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The register eax.
    pub eax: u32,
    /// The register ebx.
    pub ebx: u32,
    /// The register ecx.
    pub ecx: u32,
    /// The register edx.
    pub edx: u32,
}

/// Reads a leaf, subleaf 0.
pub(crate) fn cpuid(leaf: u32) -> Registers {
    // SAFETY: every processor that runs Xen has the instruction.
    #[allow(unused_unsafe, reason = "the function is safe in newer releases of Rust")]
    let arch::CpuidResult { eax, ebx, ecx, edx } = unsafe { arch::__cpuid_count(leaf, 0) };
    Registers { eax, ebx, ecx, edx }
}

/// Xen's leaves of CPUID.
///
/// ```
/// use xen_hal::platform::XenCpuid;
///
/// match XenCpuid::find() {
///     Some(xen) => println!("Xen {:?}, domain {:?}", xen.version(), xen.domain_id()),
///     None => println!("Xen not found"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenCpuid {
    base: u32,
}

impl XenCpuid {
    /// Searches for Xen's leaves, which can follow those of another hypervisor that Xen emulates.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::search(cpuid)
    }

    /// Creates the handle of the leaves that start at `base`; `None` for 0.
    #[cfg(feature = "critical-section")]
    pub(super) const fn at(base: u32) -> Option<Self> {
        if base == 0 { None } else { Some(Self { base }) }
    }

    fn search(mut read: impl FnMut(u32) -> Registers) -> Option<Self> {
        const SIGNATURE: [u32; 3] =
            [XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX];
        let mut bases =
            (XEN_CPUID_FIRST_LEAF..XEN_CPUID_END_LEAF).step_by(XEN_CPUID_STRIDE as usize);
        bases
            .find(|base| {
                let found = read(*base);
                // Every Xen has the leaves up to that of the hypercall page.
                [found.ebx, found.ecx, found.edx] == SIGNATURE
                    && found.eax.wrapping_sub(*base) >= CpuidLeaf::HYPERCALL_PAGE.0
            })
            .map(|base| Self { base })
    }

    /// Returns the number of the first leaf.
    #[must_use]
    pub const fn base(self) -> u32 {
        self.base
    }

    /// Reads a leaf, subleaf 0. Returns `None` if this Xen does not have it.
    #[must_use]
    pub fn read(self, leaf: CpuidLeaf) -> Option<Registers> {
        let last = cpuid(self.base).eax;
        let number = self.base.checked_add(leaf.0)?;
        (number <= last).then(|| cpuid(number))
    }

    /// Returns the release, major and minor.
    #[must_use]
    pub fn version(self) -> (u16, u16) {
        let version = cpuid(self.base + CpuidLeaf::VERSION.0).eax;
        ((version >> 16) as u16, version as u16)
    }

    /// Returns the number of the calling vCPU; `None` before Xen 4.6.
    #[must_use]
    pub fn vcpu_id(self) -> Option<VcpuId> {
        self.read(CpuidLeaf::HVM).and_then(vcpu_id)
    }

    /// Returns the number of the domain; `None` before Xen 4.11.
    #[must_use]
    pub fn domain_id(self) -> Option<Domid> {
        self.read(CpuidLeaf::HVM).and_then(domain_id)
    }
}

fn vcpu_id(hvm: Registers) -> Option<VcpuId> {
    cpuid_hvm_flags::VCPU_ID_PRESENT.is_set(hvm.eax).then_some(VcpuId(hvm.ebx))
}

fn domain_id(hvm: Registers) -> Option<Domid> {
    let id = cpuid_hvm_flags::DOMID_PRESENT.is_set(hvm.eax).then_some(hvm.ecx)?;
    u16::try_from(id).ok().map(Domid)
}

#[cfg(test)]
mod tests {
    use super::{Domid, Registers, VcpuId, XenCpuid, domain_id, vcpu_id};

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
    fn the_numbers_of_vcpu_and_domain_are_there_if_their_flags_are_set() {
        for (eax, vcpu, domain) in [
            (0, None, None),
            (1 << 3, Some(VcpuId(5)), None),
            (1 << 4, None, Some(Domid(7))),
            (3 << 3, Some(VcpuId(5)), Some(Domid(7))),
        ] {
            let leaf = Registers { eax, ebx: 5, ecx: 7, edx: 0 };
            assert_eq!((vcpu_id(leaf), domain_id(leaf)), (vcpu, domain), "{eax:#x}");
        }
        assert_eq!(domain_id(Registers { eax: 3 << 3, ebx: 5, ecx: 1 << 16, edx: 0 }), None);
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
