//! The number of a vCPU.

use core::fmt;

/// The number of a vCPU within the domain, from 0, as Xen counts them. It need not be the
/// processor's APIC id, nor the order in which a kernel started it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(pub u32);

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
