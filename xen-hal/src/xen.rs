//! All subsystems from one handle.

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

/// The hypervisor, from which each subsystem's handle is had. They can also be made alone:
/// `Events::new(xen)` is `Xen::new(xen).events()`.
///
/// ```
/// use xen_hal::Xen;
/// use xen_hal::hypercall::{Errno, Hypercall};
/// use xen_hal::platform::VcpuId;
///
/// fn second_vcpu_runs(backend: &impl Hypercall) -> Result<bool, Errno> {
///     Xen::new(backend).vcpu(VcpuId(1)).is_up()
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Xen<H> {
    hypercall: H,
}

impl<H: Hypercall + Copy> Xen<H> {
    /// The hypervisor that a backend reaches.
    pub const fn new(hypercall: H) -> Self {
        Self { hypercall }
    }

    /// The backend.
    pub const fn hypercall(&self) -> H {
        self.hypercall
    }

    /// Which Xen this is, and what it offers.
    pub const fn version(&self) -> Version<H> {
        Version::new(self.hypercall)
    }

    /// The domain's parameters, and how events interrupt it.
    pub const fn hvm(&self) -> Hvm<H> {
        Hvm::new(self.hypercall)
    }

    /// The domain's event channels.
    pub const fn events(&self) -> Events<H> {
        Events::new(self.hypercall)
    }

    /// The domain's grants.
    pub const fn grants(&self) -> Grants<H> {
        Grants::new(self.hypercall)
    }

    /// The domain's memory.
    pub const fn memory(&self) -> Memory<H> {
        Memory::new(self.hypercall)
    }

    /// Waiting, and the domain's end.
    pub const fn sched(&self) -> Sched<H> {
        Sched::new(self.hypercall)
    }

    /// One of the domain's vCPUs.
    pub const fn vcpu(&self, id: VcpuId) -> Vcpu<H> {
        Vcpu::new(self.hypercall, id)
    }

    /// Xen's own console. [`Console::open`](crate::console::Console::open) picks the console that
    /// the domain has.
    pub const fn emergency_console(&self) -> EmergencyConsole<H> {
        EmergencyConsole::new(self.hypercall)
    }
}
