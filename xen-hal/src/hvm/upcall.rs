//! An upcall vector for each vCPU, on x86.

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
    /// The vector with this number.
    ///
    /// # Errors
    ///
    /// If it is below 32: those vectors belong to exceptions. (Xen itself accepts 16 and more.)
    pub const fn new(vector: u8) -> Result<Self, FieldError> {
        // The bound is the one that the domain's own vector has.
        match CallbackVia::vector(vector) {
            Ok(_) => Ok(Self(vector)),
            Err(error) => Err(error),
        }
    }

    /// The vector's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Whether Xen says by CPUID that it has upcall vectors for each vCPU. 4.17 is the first to say so;
/// releases from 4.6 on have them all the same, so where this is false, [`Hvm::set_upcall_vector`]
/// may yet succeed.
#[must_use]
pub fn upcall_vector_is_announced() -> bool {
    let flag = cpuid_hvm_flags::UPCALL_VECTOR;
    let leaf = XenCpuid::find().and_then(|leaves| leaves.read(CpuidLeaf::HVM));
    leaf.is_some_and(|leaf| flag.is_set(leaf.eax))
}

impl<H: Hypercall> Hvm<H> {
    /// Gives a vCPU of the running domain an upcall vector of its own. It cannot be taken back. x86
    /// only. Since Xen 4.6. Upstream: `HVMOP_set_evtchn_upcall_vector`; `xen/arch/x86/hvm/hvm.c`,
    /// `hvmop_set_evtchn_upcall_vector`.
    ///
    /// Other than the domain's vector it comes through the vCPU's local APIC, as an edge:
    /// - none comes while `evtchn_upcall_pending` is set, nor when it is cleared: who leaves it set
    ///   must look for events, or gets no further upcall;
    /// - none comes while the local APIC is off, as it is on a vCPU that starts; an edge waits
    ///   there until its spurious interrupt register turns it on (seen on Xen 4.17);
    /// - the handler owes the local APIC an end of interrupt, each time;
    /// - it comes once at once, on registration, although there need be no event.
    ///
    /// Upstream says that it takes the place of the domain's [callback](Self::set_callback_via). Of
    /// a callback that is a vector that is not so (seen on Xen 4.17): the vCPU is told of each
    /// event by both, first by the domain's. For its own alone, the domain must never have been
    /// given a vector; the [`WidthLatch`] is to be had [without](WidthLatch::new).
    ///
    /// # Errors
    ///
    /// `ENOENT` for a vCPU that the domain does not have; `ENOSYS` before 4.6.
    pub fn set_upcall_vector(&self, vcpu: VcpuId, vector: UpcallVector) -> Result<(), Errno> {
        self.xen.call(
            command::SetEvtchnUpcallVector,
            &mut XenHvmEvtchnUpcallVector::new(vcpu.0, vector.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};

    #[test]
    fn exceptions_are_no_upcalls() {
        for vector in 0..32 {
            assert_eq!(UpcallVector::new(vector).unwrap_err().bounds(), (32, 255));
        }
        assert_eq!(UpcallVector::new(32).map(UpcallVector::number), Ok(32));
    }

    #[test]
    fn the_vector_goes_to_its_vcpu() {
        let xen = Script::new()
            .argument(command::SetEvtchnUpcallVector, |argument| {
                assert_eq!((argument.vcpu, argument.vector), (3, 0xe0));
                0
            })
            .argument(command::SetEvtchnUpcallVector, |_| errno(Errno::ENOENT));
        let hvm = Hvm::new(&xen);
        let vector = UpcallVector::new(0xe0).unwrap();
        hvm.set_upcall_vector(VcpuId(3), vector).unwrap();
        assert_eq!(hvm.set_upcall_vector(VcpuId(99), vector), Err(Errno::ENOENT));
    }
}
