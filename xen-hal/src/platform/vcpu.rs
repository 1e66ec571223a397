//! Identifies the calling vCPU.

use core::fmt;

/// The number of a vCPU within its domain, from 0, as Xen counts. It can differ from the APIC id,
/// and from the order in which a kernel starts its vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(pub u32);

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies the vCPU that executes the calling code.
///
/// # Safety
///
/// [`current_vcpu`](Self::current_vcpu) must return the number of the vCPU that executes the call.
/// Locks that record their owner rely on this.
pub unsafe trait CurrentVcpu {
    /// Returns the vCPU that executes the call. If interrupts are on and threads can move to
    /// another vCPU, the result can be outdated at once.
    fn current_vcpu(&self) -> VcpuId;
}

// SAFETY: forwards to the value behind the reference.
unsafe impl<V: CurrentVcpu + ?Sized> CurrentVcpu for &V {
    #[inline(always)]
    fn current_vcpu(&self) -> VcpuId {
        (**self).current_vcpu()
    }
}

/// Identifies the calling vCPU of a domain that uses only vCPU 0.
#[derive(Clone, Copy, Debug)]
pub struct OnlyVcpu(());

impl OnlyVcpu {
    /// Creates the handle.
    ///
    /// # Safety
    ///
    /// No other vCPU of the domain may execute code that uses the value or a copy of it.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY: `new` requires that no other vCPU uses the value.
unsafe impl CurrentVcpu for OnlyVcpu {
    #[inline(always)]
    fn current_vcpu(&self) -> VcpuId {
        VcpuId(0)
    }
}
