//! A second copy of a vCPU's time block, on x86.

use xen_pac::access::Handle;
use xen_pac::shared_info::{VcpuTimeInfo, raw};
use xen_pac::vcpu::{VcpuRegisterTimeMemoryArea, VcpuRegisterTimeMemoryAreaAddr, command};

use super::area::physical;
use super::{Area, RegisterError, Vcpu};
use crate::hypercall::{Commands, Hypercall};
use crate::platform::AddressSpace;

impl<H: Hypercall> Vcpu<H> {
    /// Lets Xen keep another copy of the vCPU's time block in `area`, which it finds by its virtual address: for programs in user mode, say, that are to read the clock
    /// and nothing else. x86 only. Upstream: `VCPUOP_register_vcpu_time_memory_area`.
    ///
    /// The address is looked up each time that Xen writes. From 4.18 on, [`register_time_physical`](Self::register_time_physical) has no such dependence.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] before Xen is asked; `EFAULT` for an address that a guest cannot have.
    ///
    /// # Safety
    ///
    /// Each page table that the vCPU will ever use maps the area's address to the area, or not at all.
    pub unsafe fn register_time(&self, area: &'static Area<raw::VcpuTimeInfo>) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        let block = area.take(|block| {
            block.as_ptr().expose_provenance();
            let handle = Handle::from_ptr(block.as_ptr());
            let mut argument = VcpuRegisterTimeMemoryArea::new(VcpuRegisterTimeMemoryAreaAddr::from_v(handle));
            // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; that it finds them there is the caller's promise.
            unsafe { self.xen.vcpu_unchecked(command::RegisterVcpuTimeMemoryArea, self.id.0, &mut argument) }?;
            Ok(())
        })?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }

    /// As [`register_time`](Self::register_time), by the area's physical address, which needs no promise. x86 only. Since Xen 4.18. Upstream:
    /// `VCPUOP_register_vcpu_time_phys_area`.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Taken`] and [`RegisterError::NotMapped`] before Xen is asked; `ENOSYS` before 4.18; `EINVAL`
    /// and `EACCES` for a frame that is not memory which the domain can write.
    pub fn register_time_physical(
        &self,
        space: &(impl AddressSpace + ?Sized),
        area: &'static Area<raw::VcpuTimeInfo>,
    ) -> Result<VcpuTimeInfo<'static>, RegisterError> {
        let block = area.take(|block| {
            let address = VcpuRegisterTimeMemoryAreaAddr::from_p(physical(space, block)?);
            let mut argument = VcpuRegisterTimeMemoryArea::new(address);
            // SAFETY: Xen writes to the block's bytes, which the area gives away for ever; the address is theirs, as the address space promises.
            unsafe { self.xen.vcpu_unchecked(command::RegisterVcpuTimePhysArea, self.id.0, &mut argument) }?;
            Ok(())
        })?;
        // SAFETY: the area is static and taken: only Xen and this handle touch it from now on.
        Ok(unsafe { VcpuTimeInfo::from_ptr(block) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::Errno;
    use crate::platform::{IdentityMap, VcpuId};
    use crate::testing::{Script, errno};

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
        assert_eq!(vcpu.register_time_physical(&space, &ANOTHER).unwrap_err(), RegisterError::Refused(Errno::EBUSY));
        drop(xen);
        assert_eq!(by_virtual, first.as_ptr().addr().get());
        assert_eq!(by_physical, second.as_ptr().addr().get() as u64);
    }
}
