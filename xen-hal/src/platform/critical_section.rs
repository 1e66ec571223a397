//! Implements the crate `critical-section`.

use core::mem;
use core::ptr;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use core::sync::atomic::AtomicU32;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::{CurrentVcpu, LocalInterrupts, ReentrantLock, VcpuId};

static LOCK: ReentrantLock = ReentrantLock::new();

/// The function that identifies the calling vCPU; null for the default.
static CURRENT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets how the implementation of the crate `critical-section` identifies the calling vCPU.
///
/// The default reads CPUID on x86, which takes about as long as a hypercall, and `MPIDR_EL1` on
/// aarch64. A kernel that reaches per-vCPU data through a segment register can store the number
/// there. A kernel that uses one vCPU can pass `|| VcpuId(0)`.
///
/// The feature `critical-section` is for kernels: the implementation uses [`LocalInterrupts`]. It
/// masks interrupts by the processor's flag, and not by `evtchn_upcall_mask`, which HVM and PVH
/// guests do not have. In tests on a host, use the feature `std` of the crate `critical-section`
/// instead.
///
/// # Safety
///
/// - `current` must return the number of the calling vCPU, at any time, as
///   [`CurrentVcpu`] requires.
/// - No critical section may be in progress on any vCPU.
pub unsafe fn set_current_vcpu(current: fn() -> VcpuId) {
    CURRENT.store(current as *mut (), Ordering::Relaxed);
}

/// Identifies the calling vCPU with the function in `CURRENT`.
struct Installed;

// SAFETY: `set_current_vcpu` requires this of its function, and the default meets it.
unsafe impl CurrentVcpu for Installed {
    fn current_vcpu(&self) -> VcpuId {
        let current = CURRENT.load(Ordering::Relaxed);
        if current.is_null() {
            return default_vcpu();
        }
        // SAFETY: `CURRENT` holds null or such a function.
        let current = unsafe { mem::transmute::<*mut (), fn() -> VcpuId>(current) };
        current()
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn default_vcpu() -> VcpuId {
    /// The number of Xen's first CPUID leaf; 0 before the search.
    static BASE: AtomicU32 = AtomicU32::new(0);
    let leaves = super::XenCpuid::at(BASE.load(Ordering::Relaxed)).or_else(|| {
        let found = super::XenCpuid::find()?;
        BASE.store(found.base(), Ordering::Relaxed);
        Some(found)
    });
    // Before Xen 4.6, uses the APIC id. It is unique, because such a domain has at most 128 vCPUs.
    let apic_id = || VcpuId(super::cpuid(1).ebx >> 24);
    leaves.and_then(super::XenCpuid::vcpu_id).unwrap_or_else(apic_id)
}

#[cfg(target_arch = "aarch64")]
fn default_vcpu() -> VcpuId {
    super::MpidrVcpu.current_vcpu()
}

struct CriticalSection;

critical_section::set_impl!(CriticalSection);

// SAFETY: one vCPU at a time holds `LOCK`, with interrupts off; the orderings are those of a lock.
unsafe impl critical_section::Impl for CriticalSection {
    unsafe fn acquire() -> critical_section::RawRestoreState {
        // SAFETY: the feature's documentation restricts it to kernels, which may control
        // interrupts.
        let interrupts = unsafe { LocalInterrupts::new() };
        LOCK.acquire(&interrupts, &Installed)
    }

    unsafe fn release(state: critical_section::RawRestoreState) {
        // SAFETY: as above.
        let interrupts = unsafe { LocalInterrupts::new() };
        // SAFETY: the caller's obligations are the same.
        unsafe { LOCK.release(&interrupts, state) };
    }
}
