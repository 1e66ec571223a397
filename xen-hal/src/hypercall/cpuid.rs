//! The processor's CPUID instruction.

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

/// What a leaf of CPUID holds.
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

/// Reads a leaf, its first subleaf where it has several.
pub(super) fn cpuid(leaf: u32) -> Registers {
    // SAFETY: every processor that runs Xen has the instruction. (Newer compilers know that and ask
    // for no promise.)
    #[allow(unused_unsafe, reason = "the function is safe in newer releases of Rust")]
    let arch::CpuidResult { eax, ebx, ecx, edx } = unsafe { arch::__cpuid_count(leaf, 0) };
    Registers { eax, ebx, ecx, edx }
}
