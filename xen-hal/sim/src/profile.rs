//! Which Xen is simulated, and as what sort of domain.

use xen_pac::features::Feature;
use xen_pac::release::Release;
use xen_pac::shared_info::raw::VcpuInfo;

/// An architecture whose answers are given.
///
/// Only the answers: the layout of memory is always that of the machine for which the program was
/// compiled, whose pointers and words it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86, as an HVM or PVH guest. Not in programs that are compiled for Arm, where much of it has
    /// no name.
    #[cfg(target_arch = "x86_64")]
    X86,
    /// 64-bit Arm.
    Aarch64,
}

/// What a domain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The control domain, which is the hardware domain as well.
    Control,
    /// A guest like any other, made by the toolstack.
    Guest,
    /// A guest that Xen itself made when it started, without a control domain; on Arm.
    Dom0less,
}

/// The Xen that is simulated, and the role of the first domain.
///
/// | constant | as recorded by |
/// |---|---|
/// | [`DOM0`](Self::DOM0) | the repository's transcripts `x86_64-A` |
/// | [`DOMU`](Self::DOMU), [`DOM0LESS`](Self::DOM0LESS) | nobody yet: they answer as Xen's sources read |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The architecture.
    pub arch: Arch,
    /// The release.
    pub release: Release,
    /// The role of domains, unless they are [set up](super::Setup) with another.
    pub role: Role,
}

impl Profile {
    /// The control domain of Xen 4.17 on x86, as PVH.
    #[cfg(target_arch = "x86_64")]
    pub const DOM0: Self =
        Self { arch: Arch::X86, release: Release::new(4, 17), role: Role::Control };
    /// A PVH guest of Xen 4.17 on x86.
    #[cfg(target_arch = "x86_64")]
    pub const DOMU: Self =
        Self { arch: Arch::X86, release: Release::new(4, 17), role: Role::Guest };
    /// A guest of Xen 4.17 on Arm, without a control domain.
    pub const DOM0LESS: Self =
        Self { arch: Arch::Aarch64, release: Release::new(4, 17), role: Role::Dom0less };

    /// Where a vCPU's block is in the shared page, in bytes; none for those that have no place
    /// there.
    pub(super) fn block_in_shared_page(self, vcpu: usize) -> Option<usize> {
        let vcpus = match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => 32,
            Arch::Aarch64 => 1,
        };
        (vcpu < vcpus).then_some(vcpu * size_of::<VcpuInfo>())
    }

    pub(super) const fn is_arm(self) -> bool {
        matches!(self.arch, Arch::Aarch64)
    }

    /// Whether this release is at least `major.minor`.
    pub(super) fn since(self, major: u16, minor: u16) -> bool {
        self.release >= Release::new(major, minor)
    }

    /// The counter's ticks a second: what QEMU's processors have on either architecture, so that
    /// nothing comes out even.
    pub(super) const fn counter_frequency(self) -> u64 {
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => 2_599_998_000,
            Arch::Aarch64 => 62_500_000,
        }
    }

    pub(super) fn features(self, role: Role) -> u32 {
        let mut features = std::vec![
            Feature::WRITABLE_PAGE_TABLES,
            Feature::AUTO_TRANSLATED_PHYSMAP,
            Feature::MEMORY_OP_VNODE_SUPPORTED
        ];
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => features.extend([Feature::HVM_CALLBACK_VECTOR, Feature::HVM_SAFE_PVCLOCK]),
            Arch::Aarch64 => features.push(Feature::ARM_SMCCC_SUPPORTED),
        }
        if role == Role::Control {
            features.push(Feature::DOM0);
        }
        // Up to 4.12 there is no such bit; afterwards every x86 guest that is translated has it,
        // and on Arm those that are not mapped one to one.
        if self.since(4, 13) {
            features.push(Feature::NOT_DIRECT_MAPPED);
        }
        features.iter().fold(0, |word, feature| word | 1 << feature.0)
    }

    pub(super) const fn capabilities(self) -> &'static str {
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
            Arch::Aarch64 => "xen-3.0-aarch64 xen-3.0-armv7l ",
        }
    }
}
