//! Xen's interface for guests with hardware virtualisation: the domain's parameters, and how events
//! interrupt it (hypercall `hvm_op`; upstream: `xen/include/public/hvm/hvm_op.h`, `params.h`).
//!
//! ```
//! use xen_hal::event::Port;
//! use xen_hal::hvm::{Hvm, parameter};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::platform::Frame;
//! use xen_hal::{Error, pac::hvm::CallbackVia};
//!
//! # #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
//! /// Has events raise interrupt 0xf3, and returns where the xenstore ring is, if there is one.
//! fn begin<H: Hypercall + Copy>(
//!     xen: H,
//! ) -> Result<(WidthLatch<H>, Option<(Frame, Port)>), Error> {
//!     let hvm = Hvm::new(xen);
//!     let latch = hvm.set_callback_via(CallbackVia::vector(0xf3)?)?;
//!     let store = hvm.get(parameter::STORE_PFN)?.zip(hvm.get(parameter::STORE_EVTCHN)?);
//!     Ok((latch, store))
//! }
//! ```
//!
//! # Permissions
//! Most parameters are for the tools that build a domain. A domain can read and write these of its
//! own:
//!
//! - On x86 it can set `CALLBACK_IRQ`, `STORE_EVTCHN`, `CONSOLE_EVTCHN`, `ACPI_IOPORTS_LOCATION`,
//!   `VM_GENERATION_ID_ADDR`, `VM86_TSS`, `VM86_TSS_SIZED` and `X87_FIP_WIDTH`. It can get these,
//!   and `STORE_PFN`, `CONSOLE_PFN` and `ALTP2M`.
//! - On Arm it can get `CALLBACK_IRQ`, `STORE_PFN`, `STORE_EVTCHN`, `CONSOLE_PFN` and
//!   `CONSOLE_EVTCHN`, and set none.
//!
//! All others are `EPERM` (`EINVAL` on Arm, if the parameter is unknown), even for the control
//! domain. [`Hvm::of`] accesses another domain's, which the control domain may.

mod error;
pub mod parameter;
mod value;

use xen_pac::base::Domid;
use xen_pac::hvm::{CallbackVia, HvmParam, XenHvmParam, command};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::memory::WidthLatch;

pub use error::{ParameterError, Removed, is_removed};
pub use parameter::Parameter;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use value::ViridianFeatures;
pub use value::{
    FipWidth, GuestAddress, MachineCheckCapabilities, ParamValue, SafeParam, SizedArea,
};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{UpcallVector, upcall_vector_is_announced};

/// A domain that uses hardware virtualisation.
#[derive(Clone, Copy, Debug)]
pub struct Hvm<H> {
    xen: H,
    domain: Domid,
}

impl<H: Hypercall> Hvm<H> {
    /// Returns the running domain, through a backend.
    pub const fn new(xen: H) -> Self {
        Self::of(xen, Domid::SELF)
    }

    /// Returns another domain, for its parameters. Callback and upcall vectors are always those of
    /// the running domain.
    pub const fn of(xen: H, domain: Domid) -> Self {
        Self { xen, domain }
    }

    /// Gets a parameter. Upstream: `HVMOP_get_param`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Refused`]: `EPERM` for a parameter that the caller may not read, `ESRCH`
    /// if the domain does not exist, `EINVAL` for a parameter that this release does not have, or a
    /// domain without hardware virtualisation. [`ParameterError::Unknown`] for a value that the
    /// parameter's type does not have.
    pub fn get<V: ParamValue>(&self, parameter: Parameter<V>) -> Result<V, ParameterError> {
        let value = self.get_raw(parameter.number())?;
        V::decode(value).ok_or(ParameterError::Unknown { parameter: parameter.number(), value })
    }

    /// Sets a parameter. Upstream: `HVMOP_set_param`.
    ///
    /// Parameters that give memory away are set by [`set_memory`](Self::set_memory).
    ///
    /// # Errors
    ///
    /// [`ParameterError::Refused`], as for [`get`](Self::get); for some parameters also `ENODEV` or
    /// `EEXIST`, as their documentation says.
    pub fn set<V: SafeParam>(
        &self,
        parameter: Parameter<V>,
        value: V,
    ) -> Result<(), ParameterError> {
        // SAFETY: a value of such a type gives no memory of this domain away; that of other domains
        // is not the program's.
        unsafe { self.set_raw(parameter.number(), value.encode()) }
    }

    /// Sets a parameter that gives memory to Xen or the tools, which write there from now on:
    /// [`VM86_TSS`](parameter::VM86_TSS), [`VM86_TSS_SIZED`](parameter::VM86_TSS_SIZED) and
    /// [`VM_GENERATION_ID_ADDR`](parameter::VM_GENERATION_ID_ADDR).
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set). With a bad address the first two crash the domain instead.
    ///
    /// # Safety
    ///
    /// The bytes that the parameter's documentation names are memory of the domain, and reserved
    /// for this while the domain lives or until the parameter is set again.
    pub unsafe fn set_memory<V: ParamValue>(
        &self,
        parameter: Parameter<V>,
        value: V,
    ) -> Result<(), ParameterError> {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.set_raw(parameter.number(), value.encode()) }
    }

    /// Gets any parameter as the number that Xen returns.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Refused`], as for [`get`](Self::get); [`ParameterError::Removed`], without
    /// asking Xen, for a parameter that current releases refuse.
    pub fn get_raw(&self, parameter: HvmParam) -> Result<u64, ParameterError> {
        error::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, 0);
        self.xen
            .call(command::GetParam, &mut argument)
            .map_err(|errno| ParameterError::Refused { parameter, errno })?;
        Ok(argument.value)
    }

    /// Sets any parameter to a number that Xen takes.
    ///
    /// # Errors
    ///
    /// As for [`get_raw`](Self::get_raw) and [`set`](Self::set).
    ///
    /// # Safety
    ///
    /// Memory that the value names, by address or frame, is reserved for what the parameter's
    /// documentation says.
    pub unsafe fn set_raw(&self, parameter: HvmParam, value: u64) -> Result<(), ParameterError> {
        error::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, value);
        // SAFETY: the argument holds no pointer; for what its value names, the caller's obligations
        // are the same.
        unsafe { self.xen.call_unchecked(command::SetParam, &mut argument) }
            .map_err(|errno| ParameterError::Refused { parameter, errno })
    }

    /// Flushes the address translations of all vCPUs of the running domain. x86 only. Upstream:
    /// `HVMOP_flush_tlbs`.
    ///
    /// # Errors
    ///
    /// `ENOSYS` on Arm.
    pub fn flush_tlbs(&self) -> Result<(), Errno> {
        self.xen.call(command::FlushTlbs, &mut ())
    }
}

impl<H: Hypercall + Copy> Hvm<H> {
    /// Sets how Xen interrupts the running domain for events. x86 only. Upstream:
    /// `HVM_PARAM_CALLBACK_IRQ`; `xen/arch/x86/hvm/irq.c`, `hvm_set_callback_via`.
    ///
    /// - Use a vector. A domain without emulated PC interrupt controllers, such as every PVH
    ///   domain, ignores everything else, although the call succeeds and the parameter then reads
    ///   as it was set. [`CallbackVia::NONE`] does not disable a vector there.
    /// - Xen raises the vector on the vCPU that has the event, again and again while
    ///   `evtchn_upcall_pending` is set. It needs no EOI: it does not come through the local APIC.
    /// - A GSI or a PCI pin is level-triggered, and delivers events of vCPU 0 only. A GSI past the
    ///   last line means no interrupt.
    /// - Whatever the value, Xen latches the width of this vCPU's machine words, and lays out the
    ///   shared page accordingly: [`WidthLatch`].
    ///
    /// # Errors
    ///
    /// `EPERM` on Arm, where the tools choose the interrupt: read [`parameter::CALLBACK_IRQ`].
    pub fn set_callback_via(&self, via: CallbackVia) -> Result<WidthLatch<H>, ParameterError> {
        Hvm::new(self.xen).set(parameter::CALLBACK_IRQ, via)?;
        // SAFETY: this vCPU has just set the parameter, in the mode in which the program runs.
        Ok(unsafe { WidthLatch::assume(self.xen) })
    }
}

/// An upcall vector for each vCPU.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86 {
    use xen_pac::access::FieldError;
    use xen_pac::cpuid::{CpuidLeaf, cpuid_hvm_flags};
    use xen_pac::hvm::{CallbackVia, XenHvmEvtchnUpcallVector, command};

    use super::Hvm;
    use crate::hypercall::{Commands, Errno, Hypercall};
    #[cfg(doc)]
    use crate::memory::WidthLatch;
    use crate::platform::{VcpuId, XenCpuid};

    /// An interrupt vector for upcalls: not one of the processor's exceptions.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct UpcallVector(u8);

    impl UpcallVector {
        /// Returns the vector with this number.
        ///
        /// # Errors
        ///
        /// If it is below 32: those vectors are exceptions. (Xen itself accepts 16 and more.)
        pub const fn new(vector: u8) -> Result<Self, FieldError> {
            // The domain's own vector has the same bound.
            match CallbackVia::vector(vector) {
                Ok(_) => Ok(Self(vector)),
                Err(error) => Err(error),
            }
        }

        /// Returns the vector's number.
        #[must_use]
        pub const fn number(self) -> u8 {
            self.0
        }
    }

    /// Returns whether CPUID announces upcall vectors for each vCPU. 4.17 is the first release to
    /// do so. Releases from 4.6 on have them too, so [`Hvm::set_upcall_vector`] can succeed if this
    /// is false.
    #[must_use]
    pub fn upcall_vector_is_announced() -> bool {
        let flag = cpuid_hvm_flags::UPCALL_VECTOR;
        let leaf = XenCpuid::find().and_then(|leaves| leaves.read(CpuidLeaf::HVM));
        leaf.is_some_and(|leaf| flag.is_set(leaf.eax))
    }

    impl<H: Hypercall> Hvm<H> {
        /// Gives a vCPU of the running domain its own upcall vector, which cannot be removed. x86
        /// only. Since Xen 4.6. Upstream: `HVMOP_set_evtchn_upcall_vector`;
        /// `xen/arch/x86/hvm/hvm.c`, `hvmop_set_evtchn_upcall_vector`.
        ///
        /// Unlike the domain's vector it comes through the vCPU's local APIC, as an edge:
        /// - None comes while `evtchn_upcall_pending` is set, nor when it is cleared. A handler
        ///   that leaves it set must look for events, or gets no further upcall.
        /// - None comes while the local APIC is off, as it is on a vCPU that starts. An edge waits
        ///   until the spurious interrupt register turns the local APIC on (seen on Xen 4.17).
        /// - The handler must signal the end of each interrupt to the local APIC.
        /// - The registration itself raises it once, even if there is no event.
        ///
        /// Upstream says that it replaces the domain's [callback](Self::set_callback_via). It does
        /// not replace a vector (seen on Xen 4.17): each event raises both, first the domain's. To
        /// get only the vCPU's own, never set the domain's; get the [`WidthLatch`] by
        /// [`WidthLatch::new`].
        ///
        /// # Errors
        ///
        /// `ENOENT` for a vCPU that the domain does not have; `ENOSYS` before 4.6.
        pub fn set_upcall_vector(&self, vcpu: VcpuId, vector: UpcallVector) -> Result<(), Errno> {
            let mut argument = XenHvmEvtchnUpcallVector::new(vcpu.0, vector.0);
            self.xen.call(command::SetEvtchnUpcallVector, &mut argument)
        }
    }
}

#[cfg(test)]
mod tests;
