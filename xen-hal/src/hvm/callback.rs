//! How Xen interrupts the guest for events.

use xen_pac::hvm::CallbackVia;

use super::{Hvm, ParameterError, parameter};
use crate::hypercall::Hypercall;
use crate::memory::WidthLatch;

impl<H: Hypercall + Copy> Hvm<H> {
    /// Says how Xen shall interrupt the running domain for events. x86 only. Upstream:
    /// `HVM_PARAM_CALLBACK_IRQ`; `xen/arch/x86/hvm/irq.c`, `hvm_set_callback_via`.
    ///
    /// - Take a vector. A domain without emulated PC interrupt controllers, as every PVH domain is,
    ///   ignores everything else, although the call succeeds and the parameter then reads as it was
    ///   set. Nor does [`CallbackVia::NONE`] switch a vector off there.
    /// - The vector is raised on the vCPU that has the event, again and again while
    ///   `evtchn_upcall_pending` is set, and needs no EOI: it does not come through the local APIC.
    /// - A GSI or a PCI pin is level-triggered, and goes to vCPU 0's events alone. A GSI past the
    ///   last line means no interrupt.
    /// - Whatever the value, Xen notes how wide this vCPU's machine words are, and lays the shared
    ///   page out accordingly: [`WidthLatch`].
    ///
    /// # Errors
    ///
    /// `EPERM` on Arm, where the tools choose the interrupt: read [`parameter::CALLBACK_IRQ`].
    pub fn set_callback_via(&self, via: CallbackVia) -> Result<WidthLatch<H>, ParameterError> {
        Hvm::new(self.xen).set(parameter::CALLBACK_IRQ, via)?;
        // SAFETY: the parameter has just been set by this vCPU, in the mode in which the program
        // runs.
        Ok(unsafe { WidthLatch::assume(self.xen) })
    }
}
