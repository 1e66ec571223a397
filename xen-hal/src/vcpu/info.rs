//! A place for a vCPU's block of the event and time interface.

use core::ptr::NonNull;

use xen_pac::shared_info::{VcpuInfo, raw};
use xen_pac::vcpu::{VcpuRegisterVcpuInfo, command};

use super::area::{Form, place};
use super::{Area, RegisterError, Vcpu};
use crate::hypercall::{Commands, Hypercall};
use crate::memory::WidthLatch;
use crate::platform::AddressSpace;

impl<H: Hypercall> Vcpu<H> {
    /// Moves the vCPU's [`VcpuInfo`] from the shared page, where vCPUs from 32 on (from 1 on, on
    /// Arm) have no place and get no events, to `area`. Upstream: `VCPUOP_register_vcpu_info`.
    ///
    /// This can be done once for each vCPU, and is not undone while the domain lives. A domain that
    /// was restored has its blocks in the shared page again, and the area must be [registered
    /// again](Area::<raw::VcpuInfo>::reregister).
    ///
    /// From the first instruction after the call on, `evtchn_pending_sel` is all ones and the vCPU
    /// is interrupted, although there need be no event: Xen makes sure that none was lost
    /// meanwhile. What Xen had written to the old place stays there, and is never updated again.
    ///
    /// Xen writes the block in the layout of the width that it knows: hence the latch, through whose
    /// backend the area is registered.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked. Xen refuses
    /// - a second time: `EINVAL`, from 4.18 on `EBUSY`;
    /// - another vCPU than the calling one while that is up: `EINVAL`, up to 4.17;
    /// - a frame that is not the domain's memory: `EINVAL`, and `EACCES` for memory that it cannot
    ///   write.
    pub fn register_vcpu_info(
        &self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
        area: &'static Area<raw::VcpuInfo>,
    ) -> Result<VcpuInfo<'static>, RegisterError> {
        let vcpu = Vcpu::new(latch.hypercall(), self.id);
        let block =
            area.take(self.id, Form::Physical, |block| vcpu.tell_vcpu_info(space, block))?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuInfo::from_ptr(block) })
    }

    /// Has Xen use the block, which must be an area's.
    fn tell_vcpu_info(
        &self,
        space: &(impl AddressSpace + ?Sized),
        block: NonNull<raw::VcpuInfo>,
    ) -> Result<(), RegisterError> {
        let (frame, offset) = place(space, block)?;
        let mut argument = VcpuRegisterVcpuInfo::new(frame.0, offset);
        // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; the frame is
        // theirs, as the address space promises.
        unsafe { self.xen.call_unchecked(command::RegisterVcpuInfo, (self.id, &mut argument)) }?;
        Ok(())
    }
}

impl Area<raw::VcpuInfo> {
    /// Registers the area once more for the vCPU that it was [registered](Vcpu::register_vcpu_info)
    /// for, after the domain was restored. Does nothing to an area that never was registered.
    ///
    /// The handle from before is good again: until now it showed what the old Xen had last written.
    /// That is overwritten, with what the vCPU has in the shared page meanwhile or, where it has no
    /// place there, with zeroes; and the vCPU is interrupted, as after the first registration.
    ///
    /// # Errors
    ///
    /// Those of [`register_vcpu_info`](Vcpu::register_vcpu_info) but [`RegisterError::Taken`].
    /// Where the domain was not restored, or this was done before, that is Xen's `EINVAL` or
    /// `EBUSY`, and nothing has changed.
    pub fn reregister(
        &'static self,
        space: &(impl AddressSpace + ?Sized),
        latch: WidthLatch<impl Hypercall + Copy>,
    ) -> Result<(), RegisterError> {
        self.take_again(|vcpu, _, block| {
            Vcpu::new(latch.hypercall(), vcpu).tell_vcpu_info(space, block)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::Errno;
    use crate::platform::{Frame, IdentityMap, VcpuId};
    use crate::testing::{Script, errno};
    use core::cell::RefCell;
    use core::sync::atomic::Ordering;

    fn latched<H: Hypercall + Copy>(xen: H) -> WidthLatch<H> {
        // SAFETY: there is no Xen whose layout could differ.
        unsafe { WidthLatch::assume(xen) }
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
        let info = Vcpu::new(&xen, VcpuId(33))
            .register_vcpu_info(&identity(), latched(&xen), &AREA)
            .unwrap();
        drop(xen);
        assert_eq!(told, info.as_ptr().addr().get() as u64);
        assert_eq!(info.evtchn_pending_sel().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refusal_leaves_the_area_free() {
        static AREA: Area<raw::VcpuInfo> = Area::new();
        let xen = Script::new()
            .vcpu(command::RegisterVcpuInfo, |_, _| errno(Errno::ENOENT))
            .vcpu(command::RegisterVcpuInfo, |_, _| 0);
        let absent =
            Vcpu::new(&xen, VcpuId(99)).register_vcpu_info(&identity(), latched(&xen), &AREA);
        assert_eq!(absent.unwrap_err(), RegisterError::Refused(Errno::ENOENT));
        let vcpu = Vcpu::new(&xen, VcpuId(1));
        vcpu.register_vcpu_info(&identity(), latched(&xen), &AREA).unwrap();
        assert_eq!(
            vcpu.register_vcpu_info(&identity(), latched(&xen), &AREA).unwrap_err(),
            RegisterError::Taken
        );
    }

    #[test]
    fn a_restored_domain_tells_the_same_place_again() {
        static AREA: Area<raw::VcpuInfo> = Area::new();
        static UNUSED: Area<raw::VcpuInfo> = Area::new();
        let places = RefCell::new(std::vec::Vec::new());
        let note = |vcpu, argument: &mut VcpuRegisterVcpuInfo| {
            places.borrow_mut().push((vcpu, argument.mfn, argument.offset));
            0
        };
        let xen = Script::new()
            .vcpu(command::RegisterVcpuInfo, note)
            .vcpu(command::RegisterVcpuInfo, |_, _| errno(Errno::EINVAL))
            .vcpu(command::RegisterVcpuInfo, note);
        Vcpu::new(&xen, VcpuId(33)).register_vcpu_info(&identity(), latched(&xen), &AREA).unwrap();
        // As long as nothing was restored, Xen says so.
        assert_eq!(
            AREA.reregister(&identity(), latched(&xen)),
            Err(RegisterError::Refused(Errno::EINVAL))
        );
        AREA.reregister(&identity(), latched(&xen)).unwrap();
        UNUSED.reregister(&identity(), latched(&xen)).unwrap();
        drop(xen);
        let places = places.into_inner();
        assert_eq!((places.len(), places[0].0), (2, 33));
        assert_eq!(places[0], places[1]);
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
        let error = Vcpu::new(&xen, VcpuId(1))
            .register_vcpu_info(&Nowhere, latched(&xen), &AREA)
            .unwrap_err();
        assert!(matches!(error, RegisterError::NotMapped(_)) && !AREA.is_taken());
    }
}
