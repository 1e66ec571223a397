//! Selects the Xen to simulate, and the roles of domains.

use xen_pac::features::Feature;
use xen_pac::release::Release;
use xen_pac::shared_info::raw::VcpuInfo;

/// The architecture of the simulated Xen.
///
/// Memory always has the layout of the architecture for which the program was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86, as an HVM or PVH guest. Only in programs compiled for x86_64.
    #[cfg(target_arch = "x86_64")]
    X86,
    /// 64-bit Arm.
    Aarch64,
}

/// The role of a domain, which decides its privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The control domain, which is also the hardware domain.
    Control,
    /// A guest created by the toolstack.
    Guest,
    /// A guest that Xen created at boot, on Arm.
    Dom0less,
}

/// The simulated Xen, and the role of domains whose configuration sets none.
///
/// | constant | answers |
/// |---|---|
/// | [`DOM0`](Self::DOM0) | as in the repository's transcripts `x86_64-dom0-4.17` |
/// | [`DOMU`](Self::DOMU) | as in `x86_64-domu-4.17` |
/// | both with release 4.20 | as in `x86_64-dom0-4.20` and `x86_64-domu-4.20` |
/// | each of these with `is_compat` | as in the transcripts `x86-*` of the same name |
/// | [`DOMU_AARCH64`](Self::DOMU_AARCH64) | as in `aarch64-domu-4.17`, except for the FIFO form |
/// | [`DOM0LESS`](Self::DOM0LESS) | as in `aarch64-dom0less-4.17`, except for the FIFO form |
/// | other releases and roles | as read from Xen's sources |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The architecture.
    pub arch: Arch,
    /// The release. Where its point releases differ, the answers are those of the last: 4.17.7,
    /// 4.18.5, 4.19.5, 4.20.4, 4.21.1.
    pub release: Release,
    /// The role of domains whose [`DomainConfig`](crate::DomainConfig) sets none.
    pub role: Role,
    /// Whether x86 guests are 32-bit: Xen then answers through its compatibility layer, which
    /// translates arguments first. Memory keeps the layout of the program's own architecture, so a
    /// `vcpu_info` that is registered at an offset that only 32-bit guests may use lies at the next
    /// multiple of 8. On Arm, this has no effect.
    pub is_compat: bool,
}

impl Profile {
    /// The control domain of Xen 4.17 on x86, as PVH.
    #[cfg(target_arch = "x86_64")]
    pub const DOM0: Self = Self {
        arch: Arch::X86,
        release: Release::new(4, 17),
        role: Role::Control,
        is_compat: false,
    };
    /// A PVH guest of Xen 4.17 on x86.
    #[cfg(target_arch = "x86_64")]
    pub const DOMU: Self = Self { role: Role::Guest, ..Self::DOM0 };
    /// A guest of Xen 4.17 on Arm, created by the toolstack.
    pub const DOMU_AARCH64: Self = Self { role: Role::Guest, ..Self::DOM0LESS };
    /// A guest of Xen 4.17 on Arm, without a control domain.
    pub const DOM0LESS: Self = Self {
        arch: Arch::Aarch64,
        release: Release::new(4, 17),
        role: Role::Dom0less,
        is_compat: false,
    };

    /// Returns the offset of a vCPU's `vcpu_info` in `shared_info`, if it has one there.
    pub(crate) fn block_in_shared_page(self, vcpu: usize) -> Option<usize> {
        let vcpus = match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => 32,
            Arch::Aarch64 => 1,
        };
        (vcpu < vcpus).then_some(vcpu * size_of::<VcpuInfo>())
    }

    pub(crate) const fn is_arm(self) -> bool {
        matches!(self.arch, Arch::Aarch64)
    }

    /// Returns whether this release is at least `major.minor`.
    pub(crate) fn since(self, major: u16, minor: u16) -> bool {
        self.release >= Release::new(major, minor)
    }

    /// Returns whether Xen answers through its compatibility layer.
    pub(crate) fn translates(self) -> bool {
        self.is_compat && !self.is_arm()
    }

    /// Returns whether Xen takes a reference of a page through a frame where it is a grant
    /// (`get_page_from_gfn`). x86 does not since 4.18.5, 4.19.3 and 4.20.1.
    pub(crate) fn finds_grants(self) -> bool {
        self.is_arm() || !self.since(4, 18)
    }

    /// Returns whether x86 moves nothing but memory and Xen's pages (`XENMAPSPACE_gmfn`), and fails
    /// with `EACCES` otherwise: since 4.19.5, 4.20.3 and 4.21.1.
    pub(crate) fn moves_only_memory(self) -> bool {
        self.since(4, 19)
    }

    /// Returns whether Xen moves the last page of a range first if the new range begins within the
    /// old one: since 4.20.4 and 4.21.2. Before, the first page moves on and covers all others.
    pub(crate) fn moves_backwards(self) -> bool {
        self.since(4, 20)
    }

    /// Returns the counter's frequency in Hz: that of QEMU's processors, so that no result is a
    /// round number.
    pub(crate) const fn counter_frequency(self) -> u64 {
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => 2_599_998_000,
            Arch::Aarch64 => 62_500_000,
        }
    }

    pub(crate) fn features(self, role: Role) -> u32 {
        let mut features = vec![
            Feature::WRITABLE_PAGE_TABLES,
            Feature::AUTO_TRANSLATED_PHYSMAP,
            Feature::MEMORY_OP_VNODE_SUPPORTED,
        ];
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => features.extend([Feature::HVM_CALLBACK_VECTOR, Feature::HVM_SAFE_PVCLOCK]),
            Arch::Aarch64 => features.push(Feature::ARM_SMCCC_SUPPORTED),
        }
        if role == Role::Control {
            features.push(Feature::DOM0);
        }
        // From 4.13 on, every translated x86 guest has it, and every Arm guest that is not mapped
        // one to one.
        if self.since(4, 13) {
            features.push(Feature::NOT_DIRECT_MAPPED);
        }
        if self.since(4, 18) {
            features.extend([Feature::RUNSTATE_PHYS_AREA, Feature::VCPU_TIME_PHYS_AREA]);
        }
        if self.since(4, 19) && !self.is_arm() {
            features.push(Feature::DM_MSIX_ALL_WRITES);
        }
        features.iter().fold(0, |word, feature| word | 1 << feature.0)
    }

    pub(crate) const fn capabilities(self) -> &'static str {
        match self.arch {
            #[cfg(target_arch = "x86_64")]
            Arch::X86 => "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
            Arch::Aarch64 => "xen-3.0-aarch64 xen-3.0-armv7l ",
        }
    }
}
