//! The simulator as a machine for scenarios.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use conformance::{Machine, World};
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::{LongMode, Vcpu};
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainSpace, Guest, Hypervisor, InterruptFlag, VirtualCounter};

const UPCALL_VECTOR: u8 = 0xf3;
const OWN_VECTOR: u8 = 0xe3;
/// The interrupt that signals events on Arm.
pub(crate) const ARM_INTERRUPT: u8 = 31;

/// A simulated domain, and the lines that its scenario tells.
#[derive(Clone)]
pub(crate) struct Simulated {
    guest: Guest,
    is_arm: bool,
    world: &'static World,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Simulated {
    pub(crate) fn new(guest: Guest, is_arm: bool, lines: Arc<Mutex<Vec<String>>>) -> Self {
        // A kernel's world is a static; a run in a test is as good as a kernel's life, and its
        // world as small as nothing.
        let world: &'static World = Box::leak(Box::new(World::new()));
        let upcall = if is_arm { ARM_INTERRUPT } else { UPCALL_VECTOR };
        guest.on_interrupt(upcall, move || world.upcall(guest.vcpu()));
        guest.on_interrupt(OWN_VECTOR, move || {
            world.own_upcall(guest.vcpu());
            guest.end_of_interrupt();
        });
        Self { guest, is_arm, world, lines }
    }
}

// SAFETY: the pages are the domain's, there until the machine has run, and used by the scenario
// alone; the seams are the simulator's own.
unsafe impl Machine for Simulated {
    type Xen = Hypervisor;
    type Space = DomainSpace;
    type Counter = VirtualCounter;
    type Interrupts = InterruptFlag;

    fn xen(&self) -> Hypervisor {
        self.guest.xen()
    }

    fn space(&self) -> DomainSpace {
        self.guest.space()
    }

    fn counter(&self) -> VirtualCounter {
        self.guest.counter()
    }

    fn interrupts(&self) -> InterruptFlag {
        self.guest.interrupts()
    }

    fn world(&self) -> &'static World {
        self.world
    }

    fn page(&self, index: usize) -> NonNull<u8> {
        self.guest.page(index)
    }

    fn callback(&self) -> Option<CallbackVia> {
        CallbackVia::vector(UPCALL_VECTOR).ok().filter(|_| !self.is_arm)
    }

    fn own_upcalls(&self) -> Option<u8> {
        self.guest.enable_local_apic(true);
        (!self.is_arm).then_some(OWN_VECTOR)
    }

    fn own_upcalls_are_announced(&self) -> bool {
        self.guest.announces_upcall_vectors()
    }

    fn current(&self) -> VcpuId {
        self.guest.vcpu()
    }

    fn enable_interrupts(&self) {
        self.guest.enable_interrupts();
    }

    fn wait_until(&self, done: impl FnMut() -> bool) {
        self.guest.wait_until(done);
    }

    fn relax(&self) {
        self.guest.relax();
    }

    fn start(&self, vcpu: VcpuId, main: fn(&Self)) -> Result<(), Errno> {
        let further = self.clone();
        if self.is_arm {
            return self.guest.start(vcpu, move |guest| main(&Self { guest, ..further }));
        }
        self.guest.set_program(vcpu, move |guest| main(&Self { guest, ..further }));
        // The simulator runs the program, whatever the address; the rest must be a state in which a
        // vCPU can start.
        let state = LongMode::new(0x1000, 0x2000, 0x3000);
        let vcpu = Vcpu::new(self.guest.xen(), vcpu);
        // SAFETY: the vCPU runs the program that was prepared.
        unsafe { vcpu.initialise(&state) }
            .map_err(|error| error.errno().unwrap_or(Errno::EINVAL))?;
        vcpu.up()
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.lines.lock().expect("lines are told one at a time").push(line.to_string());
    }
}
