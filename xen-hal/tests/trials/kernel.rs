//! The kernel of the trials: `shared_info`, upcalls, and a second vCPU.

use std::ops::ControlFlow;
use std::sync::Arc;

use xen_hal::Xen;
use xen_hal::event::{Drain, Port, PortSet, ScanCursor, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_pac::hvm::CallbackVia;
use xen_pac::shared_info::{SharedInfo, VcpuInfo};
use xen_sim::{Guest, Hypervisor, ProgramResult};

pub(crate) const VECTOR: u8 = 0xf3;
/// How many vCPUs the domain has.
pub(crate) const VCPUS: usize = 2;

/// A domain's kernel. Every port belongs to vCPU 0 at first.
pub(crate) struct Kernel {
    pub(crate) guest: Guest,
    pub(crate) shared: SharedInfo<'static>,
    pub(crate) own: [PortSet; VCPUS],
    cursors: [ScanCursor; VCPUS],
}

impl Kernel {
    /// Maps `shared_info` at page 0, and calls `handler` with each pending port, on the vCPU to
    /// which the port belongs.
    pub(crate) fn start(
        guest: Guest,
        handler: impl Fn(&Self, Port) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Errno> {
        let xen = Xen::new(guest.xen());
        let via = CallbackVia::vector(VECTOR).expect("it is no exception's");
        let latch = xen.hvm().set_callback_via(via).map_err(|_| Errno::EINVAL)?;
        // SAFETY: nothing else uses the page, and no trial outlives its machine.
        let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }
            .map_err(|_| Errno::EINVAL)?;
        let kernel = Self {
            guest,
            shared,
            own: [const { PortSet::new() }; VCPUS],
            cursors: [const { ScanCursor::new() }; VCPUS],
        };
        for port in 0..TwoLevel::PORTS {
            kernel.own[0].insert(Port(port));
        }
        let kernel = Arc::new(kernel);
        let upcalled = Arc::clone(&kernel);
        guest.on_interrupt(VECTOR, move || upcalled.upcall(|port| handler(&upcalled, port)));
        Ok(kernel)
    }

    fn upcall(&self, mut handler: impl FnMut(Port) -> ControlFlow<()>) {
        let me = self.guest.vcpu().0 as usize;
        let (bitmaps, info, own) = (self.bitmaps(), self.info(me), &self.own[me]);
        // If something is left, the vector comes again: it is asserted while an upcall is pending.
        let _: Drain = if self.guest.random() % 2 == 0 {
            bitmaps.try_dispatch(info, own, &self.cursors[me], handler)
        } else {
            bitmaps.dispatch(info, own, |port| _ = handler(port))
        };
    }

    pub(crate) fn xen(&self) -> Xen<Hypervisor> {
        Xen::new(self.guest.xen())
    }

    pub(crate) fn bitmaps(&self) -> TwoLevel<'static> {
        TwoLevel::new(self.shared)
    }

    pub(crate) fn info(&self, vcpu: usize) -> VcpuInfo<'static> {
        self.shared.vcpu_info(vcpu).expect("the first vCPUs have their blocks in the shared page")
    }

    /// Moves a port to the second vCPU.
    pub(crate) fn give(&self, port: Port) {
        self.own[0].remove(port);
        self.own[1].insert(port);
    }

    /// Starts the second vCPU.
    pub(crate) fn second<E: ProgramResult>(
        &self,
        program: impl FnOnce(Guest) -> E + Send + 'static,
    ) -> Result<(), Errno> {
        self.guest.start(VcpuId(1), program)
    }
}
