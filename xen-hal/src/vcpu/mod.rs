//! vCPUs: starting and stopping them, their timers, and the memory in which Xen publishes events,
//! time and run times (hypercall `vcpu_op`; upstream: `xen/include/public/vcpu.h`).
//!
//! ```
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::WidthLatch;
//! use xen_hal::platform::{AddressSpace, VcpuId};
//! use xen_hal::vcpu::{Area, Vcpu, VcpuError};
//! use xen_pac::shared_info::{VcpuInfo, raw};
//!
//! /// Registers the `vcpu_info` of vCPU 32, which has none in the shared page, before it starts.
//! /// `area` is usually a static.
//! fn prepare<H: Hypercall + Copy>(
//!     xen: H,
//!     space: &impl AddressSpace,
//!     latch: WidthLatch<H>,
//!     area: &'static Area<raw::VcpuInfo>,
//! ) -> Result<VcpuInfo<'static>, VcpuError> {
//!     Vcpu::new(xen, VcpuId(32)).register_vcpu_info(space, latch, area)
//! }
//! # xen_sim::for_each_seed(3, |seed| {
//! #     use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};
//! #     let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(FaultRates::storm());
//! #     let kernel = |guest: Guest| -> Result<(), VcpuError> {
//! #         let latch = WidthLatch::new(guest.xen())?;
//! #         // SAFETY: nothing else uses the page; zeroes are an area.
//! #         let area = unsafe { guest.page(1).cast::<Area<raw::VcpuInfo>>().as_ref() };
//! #         prepare(guest.xen(), &guest.space(), latch, area).map(drop)
//! #     };
//! #     machine.domain(DomainConfig::new().vcpus(33), kernel)?;
//! #     Ok(machine.run()?)
//! # });
//! ```
//!
//! Methods accept any vCPU of the domain unless they say otherwise. For a vCPU that the domain does
//! not have, every operation returns `ENOENT`.
//!
//! After a restore, no area is registered. [`suspend`](crate::suspend) registers them again.
//!
//! # On Arm
//! On Arm, Xen implements two of these operations, [`Vcpu::register_vcpu_info`] and
//! [`Vcpu::register_runstate`], and returns `EINVAL` for all others. PSCI starts and stops vCPUs,
//! and `platform::LocalTimer` replaces the timers.

mod area;
mod runstate;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod start;

use core::time::Duration;

use xen_pac::vcpu::{
    VcpuGetPhysid, VcpuSetPeriodicTimer, VcpuSetSingleshotTimer, command, singleshot_timer_flags,
};

use crate::clock::SystemTime;
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::VcpuId;
use crate::version::CommandError;

pub use area::Area;
pub(crate) use area::Block;
pub use runstate::{RunTimes, RunstateArea, UpdateFlag};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use start::{LongMode, ProtectedMode, StartState};

/// A vCPU operation failed. Registering an area can be tried again, except after
/// [`Taken`](Self::Taken).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VcpuError {
    /// The address of the first instruction is not canonical: bits 63 to 47 differ (63 to 56, with
    /// five levels of page tables).
    #[error("a vCPU cannot start at the non-canonical address {0:#x}")]
    Entry(u64),
    /// The address of the stack's top is not canonical.
    #[error("a vCPU cannot have its stack at the non-canonical address {0:#x}")]
    Stack(u64),
    /// The page table's address is not aligned (to 4096; to 32 in a 32-bit mode with PAE), or does
    /// not fit into the register.
    #[error("expected an aligned page table address that fits into CR3, found {0:#x}")]
    PageTable(u64),
    /// The area is already registered, and Xen owns it. After a restore it can be [registered
    /// again](Area::reregister).
    #[error("the area is already registered")]
    Taken,
    /// The word width was latched before the domain was restored.
    #[error("the word width was latched before the domain was restored; latch it again")]
    StaleLatch,
    /// The address space has no frame for the area, which is at this address.
    #[error("no guest frame is mapped at the area's address {0:#x}")]
    NotMapped(usize),
    /// Only later releases or other architectures have the operation.
    #[error(transparent)]
    Unsupported(CommandError),
    /// Xen refused.
    #[error("Xen refused a vCPU operation: {0}")]
    Errno(#[from] Errno),
}

impl VcpuError {
    /// Returns Xen's error, if Xen refused.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Errno(errno) => Some(errno),
            Self::Unsupported(error) => error.errno(),
            _ => None,
        }
    }
}

impl From<CommandError> for VcpuError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { errno, .. } => Self::Errno(errno),
            lacking => Self::Unsupported(lacking),
        }
    }
}

/// One of the domain's vCPUs.
#[derive(Clone, Copy, Debug)]
pub struct Vcpu<H> {
    xen: H,
    id: VcpuId,
}

/// The physical processor to which a vCPU is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PhysicalId {
    /// The number of its local APIC.
    pub apic: u32,
    /// Its number in the ACPI tables.
    pub acpi: u32,
}

impl<H: Hypercall> Vcpu<H> {
    /// Creates a handle to vCPU `id` that makes its hypercalls through `xen`. The number is not
    /// checked.
    pub const fn new(xen: H, id: VcpuId) -> Self {
        Self { xen, id }
    }

    /// Returns the vCPU's number.
    pub const fn id(&self) -> VcpuId {
        self.id
    }

    /// Starts the vCPU in its initial state (`initialise`), or resumes it where
    /// [`down`](Self::down) stopped it. Does nothing to a vCPU that is up. Upstream: `VCPUOP_up`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a vCPU that was never initialised, and on Arm.
    pub fn up(&self) -> Result<(), Errno> {
        // SAFETY: a stopped vCPU resumes where it stopped. A new one starts in a state that the
        // caller of `initialise` guaranteed to be runnable.
        unsafe { self.xen.call_unchecked(command::Up, (self.id, &mut ())) }
    }

    /// Stops the vCPU, which keeps its state. A vCPU that stops itself returns from this call when
    /// another vCPU starts it again. Stopping another vCPU does not wait for it: before its stack
    /// is freed, wait until [`runstate`](Self::runstate) reports offline. Upstream: `VCPUOP_down`.
    ///
    /// When the domain's last running vCPU stops, Xen powers the domain off.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn down(&self) -> Result<(), Errno> {
        self.xen.call(command::Down, (self.id, &mut ()))
    }

    /// Returns whether the vCPU may run. Upstream: `VCPUOP_is_up`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn is_up(&self) -> Result<bool, Errno> {
        self.xen.call(command::IsUp, (self.id, &mut ()))
    }

    /// Returns the physical processor to which the vCPU is pinned. Upstream: `VCPUOP_get_physid`.
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
    /// The vCPU must have an NMI handler that can run on any stack, between any two instructions,
    /// and with interrupts off.
    pub unsafe fn send_nmi(&self) -> Result<(), Errno> {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.xen.call_unchecked(command::SendNmi, (self.id, &mut ())) }
    }
}

/// The timers that Xen keeps for each vCPU on x86. Both raise `Virq::TIMER`.
impl<H: Hypercall> Vcpu<H> {
    /// Starts the periodic timer, or changes its period. The next tick comes one period after the
    /// last tick, or at once if that time has passed. x86 only. Upstream:
    /// `VCPUOP_set_periodic_timer`.
    ///
    /// The timer stops while the vCPU sleeps, and so cannot wake it. A kernel that sleeps between
    /// ticks must set the singleshot timer at each tick.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a period under a millisecond or over 2^62 - 1 ns, and on Arm.
    pub fn set_periodic_timer(&self, period: Duration) -> Result<(), Errno> {
        // A period that does not fit exceeds Xen's limit.
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        self.xen.call(command::SetPeriodicTimer, (self.id, &mut VcpuSetPeriodicTimer::new(nanos)))
    }

    /// Stops the periodic timer. A tick that has been raised stays pending. x86 only. Upstream:
    /// `VCPUOP_stop_periodic_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` on Arm.
    pub fn stop_periodic_timer(&self) -> Result<(), Errno> {
        self.xen.call(command::StopPeriodicTimer, (self.id, &mut ()))
    }

    /// Sets the singleshot timer of this vCPU, which must be the calling one. If `at` has passed,
    /// the timer fires at once; with [`SystemTime::NEVER`] it never fires. Replaces an earlier
    /// setting. x86 only. Upstream: `VCPUOP_set_singleshot_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another vCPU than the calling one, and on Arm.
    pub fn set_singleshot_timer(&self, at: SystemTime) -> Result<(), Errno> {
        self.singleshot(at, 0)
    }

    /// Sets the singleshot timer, and asks Xen to refuse a time that has passed. Xen up to 4.17.2
    /// does so. Since 4.17.3, the timer fires at once, and the call succeeds: do not depend on the
    /// refusal. Upstream: `VCPU_SSHOTTMR_future`.
    ///
    /// # Errors
    ///
    /// As for [`set_singleshot_timer`](Self::set_singleshot_timer), and `ETIME` up to 4.17.2 for a
    /// time that has passed; no timer is set then.
    pub fn set_singleshot_timer_in_future(&self, at: SystemTime) -> Result<(), Errno> {
        self.singleshot(at, singleshot_timer_flags::FUTURE.val(1).value)
    }

    /// Stops the singleshot timer of this vCPU, which must be the calling one. x86 only. Upstream:
    /// `VCPUOP_stop_singleshot_timer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another vCPU than the calling one, and on Arm.
    pub fn stop_singleshot_timer(&self) -> Result<(), Errno> {
        self.xen.call(command::StopSingleshotTimer, (self.id, &mut ()))
    }

    fn singleshot(&self, at: SystemTime, flags: u32) -> Result<(), Errno> {
        self.xen.call(
            command::SetSingleshotTimer,
            (self.id, &mut VcpuSetSingleshotTimer::new(at.as_nanos() as u64, flags)),
        )
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
        // SAFETY: the script raises no interrupt.
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

    #[test]
    fn periods_are_durations_and_moments_are_points() {
        let xen = Script::new()
            .vcpu(command::SetPeriodicTimer, |vcpu, timer| {
                assert_eq!((vcpu, timer.period_ns), (2, 10_000_000));
                0
            })
            .vcpu(command::StopPeriodicTimer, |_, _| 0)
            .vcpu(command::SetSingleshotTimer, |vcpu, timer| {
                assert_eq!((vcpu, timer.timeout_abs_ns, timer.flags), (2, 1_000_000_007, 0));
                0
            })
            .vcpu(command::SetSingleshotTimer, |_, timer| {
                assert_eq!((timer.timeout_abs_ns, timer.flags), (7, 1));
                errno(Errno::ETIME)
            })
            .vcpu(command::StopSingleshotTimer, |_, _| errno(Errno::EINVAL));
        let vcpu = Vcpu::new(&xen, VcpuId(2));
        vcpu.set_periodic_timer(Duration::from_millis(10)).unwrap();
        vcpu.stop_periodic_timer().unwrap();
        vcpu.set_singleshot_timer(SystemTime::from_nanos(7) + Duration::from_secs(1)).unwrap();
        assert_eq!(
            vcpu.set_singleshot_timer_in_future(SystemTime::from_nanos(7)),
            Err(Errno::ETIME)
        );
        assert_eq!(vcpu.stop_singleshot_timer(), Err(Errno::EINVAL));
    }

    #[test]
    fn a_period_without_end_does_not_become_a_short_one() {
        let xen = Script::new().vcpu(command::SetPeriodicTimer, |_, timer| {
            assert_eq!(timer.period_ns, u64::MAX);
            errno(Errno::EINVAL)
        });
        assert_eq!(
            Vcpu::new(&xen, VcpuId(0)).set_periodic_timer(Duration::MAX),
            Err(Errno::EINVAL)
        );
    }
}
