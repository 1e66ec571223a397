//! Returns all subsystems from one handle.

use crate::console::EmergencyConsole;
use crate::event::Events;
use crate::grant::Grants;
use crate::hvm::Hvm;
use crate::hypercall::Hypercall;
use crate::memory::Memory;
use crate::platform::VcpuId;
use crate::sched::Sched;
use crate::vcpu::Vcpu;
use crate::version::Version;

/// A handle to the hypervisor that returns each subsystem's handle. `Xen::new(xen).events()` is the
/// same as `Events::new(xen)`.
///
/// ```
/// use xen_hal::Xen;
/// use xen_hal::hypercall::{Errno, Hypercall};
/// use xen_hal::platform::VcpuId;
///
/// fn second_vcpu_runs(backend: &impl Hypercall) -> Result<bool, Errno> {
///     Xen::new(backend).vcpu(VcpuId(1)).is_up()
/// }
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| {
/// #     assert_eq!(second_vcpu_runs(&guest.xen()), Err(Errno::ENOENT)); // it has one
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Xen<H> {
    hypercall: H,
}

impl<H: Hypercall + Copy> Xen<H> {
    /// Creates a handle that makes its hypercalls through a backend.
    pub const fn new(hypercall: H) -> Self {
        Self { hypercall }
    }

    /// Returns the backend.
    pub const fn hypercall(&self) -> H {
        self.hypercall
    }

    /// Returns information about the hypervisor.
    pub const fn version(&self) -> Version<H> {
        Version::new(self.hypercall)
    }

    /// Returns the domain's parameters and interrupt settings.
    pub const fn hvm(&self) -> Hvm<H> {
        Hvm::new(self.hypercall)
    }

    /// Returns the domain's event channels.
    pub const fn events(&self) -> Events<H> {
        Events::new(self.hypercall)
    }

    /// Returns the domain's grant operations.
    pub const fn grants(&self) -> Grants<H> {
        Grants::new(self.hypercall)
    }

    /// Returns the domain's memory operations.
    pub const fn memory(&self) -> Memory<H> {
        Memory::new(self.hypercall)
    }

    /// Returns the scheduler operations.
    pub const fn sched(&self) -> Sched<H> {
        Sched::new(self.hypercall)
    }

    /// Returns one of the domain's vCPUs.
    pub const fn vcpu(&self, id: VcpuId) -> Vcpu<H> {
        Vcpu::new(self.hypercall, id)
    }

    /// Returns Xen's own console. [`Console::open`](crate::console::Console::open) selects the
    /// console that the domain has.
    pub const fn emergency_console(&self) -> EmergencyConsole<H> {
        EmergencyConsole::new(self.hypercall)
    }
}
