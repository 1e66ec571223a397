//! Event channels on the simulator: masks, the scan, the dispatcher and its listeners.
#![cfg(target_os = "linux")]

mod dispatch;
mod dispatcher;
mod masks;
mod random;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xen_hal::Xen;
use xen_hal::event::{Kind, Port, TwoLevel};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::VcpuId;
use xen_pac::base::{Domid, XenUlong};
use xen_pac::shared_info::{SharedInfo, VcpuInfo};
use xen_sim::{DomainConfig, FaultRates, Guest, Hypervisor, Machine, Profile};

const BITS: u32 = XenUlong::BITS;
const LAST: u32 = TwoLevel::PORTS - 1;

/// A domain with two vCPUs, of which the first runs the test, with interrupts off. All ports from 1
/// are bound; sending to one raises it.
struct Domain {
    guest: Guest,
    xen: Xen<Hypervisor>,
    shared: SharedInfo<'static>,
}

impl Domain {
    fn bitmaps(&self) -> TwoLevel<'static> {
        TwoLevel::new(self.shared)
    }

    fn vcpu(&self, vcpu: u32) -> VcpuInfo<'static> {
        self.shared.vcpu_info(vcpu as usize).expect("the first vCPUs have blocks here")
    }

    fn upcall_pending(&self, vcpu: u32) -> bool {
        self.vcpu(vcpu).evtchn_upcall_pending().load(Ordering::SeqCst) != 0
    }

    fn selector(&self, vcpu: u32) -> XenUlong {
        self.vcpu(vcpu).evtchn_pending_sel().load(Ordering::SeqCst)
    }

    fn raise(&self, port: Port) {
        self.xen.events().send(port).expect("the port is bound");
    }

    /// Binds ports from 1 to `last` as IPIs of the vCPU that `vcpu_of` names.
    fn bind_ipis(&self, last: u32, vcpu_of: impl Fn(u32) -> u32) {
        for port in 1..=last {
            let channel = self.xen.events().bind_ipi(VcpuId(vcpu_of(port)));
            assert_eq!(channel.expect("there are ports").into_port(), Port(port));
        }
    }

    /// Binds two ports to each other: sending to the second raises the first.
    fn bind_pair(&self) -> (Port, Port) {
        let events = self.xen.events();
        let near = events.alloc_unbound(Domid::SELF).expect("there are ports").into_port();
        let far = events.bind_interdomain(Domid::SELF, near).expect("the port is its own");
        assert_eq!(far.kind(), Kind::Interdomain);
        (near, far.into_port())
    }
}

/// Runs a test on vCPU 0 of a fresh domain.
fn with_domain(test: impl FnOnce(&Domain) + Send + 'static) {
    with_domain_of(1, FaultRates::none(), test);
}

fn with_domain_of(seed: u64, rates: FaultRates, test: impl FnOnce(&Domain) + Send + 'static) {
    let ran = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&ran);
    let mut machine =
        Machine::new(Profile::DOM0, seed).expect("the host has memory").fault_rates(rates);
    let program = move |guest: Guest| {
        let xen = Xen::new(guest.xen());
        let latch = WidthLatch::new(guest.xen()).expect("the width can be latched");
        // SAFETY: nothing else uses the page, and the domain does not outlive its machine.
        let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) };
        test(&Domain { guest, xen, shared: shared.expect("the page can be mapped") });
        noted.store(true, Ordering::Relaxed);
    };
    machine.domain(DomainConfig::new().vcpus(2), program).expect("the machine has memory");
    if let Err(failure) = machine.run() {
        panic!("{failure}");
    }
    assert!(ran.load(Ordering::Relaxed));
}
