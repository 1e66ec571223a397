//! Xen's interface for guests with hardware virtualisation: the domain's parameters, and how events
//! interrupt the guest (hypercall `hvm_op`; upstream: `xen/include/public/hvm/hvm_op.h`,
//! `params.h`).
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
//! /// Makes events raise interrupt 0xf3, and returns the xenstore ring's frame and port, if any.
//! fn begin<H: Hypercall + Copy>(
//!     xen: H,
//! ) -> Result<(WidthLatch<H>, Option<(Frame, Port)>), Error> {
//!     let hvm = Hvm::new(xen);
//!     let latch = hvm.set_callback_via(CallbackVia::vector(0xf3)?)?;
//!     let store = hvm.get(parameter::STORE_PFN)?.zip(hvm.get(parameter::STORE_EVTCHN)?);
//!     Ok((latch, store))
//! }
//! # #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
//! # xen_sim::storm_with_dom0(10, |_, _| (), |guest| {
//! #     begin(guest.xen()).map(|(_, store)| assert!(store.is_some()))
//! # });
//! ```
//!
//! # Permissions
//! Most parameters are for the tools that build a domain. A domain can access these parameters of
//! its own:
//!
//! - On x86 it can set `CALLBACK_IRQ`, `STORE_EVTCHN`, `CONSOLE_EVTCHN`, `ACPI_IOPORTS_LOCATION`,
//!   `VM_GENERATION_ID_ADDR`, `VM86_TSS`, `VM86_TSS_SIZED` and `X87_FIP_WIDTH`. It can get these,
//!   and `STORE_PFN`, `CONSOLE_PFN` and `ALTP2M`.
//! - On Arm it can get `CALLBACK_IRQ`, `STORE_PFN`, `STORE_EVTCHN`, `CONSOLE_PFN` and
//!   `CONSOLE_EVTCHN`, and set none.
//!
//! For all others, Xen returns `EPERM` (on Arm, `EINVAL` if the parameter is unknown), even to the
//! control domain. [`Hvm::of`] accesses another domain's parameters, which the control domain may
//! do.

mod error;
pub mod parameter;
mod value;

use xen_pac::base::Domid;
use xen_pac::hvm::{CallbackVia, HvmParam, XenHvmParam, command};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::memory::WidthLatch;
use crate::version::{CommandError, Version};

pub use error::{ParameterError, Removed, is_removed};
pub use parameter::Parameter;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use value::ViridianFeatures;
pub use value::{
    FipWidth, GuestAddress, MachineCheckCapabilities, ParamValue, SafeParam, SizedArea,
};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{UpcallVector, upcall_vector_is_announced};

/// Accesses the interface of a domain with hardware virtualisation.
#[derive(Clone, Copy, Debug)]
pub struct Hvm<H> {
    xen: H,
    domain: Domid,
}

impl<H: Hypercall> Hvm<H> {
    /// Creates a handle to the running domain that makes its hypercalls through `xen`.
    pub const fn new(xen: H) -> Self {
        Self::of(xen, Domid::SELF)
    }

    /// Creates a handle to another domain, for its parameters. Callback and upcall vectors are
    /// always those of the running domain.
    pub const fn of(xen: H, domain: Domid) -> Self {
        Self { xen, domain }
    }

    /// Gets a parameter. Upstream: `HVMOP_get_param`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Refused`]: `EPERM` for a parameter that the caller may not read, `ESRCH`
    /// if the domain does not exist, `EINVAL` for a domain without hardware virtualisation.
    /// [`ParameterError::Unsupported`] for a parameter that this release does not have.
    /// [`ParameterError::Unknown`] for a value that the parameter's type does not have.
    pub fn get<V: ParamValue>(&self, parameter: Parameter<V>) -> Result<V, ParameterError> {
        let value = self.get_raw(parameter.number())?;
        V::decode(value).ok_or(ParameterError::Unknown { parameter: parameter.number(), value })
    }

    /// Sets a parameter. Upstream: `HVMOP_set_param`.
    ///
    /// To set a parameter that gives memory to Xen, use [`set_memory`](Self::set_memory).
    ///
    /// # Errors
    ///
    /// [`ParameterError::Refused`] and [`ParameterError::Unsupported`], as for [`get`](Self::get);
    /// for some parameters also `ENODEV` or `EEXIST`, as their documentation says.
    pub fn set<V: SafeParam>(
        &self,
        parameter: Parameter<V>,
        value: V,
    ) -> Result<(), ParameterError> {
        // SAFETY: a value of such a type gives no memory of this domain to Xen, and other domains'
        // memory does not belong to this program.
        unsafe { self.set_raw(parameter.number(), value.encode()) }
    }

    /// Sets a parameter that gives memory to Xen or the tools, which can then write to it at any
    /// time: [`VM86_TSS`](parameter::VM86_TSS), [`VM86_TSS_SIZED`](parameter::VM86_TSS_SIZED) and
    /// [`VM_GENERATION_ID_ADDR`](parameter::VM_GENERATION_ID_ADDR).
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set). With an invalid address, the first two parameters crash the
    /// domain instead.
    ///
    /// # Safety
    ///
    /// The bytes that the parameter's documentation names must be memory of the domain, reserved
    /// for this use until the parameter is set again.
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
    /// [`ParameterError::Refused`] and [`ParameterError::Unsupported`], as for [`get`](Self::get);
    /// [`ParameterError::Removed`], without a hypercall, for a parameter that current releases
    /// refuse.
    pub fn get_raw(&self, parameter: HvmParam) -> Result<u64, ParameterError> {
        error::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, 0);
        self.xen
            .call(command::GetParam, &mut argument)
            .map_err(|errno| self.refused(parameter, errno))?;
        Ok(argument.value)
    }

    /// Sets any parameter to a number as Xen takes it.
    ///
    /// # Errors
    ///
    /// As for [`get_raw`](Self::get_raw) and [`set`](Self::set).
    ///
    /// # Safety
    ///
    /// If the value names memory by address or frame, that memory must be reserved for the use that
    /// the parameter's documentation describes.
    pub unsafe fn set_raw(&self, parameter: HvmParam, value: u64) -> Result<(), ParameterError> {
        error::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, value);
        // SAFETY: the argument holds no pointer; for what its value names, the caller's obligations
        // are the same.
        unsafe { self.xen.call_unchecked(command::SetParam, &mut argument) }
            .map_err(|errno| self.refused(parameter, errno))
    }

    /// Returns why Xen refused access to a parameter.
    #[cold]
    fn refused(&self, parameter: HvmParam, errno: Errno) -> ParameterError {
        let name = parameter.name().unwrap_or_default();
        match Version::new(&self.xen).refused(name, parameter.since(), errno) {
            CommandError::Refused { errno, .. } => ParameterError::Refused { parameter, errno },
            error => ParameterError::Unsupported { parameter, error },
        }
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
    /// - Use a vector. For a domain without emulated PC interrupt controllers, such as every PVH
    ///   domain, Xen accepts other values and returns them, but ignores them. [`CallbackVia::NONE`]
    ///   does not disable a vector there.
    /// - Xen raises the vector on the vCPU that has the event, and raises it again while
    ///   `evtchn_upcall_pending` is set. It does not pass through the local APIC, so it needs no
    ///   EOI.
    /// - A GSI or a PCI pin is level-triggered, and delivers events of vCPU 0 only. A GSI beyond
    ///   the last line disables the interrupt.
    /// - For every value, Xen latches this vCPU's word width, and lays out the shared page
    ///   accordingly: see [`WidthLatch`].
    ///
    /// # Errors
    ///
    /// `EPERM` on Arm, where the tools choose the interrupt: read [`parameter::CALLBACK_IRQ`].
    pub fn set_callback_via(&self, via: CallbackVia) -> Result<WidthLatch<H>, ParameterError> {
        Hvm::new(self.xen).set(parameter::CALLBACK_IRQ, via)?;
        // SAFETY: this vCPU has just set the parameter in the mode in which the program runs.
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
    use crate::hypercall::{Commands, Hypercall};
    #[cfg(doc)]
    use crate::memory::WidthLatch;
    use crate::platform::{VcpuId, XenCpuid};
    use crate::version::{CommandError, Version};

    /// An interrupt vector for upcalls, which is not one of the processor's exceptions.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct UpcallVector(u8);

    impl UpcallVector {
        /// Creates the vector with this number.
        ///
        /// # Errors
        ///
        /// If the number is below 32, which is an exception. (Xen itself accepts 16 and above.)
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

    /// Returns whether CPUID announces per-vCPU upcall vectors, as it does since 4.17. Xen has had
    /// them since 4.6, so [`Hvm::set_upcall_vector`] can succeed if this is false.
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
        /// Unlike the domain's vector, it passes through the vCPU's local APIC, as an edge:
        /// - Xen raises no upcall while `evtchn_upcall_pending` is set, nor when it is cleared. A
        ///   handler that leaves it set must dispatch again, or gets no further upcall.
        /// - The vCPU gets no upcall while its local APIC is off, as on a new vCPU. An edge stays
        ///   pending until the spurious interrupt register turns the local APIC on (seen on Xen
        ///   4.17).
        /// - The handler must signal the end of each interrupt to the local APIC.
        /// - The registration raises the vector once, even without an event.
        ///
        /// Upstream documents that it replaces the domain's [callback](Self::set_callback_via). It
        /// does not replace a vector (seen on Xen 4.17): each event raises both, first the
        /// domain's. To get only the vCPU's vector, do not set the domain's; create the
        /// [`WidthLatch`] with [`WidthLatch::new`].
        ///
        /// # Errors
        ///
        /// `ENOENT` for a vCPU that the domain does not have; [`CommandError::Release`] before 4.6.
        pub fn set_upcall_vector(
            &self,
            vcpu: VcpuId,
            vector: UpcallVector,
        ) -> Result<(), CommandError> {
            let mut argument = XenHvmEvtchnUpcallVector::new(vcpu.0, vector.0);
            self.xen.call(command::SetEvtchnUpcallVector, &mut argument).map_err(|errno| {
                Version::new(&self.xen).explain(command::SetEvtchnUpcallVector, errno)
            })
        }
    }
}

#[cfg(test)]
mod tests;
