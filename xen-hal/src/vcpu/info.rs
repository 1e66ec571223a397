//! A place for a vCPU's block of the event and time interface.

use xen_pac::shared_info::{VcpuInfo, raw};
use xen_pac::vcpu::{VcpuRegisterVcpuInfo, command};

use super::area::place;
use super::{Area, RegisterError, Vcpu};
use crate::hypercall::{Commands, Hypercall};
use crate::memory::WidthLatch;
use crate::platform::AddressSpace;

impl<H: Hypercall> Vcpu<H> {
    /// Moves the vCPU's [`VcpuInfo`] from the shared page, where vCPUs from 32 on (from 1 on, on Arm) have no place and get no events, to `area`. Upstream:
    /// `VCPUOP_register_vcpu_info`.
    ///
    /// This can be done once for each vCPU, and is not undone while the domain lives. After a resume it must be done anew, with the same area: a domain that was
    /// restored has its blocks in the shared page again.
    ///
    /// From the first instruction after the call on, `evtchn_pending_sel` is all ones and the vCPU is interrupted, although there need be no event: Xen makes sure that
    /// none was lost meanwhile. What Xen had written to the old place stays there, and is never updated again.
    ///
    /// The latch is asked for because Xen writes the block in the layout of the width that it knows of.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked. Xen refuses
    /// - a second time: `EINVAL`, from 4.18 on `EBUSY`;
    /// - another vCPU than the calling one while that is up: `EINVAL`, up to 4.17;
    /// - a frame that is not the domain's memory: `EINVAL`, and `EACCES` for memory that it cannot write.
    pub fn register_vcpu_info(
        &self,
        space: &(impl AddressSpace + ?Sized),
        _latched: WidthLatch,
        area: &'static Area<raw::VcpuInfo>,
    ) -> Result<VcpuInfo<'static>, RegisterError> {
        let block = area.take(|block| {
            let (frame, offset) = place(space, block)?;
            let mut argument = VcpuRegisterVcpuInfo::new(frame.0, offset);
            // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; the frame is theirs, as the address space promises.
            unsafe { self.xen.vcpu_unchecked(command::RegisterVcpuInfo, self.id.0, &mut argument) }?;
            Ok(())
        })?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuInfo::from_ptr(block) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::Errno;
    use crate::platform::{Frame, IdentityMap, VcpuId};
    use crate::testing::{Script, errno};
    use core::ptr::NonNull;
    use core::sync::atomic::Ordering;

    fn latched() -> WidthLatch {
        // SAFETY: there is no Xen whose layout could differ.
        unsafe { WidthLatch::assume() }
    }

    fn identity() -> IdentityMap {
        // SAFETY: nothing is mapped in these tests.
        unsafe { IdentityMap::new() }
    }

    #[test]
    fn the_place_is_told_by_frame_and_offset() {
        static AREA: Area<raw::VcpuInfo> = Area::new();
        let mut told = 0;
        let xen = Script::new().vcpu(command::RegisterVcpuInfo, |vcpu, argument| {
            assert_eq!((vcpu, argument.rsvd), (33, 0));
            told = Frame(argument.mfn).address().unwrap() + u64::from(argument.offset);
            0
        });
        let info = Vcpu::new(&xen, VcpuId(33)).register_vcpu_info(&identity(), latched(), &AREA).unwrap();
        drop(xen);
        assert_eq!(told, info.as_ptr().addr().get() as u64);
        assert_eq!(info.evtchn_pending_sel().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refusal_leaves_the_area_free() {
        static AREA: Area<raw::VcpuInfo> = Area::new();
        let xen = Script::new().vcpu(command::RegisterVcpuInfo, |_, _| errno(Errno::ENOENT)).vcpu(command::RegisterVcpuInfo, |_, _| 0);
        let absent = Vcpu::new(&xen, VcpuId(99)).register_vcpu_info(&identity(), latched(), &AREA);
        assert_eq!(absent.unwrap_err(), RegisterError::Refused(Errno::ENOENT));
        let vcpu = Vcpu::new(&xen, VcpuId(1));
        vcpu.register_vcpu_info(&identity(), latched(), &AREA).unwrap();
        assert_eq!(vcpu.register_vcpu_info(&identity(), latched(), &AREA).unwrap_err(), RegisterError::Taken);
    }

    #[test]
    fn an_area_without_a_frame_is_refused_before_the_call() {
        struct Nowhere;
        // SAFETY: it names no frame.
        unsafe impl AddressSpace for Nowhere {
            fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
                None
            }
        }
        static AREA: Area<raw::VcpuInfo> = Area::new();
        let xen = Script::new();
        let error = Vcpu::new(&xen, VcpuId(1)).register_vcpu_info(&Nowhere, latched(), &AREA).unwrap_err();
        assert!(matches!(error, RegisterError::NotMapped(_)) && !AREA.is_taken());
    }
}
