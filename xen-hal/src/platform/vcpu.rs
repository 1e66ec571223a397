//! Which vCPU runs.

use core::fmt;

/// The number of a vCPU within the domain, from 0, as Xen counts. It can differ from the APIC id,
/// and from the order in which a kernel starts its vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(pub u32);

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Finds out which vCPU executes the calling code.
///
/// # Safety
///
/// [`current_vcpu`](Self::current_vcpu) must return the number of the vCPU that executes the call.
/// Locks that tell their owner by it rely on this.
pub unsafe trait CurrentVcpu {
    /// The vCPU that executes the call. Unless interrupts are off, or threads stay on their vCPU,
    /// the answer can be out of date when it arrives.
    fn current_vcpu(&self) -> VcpuId;
}

// SAFETY: the answer is that of the value behind the reference.
unsafe impl<V: CurrentVcpu + ?Sized> CurrentVcpu for &V {
    #[inline(always)]
    fn current_vcpu(&self) -> VcpuId {
        (**self).current_vcpu()
    }
}

/// The vCPU of a domain that uses vCPU 0 alone.
#[derive(Clone, Copy, Debug)]
pub struct OnlyVcpu(());

impl OnlyVcpu {
    /// Promises that vCPU 0 is the only one that runs this program.
    ///
    /// # Safety
    ///
    /// No other vCPU of the domain may execute code that uses the value or a copy of it.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: `new` requires that no other vCPU asks.
unsafe impl CurrentVcpu for OnlyVcpu {
    #[inline(always)]
    fn current_vcpu(&self) -> VcpuId {
        VcpuId(0)
    }
}
