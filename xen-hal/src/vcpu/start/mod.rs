//! Initialises vCPUs on x86.

mod long_mode;
mod protected_mode;

use xen_pac::vcpu::{VcpuHvmContext, command};

use super::{Vcpu, VcpuError};
use crate::hypercall::{Commands, Hypercall};
use crate::version::Version;

pub use long_mode::LongMode;
pub use protected_mode::ProtectedMode;

/// Bits of control registers, as in the processor's manuals.
mod bits {
    pub(super) const CR0_PROTECTED: u32 = 1 << 0;
    pub(super) const CR0_EXTENSION_TYPE: u32 = 1 << 4;
    pub(super) const CR0_NUMERIC_ERROR: u32 = 1 << 5;
    pub(super) const CR0_WRITE_PROTECT: u32 = 1 << 16;
    pub(super) const CR0_PAGING: u32 = 1 << 31;
    pub(super) const CR4_PAE: u32 = 1 << 5;
    pub(super) const EFER_LONG_MODE_ENABLED: u64 = 1 << 8;
    pub(super) const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
}

/// A state in which a vCPU can start: [`LongMode`] or [`ProtectedMode`].
pub trait StartState: sealed::Sealed {
    /// Returns the argument for Xen.
    ///
    /// # Errors
    ///
    /// [`VcpuError`] for a state that Xen would refuse, or in which the vCPU could not run one
    /// instruction.
    fn context(&self) -> Result<VcpuHvmContext, VcpuError>;
}

mod sealed {
    pub trait Sealed {}
}

impl<H: Hypercall> Vcpu<H> {
    /// Sets the state in which a new vCPU starts; [`up`](Self::up) then starts it. x86 only. Since
    /// Xen 4.7. Upstream: `VCPUOP_initialise`.
    ///
    /// A vCPU can be initialised only once.
    ///
    /// # Errors
    ///
    /// Before the hypercall: [`VcpuError::Entry`], [`VcpuError::Stack`] and
    /// [`VcpuError::PageTable`]. Xen refuses
    /// - a vCPU that is already initialised: `EEXIST`;
    /// - up to 4.18, a vCPU from number 32 without a registered
    ///   [`vcpu_info`](Self::register_vcpu_info): `EINVAL`;
    /// - control register bits that the processor does not have or Xen hides: `EINVAL`;
    /// - before 4.7, every vCPU: [`VcpuError::Unsupported`].
    ///
    /// Xen does not always refuse a page table outside the domain's memory: with hardware-assisted
    /// paging, the domain crashes when the vCPU starts.
    ///
    /// # Safety
    ///
    /// From now on the vCPU can start in this state at any time. The entry must be code that can
    /// run on a vCPU that has just started, nothing else may use the stack, and the page table must
    /// stay in place and map both.
    pub unsafe fn initialise(&self, state: &impl StartState) -> Result<(), VcpuError> {
        let mut context = state.context()?;
        // SAFETY: the argument holds no pointer that Xen follows; for the vCPU, the caller's
        // obligations are the same.
        unsafe { self.xen.call_unchecked(command::Initialise, (self.id, &mut context)) }
            .map_err(|errno| Version::new(&self.xen).explain(command::Initialise, errno))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::Errno;
    use crate::platform::VcpuId;
    use crate::testing::{Script, errno};
    use std::string::ToString;
    use xen_pac::vcpu::VcpuHvmMode;

    #[test]
    fn each_mode_passes_its_registers() {
        let xen = Script::new()
            .vcpu(command::Initialise, |vcpu, context| {
                assert_eq!((vcpu, context.mode, context.pad), (1, VcpuHvmMode::BITS_64, 0));
                assert_eq!(context.cpu_regs.x86_64().rip, 0x20_0000);
                0
            })
            .vcpu(command::Initialise, |_, context| {
                assert_eq!(context.mode, VcpuHvmMode::BITS_32);
                assert_eq!(context.cpu_regs.x86_32().eip, 0x10_0000);
                errno(Errno::EEXIST)
            });
        let vcpu = Vcpu::new(&xen, VcpuId(1));
        // SAFETY: no vCPU starts.
        unsafe { vcpu.initialise(&LongMode::new(0x20_0000, 0x30_0000, 0x1000)) }.unwrap();
        // SAFETY: no vCPU starts.
        let again = unsafe { vcpu.initialise(&ProtectedMode::new(0x10_0000, 0x30_0000)) };
        assert_eq!(again, Err(VcpuError::Errno(Errno::EEXIST)));
    }

    #[test]
    fn a_bad_state_is_refused_before_the_call() {
        let xen = Script::new();
        // SAFETY: no vCPU starts.
        let error = unsafe { Vcpu::new(&xen, VcpuId(1)).initialise(&LongMode::new(1 << 63, 0, 0)) }
            .unwrap_err();
        assert_eq!(error, VcpuError::Entry(1 << 63));
        assert_eq!(
            error.to_string(),
            "a vCPU cannot start at the non-canonical address 0x8000000000000000"
        );
    }
}
