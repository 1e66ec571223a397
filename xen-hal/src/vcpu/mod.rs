//! vCPUs: started and stopped, their timers, and the memory in which Xen tells them of events and
//! time (hypercall `vcpu_op`; upstream: `xen/include/public/vcpu.h`).
//!
//! ```
//! use core::time::Duration;
//! use xen_hal::clock::SystemTime;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::platform::{AddressSpace, VcpuId};
//! use xen_hal::vcpu::{Area, RegisterError, Vcpu};
//! use xen_pac::shared_info::{VcpuInfo, raw};
//!
//! static INFO: Area<raw::VcpuInfo> = Area::new();
//!
//! /// Run by vCPU 32, which has no place in the shared page: gives it one, and a first tick after a millisecond.
//! fn begin<H: Hypercall + Copy>(xen: H, space: &impl AddressSpace, latch: WidthLatch<H>, now: SystemTime) -> Result<VcpuInfo<'static>, RegisterError> {
//!     let me = Vcpu::new(xen, VcpuId(32));
//!     let info = me.register_vcpu_info(space, latch, &INFO)?;
//!     me.set_singleshot_timer(now + Duration::from_millis(1))?;
//!     Ok(info)
//! }
//! ```
//!
//! Any vCPU of the domain can be named, unless a method says otherwise. Every operation answers
//! `ENOENT` for a vCPU that the domain does not have.
//!
//! # After a migration
//! A domain that was restored, here or on another machine, has its memory as it was, and a Xen that
//! knows of nothing which was registered. The areas know it: one statement for each kind repeats
//! all that was registered of it, and skips the areas that were not. Every handle from before is
//! good again.
//!
//! ```
//! use xen_hal::Xen;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::platform::AddressSpace;
//! use xen_hal::sched::Resumed;
//! use xen_hal::vcpu::{Area, RegisterError};
//! use xen_pac::sched::ShutdownReason;
//! use xen_pac::shared_info;
//! use xen_pac::vcpu;
//!
//! static INFOS: [Area<shared_info::raw::VcpuInfo>; 64] = [const { Area::new() }; 64];
//! static RUNSTATES: [Area<vcpu::raw::VcpuRunstateInfo>; 64] = [const { Area::new() }; 64];
//!
//! /// Suspends the domain. The other vCPUs are down, and interrupts are off.
//! fn suspend<H: Hypercall + Copy>(xen: Xen<H>, space: &impl AddressSpace) -> Result<(), RegisterError> {
//!     if xen.sched().shutdown(ShutdownReason::SUSPEND)? == Resumed::Cancelled {
//!         return Ok(());
//!     }
//!     // First of all the callback and the shared page, as at the start: the old proof that Xen knows the width says nothing of this Xen.
//!     let latch = WidthLatch::new(xen.hypercall())?;
//!     INFOS.iter().try_for_each(|area| area.reregister(space, latch))?;
//!     RUNSTATES.iter().try_for_each(|area| area.reregister(xen.hypercall(), space))
//! }
//! ```
//!
//! Do it before another vCPU is up, because a vCPU that is up can only have its
//! [`VcpuInfo`](xen_pac::shared_info::VcpuInfo) moved by itself; and before a clock is read that
//! finds its time in one of the areas. Timers are to be set anew.
//!
//! # On Arm
//! Xen knows two of these operations there, [`Vcpu::register_vcpu_info`] and
//! [`Vcpu::register_runstate`], and answers all others with `EINVAL`. PSCI starts and stops vCPUs,
//! and the architected virtual timer takes the timers' place.

mod area;
mod info;
mod runstate;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod start;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod time_copy;
mod timer;

use xen_pac::vcpu::{VcpuGetPhysid, command};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::VcpuId;

pub use area::{Area, RegisterError};
pub use runstate::{RunTimes, RunstateArea, UpdateFlag};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use start::{InitialiseError, LongMode, ProtectedMode, StartError, StartState};

/// One of the domain's vCPUs.
#[derive(Clone, Copy, Debug)]
pub struct Vcpu<H> {
    xen: H,
    id: VcpuId,
}

/// Which physical processor a vCPU is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PhysicalId {
    /// The number of its local APIC.
    pub apic: u32,
    /// Its number in ACPI's tables.
    pub acpi: u32,
}

impl<H: Hypercall> Vcpu<H> {
    /// The vCPU with this number, through a backend. Whether the domain has it, Xen will tell.
    pub const fn new(xen: H, id: VcpuId) -> Self {
        Self { xen, id }
    }

    /// The vCPU's number.
    pub const fn id(&self) -> VcpuId {
        self.id
    }

    /// Lets the vCPU run: from where it was [initialised](Self::initialise) to start, or from where
    /// [`down`](Self::down) stopped it. Nothing happens to one that is up. Upstream: `VCPUOP_up`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for one that was never initialised, and on Arm.
    pub fn up(&self) -> Result<(), Errno> {
        // SAFETY: the vCPU goes on where it was when it was stopped, which is as if it had not been
        // scheduled for a while; or it begins in the state of which whoever initialised it promised
        // that it can run.
        unsafe { self.xen.call_unchecked(command::Up, (self.id, &mut ())) }
    }

    /// Stops the vCPU. It keeps its state. One that stops itself returns from this call when
    /// another lets it run again; another vCPU may run on for a moment after the call, so wait
    /// until [`runstate`](Self::runstate) says that it is offline before its stack is taken away.
    /// Upstream: `VCPUOP_down`.
    ///
    /// The last vCPU of the domain to stop powers it off.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn down(&self) -> Result<(), Errno> {
        self.xen.call(command::Down, (self.id, &mut ()))
    }

    /// Whether the vCPU may run. Upstream: `VCPUOP_is_up`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn is_up(&self) -> Result<bool, Errno> {
        self.xen.call(command::IsUp, (self.id, &mut ()))
    }

    /// Which physical processor the vCPU is tied to. Upstream: `VCPUOP_get_physid`.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless the domain is the hardware domain and its vCPUs are pinned.
    pub fn physical_id(&self) -> Result<PhysicalId, Errno> {
        let mut answer = VcpuGetPhysid::ZEROED;
        self.xen.call(command::GetPhysid, (self.id, &mut answer))?;
        Ok(PhysicalId { apic: answer.phys_id as u32, acpi: (answer.phys_id >> u32::BITS) as u32 })
    }

    /// Sends the vCPU a non-maskable interrupt. Upstream: `VCPUOP_send_nmi`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    ///
    /// # Safety
    ///
    /// The vCPU has a handler for it that works wherever it may be interrupted: with any stack,
    /// between any two instructions, and with interrupts off.
    pub unsafe fn send_nmi(&self) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        unsafe { self.xen.call_unchecked(command::SendNmi, (self.id, &mut ())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};

    #[test]
    fn each_operation_names_its_vcpu() {
        let about = |vcpu: usize, _: &mut ()| {
            assert_eq!(vcpu, 3);
            0
        };
        let xen = Script::new()
            .vcpu(command::Up, about)
            .vcpu(command::Down, about)
            .vcpu(command::SendNmi, about)
            .vcpu(command::IsUp, |_, _| 1)
            .vcpu(command::IsUp, |_, _| 0)
            .vcpu(command::IsUp, |_, _| errno(Errno::ENOENT));
        let vcpu = Vcpu::new(&xen, VcpuId(3));
        vcpu.up().unwrap();
        vcpu.down().unwrap();
        // SAFETY: no interrupt comes of it.
        unsafe { vcpu.send_nmi() }.unwrap();
        assert_eq!(vcpu.is_up(), Ok(true));
        assert_eq!(vcpu.is_up(), Ok(false));
        assert_eq!(vcpu.is_up(), Err(Errno::ENOENT));
    }

    #[test]
    fn the_physical_number_has_two_halves() {
        let xen = Script::new().vcpu(command::GetPhysid, |vcpu, answer| {
            assert_eq!(vcpu, 0);
            answer.phys_id = 0x0000_0007_0000_0012;
            0
        });
        assert_eq!(
            Vcpu::new(&xen, VcpuId(0)).physical_id(),
            Ok(PhysicalId { apic: 0x12, acpi: 7 })
        );
    }
}
