//! What Xen offers to guests with hardware virtualisation: parameters of the domain, and how events
//! interrupt it (hypercall `hvm_op`; upstream: `xen/include/public/hvm/hvm_op.h`, `params.h`).
//!
//! ```
//! use xen_hal::event::Port;
//! use xen_hal::hvm::{Hvm, ParameterError, parameter};
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::platform::Frame;
//! use xen_pac::hvm::CallbackVia;
//!
//! # #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
//! /// Lets events come as interrupt 0xf3, and asks where the store is, if there is one.
//! fn begin<H: Hypercall + Copy>(xen: H) -> Result<(WidthLatch<H>, Option<(Frame, Port)>), ParameterError> {
//!     const UPCALL: CallbackVia = match CallbackVia::vector(0xf3) {
//!         Ok(via) => via,
//!         Err(_) => panic!("this vector is an exception's"),
//!     };
//!     let hvm = Hvm::new(xen);
//!     let latch = hvm.set_callback_via(UPCALL)?;
//!     let store = hvm.get(parameter::STORE_PFN)?.zip(hvm.get(parameter::STORE_EVTCHN)?);
//!     Ok((latch, store))
//! }
//! ```
//!
//! # Who may do what
//! Most parameters are for the tools that build a domain. Of itself a domain may
//!
//! | | get | set |
//! |---|---|---|
//! | on x86 | those below, `STORE_PFN`, `CONSOLE_PFN` and `ALTP2M` | `CALLBACK_IRQ`, `STORE_EVTCHN`, `CONSOLE_EVTCHN`, `ACPI_IOPORTS_LOCATION`, `VM_GENERATION_ID_ADDR`, `VM86_TSS`, `VM86_TSS_SIZED`, `X87_FIP_WIDTH` |
//! | on Arm | `CALLBACK_IRQ`, `STORE_PFN`, `STORE_EVTCHN`, `CONSOLE_PFN`, `CONSOLE_EVTCHN` | none |
//!
//! and all others are answered with `EPERM` (on Arm, where a parameter is unknown, `EINVAL`), even
//! to the control domain. [`Hvm::of`] asks about another domain, which the control domain may.

mod callback;
mod error;
pub mod parameter;
mod removed;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod upcall;
mod value;

use xen_pac::base::Domid;
use xen_pac::hvm::{HvmParam, XenHvmParam, command};

use crate::hypercall::{Commands, Errno, Hypercall};

pub use error::{ParameterError, Removed};
pub use parameter::Parameter;
pub use removed::is_removed;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use upcall::{UpcallVector, upcall_vector_is_announced};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use value::ViridianFeatures;
pub use value::{
    FipWidth, GuestAddress, MachineCheckCapabilities, ParamValue, SafeParam, SizedArea,
};

/// A domain that uses hardware virtualisation.
#[derive(Clone, Copy, Debug)]
pub struct Hvm<H> {
    xen: H,
    domain: Domid,
}

impl<H: Hypercall> Hvm<H> {
    /// The domain that runs, through a backend.
    pub const fn new(xen: H) -> Self {
        Self::of(xen, Domid::SELF)
    }

    /// The parameters of another domain. What interrupts a guest is always the running domain's
    /// own.
    pub const fn of(xen: H, domain: Domid) -> Self {
        Self { xen, domain }
    }

    /// A parameter's value. Upstream: `HVMOP_get_param`.
    ///
    /// # Errors
    ///
    /// Xen's refusal: `EPERM` for what the caller may not read, `ESRCH` for a domain that is not
    /// there, `EINVAL` for a parameter that this release does not have, or a domain without
    /// hardware virtualisation. [`ParameterError::Unknown`] for a value that the parameter's type
    /// does not have.
    pub fn get<V: ParamValue>(&self, parameter: Parameter<V>) -> Result<V, ParameterError> {
        let value = self.get_raw(parameter.number())?;
        V::decode(value).ok_or(ParameterError::Unknown { parameter: parameter.number(), value })
    }

    /// Sets a parameter. Upstream: `HVMOP_set_param`.
    ///
    /// Parameters that give memory away are set by [`set_memory`](Self::set_memory) instead.
    ///
    /// # Errors
    ///
    /// Xen's refusal: `EPERM` for what the caller may not write, `ESRCH` for a domain that is not
    /// there, `EINVAL` for a parameter that this release does not have, or a domain without
    /// hardware virtualisation; for some, as their documentation says, `ENODEV` or `EEXIST`.
    pub fn set<V: SafeParam>(
        &self,
        parameter: Parameter<V>,
        value: V,
    ) -> Result<(), ParameterError> {
        // SAFETY: no memory is given away by values of such a type in the parameters that a domain
        // may set of itself; and memory of other domains is not the program's.
        unsafe { self.set_raw(parameter.number(), value.encode()) }
    }

    /// Sets a parameter that gives memory to Xen or to the tools, which write there from now on:
    /// [`VM86_TSS`](parameter::VM86_TSS), [`VM86_TSS_SIZED`](parameter::VM86_TSS_SIZED) and
    /// [`VM_GENERATION_ID_ADDR`](parameter::VM_GENERATION_ID_ADDR).
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set). With a bad address the first two crash the domain instead.
    ///
    /// # Safety
    ///
    /// The bytes that the parameter's documentation names are memory of the domain, and kept for
    /// this for as long as it lives or until the parameter is set anew.
    pub unsafe fn set_memory<V: ParamValue>(
        &self,
        parameter: Parameter<V>,
        value: V,
    ) -> Result<(), ParameterError> {
        // SAFETY: the caller's promise.
        unsafe { self.set_raw(parameter.number(), value.encode()) }
    }

    /// The value of any parameter as Xen has it, as for [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// Xen's refusal; [`ParameterError::Removed`], with the reason and without asking Xen, for one
    /// that current releases refuse.
    pub fn get_raw(&self, parameter: HvmParam) -> Result<u64, ParameterError> {
        removed::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, 0);
        self.xen
            .call(command::GetParam, &mut argument)
            .map_err(|errno| ParameterError::Refused { parameter, errno })?;
        Ok(argument.value)
    }

    /// Sets any parameter to a value as Xen has it, as for [`set`](Self::set).
    ///
    /// # Errors
    ///
    /// As for [`get_raw`](Self::get_raw).
    ///
    /// # Safety
    ///
    /// Memory that the value names, by address or frame, is kept for what the parameter says will
    /// be written there.
    pub unsafe fn set_raw(&self, parameter: HvmParam, value: u64) -> Result<(), ParameterError> {
        removed::check(parameter)?;
        let mut argument = XenHvmParam::new(self.domain, parameter, value);
        // SAFETY: the argument holds no pointer; what its value names is the caller's promise.
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

#[cfg(test)]
mod tests;
