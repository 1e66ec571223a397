//! Runs the scenario that the command line names, and prints its transcript, each line behind a
//! bar.
#![no_std]
#![no_main]

use core::fmt;
use core::hint::spin_loop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use guest::x86_64::{descriptors, interrupts, local_apic, vcpus};
use guest::{Boot, Page, println};
use conformance::{Failure, Machine, PAGES, VCPUS, World};
use xen_hal::hypercall::{Errno, AnyBackend, detect};
use xen_hal::platform::{IdentityMap, LocalInterrupts, Tsc, VcpuId};
use xen_pac::hvm::CallbackVia;

guest::main!(run);

const UPCALL_VECTOR: u8 = 0xf3;
/// For upcalls that are a vCPU's own.
const OWN_VECTOR: u8 = 0xe3;

static WORLD: World = World::new();
static MEMORY: [Page; PAGES] = [const { Page::new() }; PAGES];
/// What each further vCPU is to run, as a number; 0 for nothing.
static JOBS: [AtomicUsize; VCPUS] = [const { AtomicUsize::new(0) }; VCPUS];

/// This domain.
struct Guest {
    xen: AnyBackend,
}

fn run(boot: Boot) -> Result<(), Failure> {
    let name = boot.command_line().split(' ').next_back().unwrap_or_default();
    // SAFETY: interrupts are off, and no other vCPU runs yet.
    unsafe { interrupts::on_upcall(UPCALL_VECTOR, || WORLD.upcall(descriptors::current())) };
    // SAFETY: as above.
    unsafe { interrupts::on_own_upcall(OWN_VECTOR, || WORLD.own_upcall(descriptors::current())) };
    conformance::run(name, &Guest { xen: boot.xen })
}

// SAFETY: the pages are static and used by the scenario alone; memory is mapped to itself.
unsafe impl Machine for Guest {
    type Xen = AnyBackend;
    type Space = IdentityMap;
    type Counter = Tsc;
    type Interrupts = LocalInterrupts;

    fn xen(&self) -> AnyBackend {
        self.xen
    }

    fn space(&self) -> IdentityMap {
        // SAFETY: the boot page tables map all memory to itself.
        unsafe { IdentityMap::new() }
    }

    fn counter(&self) -> Tsc {
        Tsc
    }

    fn interrupts(&self) -> LocalInterrupts {
        // SAFETY: the guest runs at the highest privilege, and upcalls, which are all that can
        // come, have handlers.
        unsafe { LocalInterrupts::new() }
    }

    fn world(&self) -> &'static World {
        &WORLD
    }

    fn page(&self, index: usize) -> NonNull<u8> {
        MEMORY[index].as_ptr()
    }

    fn callback(&self) -> Option<CallbackVia> {
        CallbackVia::vector(UPCALL_VECTOR).ok()
    }

    fn own_upcalls(&self) -> Option<u8> {
        // SAFETY: there is a handler for the vector, which is the only one that Xen is given, and
        // for the spurious one; memory is mapped to itself.
        unsafe { local_apic::enable() };
        Some(OWN_VECTOR)
    }

    fn own_upcalls_are_announced(&self) -> bool {
        xen_hal::hvm::upcall_vector_is_announced()
    }

    fn current(&self) -> VcpuId {
        descriptors::current()
    }

    fn enable_interrupts(&self) {
        // SAFETY: upcalls, which are all that can come, have handlers.
        unsafe { interrupts::enable() };
    }

    fn wait_until(&self, done: impl FnMut() -> bool) {
        // SAFETY: as above.
        unsafe { interrupts::wait_until(done) };
    }

    fn relax(&self) {
        spin_loop();
    }

    fn start(&self, vcpu: VcpuId, main: fn(&Self)) -> Result<(), Errno> {
        JOBS.get(vcpu.0 as usize).ok_or(Errno::ENOENT)?.store(main as usize, Ordering::Release);
        vcpus::start(&self.xen, vcpu, further)
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        println!("| {line}");
    }
}

/// What a further vCPU runs first.
fn further(vcpu: VcpuId) {
    let job = JOBS.get(vcpu.0 as usize).map_or(0, |job| job.load(Ordering::Acquire));
    let Ok(xen) = detect() else { panic!("vCPU {vcpu} does not find Xen") };
    if job != 0 {
        // SAFETY: only `start` writes there, and what it writes is a function of this type.
        let main: fn(&Guest) = unsafe { core::mem::transmute(job) };
        main(&Guest { xen });
    }
}
