//! A second copy of a vCPU's time block, on x86.

use core::ptr::NonNull;

use xen_pac::access::Handle;
use xen_pac::shared_info::{VcpuTimeInfo, raw};
use xen_pac::vcpu::{VcpuRegisterTimeMemoryArea, VcpuRegisterTimeMemoryAreaAddr, command};

use super::area::{Form, physical};
use super::{Area, RegisterError, Vcpu};
use crate::hypercall::{Commands, Hypercall};
use crate::platform::AddressSpace;

impl<H: Hypercall> Vcpu<H> {
    /// Lets Xen keep another copy of the vCPU's time block in `area`, which it finds by its virtual
    /// address: for programs in user mode, say, that are to read the clock and nothing else. x86
    /// only. Upstream: `VCPUOP_register_vcpu_time_memory_area`.
    ///
    /// The address is looked up each time that Xen writes. From 4.18 on,
    /// [`register_time_physical`](Self::register_time_physical) has no such dependence.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] before Xen is asked; `EFAULT` for an address that a guest cannot
    /// have.
    ///
    /// # Safety
    ///
    /// Each page table that any vCPU of the domain will ever use maps the area's address to the
    /// area, or not at all: Xen writes by those of the vCPU, and at once by that of the calling
    /// one, which may be another, then and when the area is registered again.
    pub unsafe fn register_time(
        &self,
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        let block = area.take(self.id, Form::Virtual, |block| self.tell_time(block))?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }

    /// As [`register_time`](Self::register_time), by the area's physical address, which needs no
    /// promise. x86 only. Since Xen 4.18. Upstream: `VCPUOP_register_vcpu_time_phys_area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked; `ENOSYS`
    /// before 4.18; `EINVAL` and `EACCES` for a frame that is not memory which the domain can
    /// write.
    pub fn register_time_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        let block =
            area.take(self.id, Form::Physical, |block| self.tell_time_physical(space, block))?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }

    /// Has Xen use the block, an area's, by its virtual address. It is found there in every page
    /// table, as somebody has promised.
    fn tell_time(&self, block: NonNull<raw::VcpuTimeInfo>) -> Result<(), RegisterError> {
        block.as_ptr().expose_provenance();
        let address = VcpuRegisterTimeMemoryAreaAddr::from_v(Handle::from_ptr(block.as_ptr()));
        let mut argument = VcpuRegisterTimeMemoryArea::new(address);
        // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; that it
        // finds them there was promised.
        unsafe {
            self.xen.call_unchecked(command::RegisterVcpuTimeMemoryArea, (self.id, &mut argument))
        }?;
        Ok(())
    }

    /// Has Xen use the block, an area's, by its physical address.
    fn tell_time_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        block: NonNull<raw::VcpuTimeInfo>,
    ) -> Result<(), RegisterError> {
        let address = VcpuRegisterTimeMemoryAreaAddr::from_p(physical(space, block)?);
        let mut argument = VcpuRegisterTimeMemoryArea::new(address);
        // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; the address
        // is theirs, as the address space promises.
        unsafe {
            self.xen.call_unchecked(command::RegisterVcpuTimePhysArea, (self.id, &mut argument))
        }?;
        Ok(())
    }
}

impl Area<raw::VcpuTimeInfo> {
    /// Registers the area once more, for the vCPU and in the form of before, after the domain was
    /// restored. Does nothing to an area that never was registered.
    ///
    /// The handle from before is good again: until now it showed a time of the old Xen's. x86 only.
    ///
    /// # Errors
    ///
    /// Those of [`register_time`](Vcpu::register_time) or
    /// [`register_time_physical`](Vcpu::register_time_physical) but [`RegisterError::Taken`]. A
    /// domain that was moved to a Xen before 4.18 finds the physical form missing there: `ENOSYS`.
    pub fn reregister(
        &'static self,
        xen: impl Hypercall,
        space: &(impl AddressSpace + ?Sized),
    ) -> Result<(), RegisterError> {
        self.take_again(|vcpu, form, block| match form {
            Form::Virtual => Vcpu::new(xen, vcpu).tell_time(block),
            Form::Physical => Vcpu::new(xen, vcpu).tell_time_physical(space, block),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::Errno;
    use crate::platform::{IdentityMap, VcpuId};
    use crate::testing::{Script, errno};
    use core::cell::RefCell;

    #[test]
    fn both_forms_pass_the_place_of_the_area() {
        static VIRTUAL: Area<raw::VcpuTimeInfo> = Area::new();
        static PHYSICAL: Area<raw::VcpuTimeInfo> = Area::new();
        let (mut by_virtual, mut by_physical) = (0, 0);
        let xen = Script::new()
            .vcpu(command::RegisterVcpuTimeMemoryArea, |_, argument| {
                by_virtual = argument.addr.v().as_ptr().addr();
                0
            })
            .vcpu(command::RegisterVcpuTimePhysArea, |vcpu, argument| {
                assert_eq!(vcpu, 4);
                by_physical = argument.addr.p();
                0
            })
            .vcpu(command::RegisterVcpuTimePhysArea, |_, _| errno(Errno::EBUSY));
        // SAFETY: nothing is mapped by it.
        let space = unsafe { IdentityMap::new() };
        let vcpu = Vcpu::new(&xen, VcpuId(4));
        // SAFETY: the only address space there is maps the area.
        let first = unsafe { vcpu.register_time(&VIRTUAL) }.unwrap();
        let second = vcpu.register_time_physical(&space, &PHYSICAL).unwrap();
        static ANOTHER: Area<raw::VcpuTimeInfo> = Area::new();
        assert_eq!(
            vcpu.register_time_physical(&space, &ANOTHER).unwrap_err(),
            RegisterError::Refused(Errno::EBUSY)
        );
        drop(xen);
        assert_eq!(by_virtual, first.as_ptr().addr().get());
        assert_eq!(by_physical, second.as_ptr().addr().get() as u64);
    }

    #[test]
    fn a_restored_domain_tells_the_same_place_in_the_same_form() {
        static VIRTUAL: Area<raw::VcpuTimeInfo> = Area::new();
        static PHYSICAL: Area<raw::VcpuTimeInfo> = Area::new();
        let told = RefCell::new(std::vec::Vec::new());
        let by_virtual = |vcpu, argument: &mut VcpuRegisterTimeMemoryArea| {
            told.borrow_mut().push((vcpu, argument.addr.v().as_ptr().addr() as u64));
            0
        };
        let by_physical = |vcpu, argument: &mut VcpuRegisterTimeMemoryArea| {
            told.borrow_mut().push((vcpu, argument.addr.p()));
            0
        };
        let xen = Script::new()
            .vcpu(command::RegisterVcpuTimeMemoryArea, by_virtual)
            .vcpu(command::RegisterVcpuTimePhysArea, by_physical)
            .vcpu(command::RegisterVcpuTimeMemoryArea, by_virtual)
            .vcpu(command::RegisterVcpuTimePhysArea, by_physical)
            .vcpu(command::RegisterVcpuTimePhysArea, |_, _| errno(Errno::ENOSYS));
        // SAFETY: nothing is mapped by it.
        let space = unsafe { IdentityMap::new() };
        // SAFETY: the only address space there is maps the area.
        let first = unsafe { Vcpu::new(&xen, VcpuId(1)).register_time(&VIRTUAL) }.unwrap();
        let second = Vcpu::new(&xen, VcpuId(2)).register_time_physical(&space, &PHYSICAL).unwrap();
        VIRTUAL.reregister(&xen, &space).unwrap();
        PHYSICAL.reregister(&xen, &space).unwrap();
        assert_eq!(PHYSICAL.reregister(&xen, &space), Err(RegisterError::Refused(Errno::ENOSYS)));
        drop(xen);
        let expected =
            [(1, first.as_ptr().addr().get() as u64), (2, second.as_ptr().addr().get() as u64)];
        assert_eq!(told.into_inner(), [expected, expected].concat());
    }
}
