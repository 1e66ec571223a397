//! Traits for what the HAL needs besides hypercalls, and their implementations for bare guests.
//!
//! | trait | provides | implementations |
//! |---|---|---|
//! | [`AddressSpace`] | the guest frame of a pointer's page | [`IdentityMap`] |
//! | [`Counter`] | the counter of the clock | `Tsc` on x86, `VirtualCounter` on aarch64 |
//! | [`CurrentVcpu`] | the number of the calling vCPU | [`OnlyVcpu`]; `CpuidVcpu` on x86, `MpidrVcpu` on aarch64 |
//! | [`Interrupts`] | interrupts off and on, and sleep until an interrupt | `LocalInterrupts` |
//!
//! On aarch64, `LocalTimer` is the timer that belongs to the counter; x86 has
//! [`Vcpu::set_singleshot_timer`](crate::vcpu::Vcpu::set_singleshot_timer).
//!
//! A kernel whose page tables are not an identity map implements `AddressSpace`. The simulator
//! implements all of them.
//!
//! ```
//! use core::ptr::NonNull;
//! use xen_hal::platform::{AddressSpace, Frame, IdentityMap};
//!
//! // SAFETY: this example passes no frame to Xen.
//! let space = unsafe { IdentityMap::new() };
//! let pointer = NonNull::new(0x12_3456 as *mut u8).unwrap();
//! assert_eq!(space.frame_of(pointer), Some(Frame(0x123)));
//! ```

mod address_space;
#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod cpuid;
#[cfg(feature = "critical-section")]
mod critical_section;
mod interrupts;
mod lock;
mod vcpu;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

pub use address_space::{AddressSpace, Frame, IdentityMap, PAGE_SHIFT, PAGE_SIZE};
#[cfg(target_arch = "aarch64")]
pub use arm::{LocalInterrupts, LocalTimer, MpidrVcpu, VirtualCounter};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(crate) use cpuid::cpuid;
#[cfg(feature = "critical-section")]
pub use critical_section::set_current_vcpu;
pub use interrupts::Interrupts;
pub use lock::ReentrantLock;
pub use vcpu::{CurrentVcpu, OnlyVcpu, VcpuId};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use {
    cpuid::{Registers, XenCpuid},
    x86::{CpuidVcpu, LocalInterrupts, Tsc},
};

/// Reads a counter that runs at a fixed rate: the TSC on x86, the virtual counter on aarch64.
pub trait Counter {
    /// Reads the counter.
    ///
    /// Neither the compiler nor the processor may reorder the reading with memory accesses before
    /// or after the call. The clock reads the counter between two reads of a version word.
    fn read(&self) -> u64;
}

impl<C: Counter + ?Sized> Counter for &C {
    #[inline(always)]
    fn read(&self) -> u64 {
        (**self).read()
    }
}
