//! Runs the scenario that the command line names, and prints its transcript, each line after a bar.
#![no_std]
#![no_main]

use core::fmt;
use core::mem;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use conformance::{Failure, Machine, PAGES, VCPUS, World, random};
use rt::{AnyBackend, Boot, LocalInterrupts, Page, interrupts, println, vcpus};
use xen_hal::hypercall::Errno;
use xen_hal::platform::{IdentityMap, VcpuId};
use xen_pac::base::Domid;
use xen_pac::hvm::CallbackVia;

rt::entry!(main);

static WORLD: World = World::new();
static MEMORY: [Page; PAGES] = [const { Page::new() }; PAGES];
/// How many lines were written, which the reader of the console compares with what it got.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
/// What each secondary vCPU runs, a `fn(&Guest)`; 0 for nothing.
static MAINS: [AtomicUsize; VCPUS] = [const { AtomicUsize::new(0) }; VCPUS];

/// This domain.
struct Guest {
    xen: AnyBackend,
}

fn main(boot: Boot) -> Result<(), Failure> {
    let name = boot.command_line().split(' ').next_back().unwrap_or_default();
    rt::on_upcall(|| WORLD.upcall(vcpus::current()));
    #[cfg(not(target_arch = "aarch64"))]
    interrupts::on_own_upcall(|| WORLD.own_upcall(vcpus::current()));
    let guest = Guest { xen: boot.xen };
    let plan = boot.command_line().split_once("random ");
    if let Some(program) = plan.and_then(|(_, plan)| plan.strip_prefix("serve=")) {
        let program = program.parse().map_err(|_| Failure::Broken("a domain has a number"))?;
        random::offer(&guest, Domid(program))?;
        return random::await_end(&guest, Domid(program));
    }
    match plan {
        Some((_, plan)) => random::run(&guest, random::Plan::parse(plan))?,
        None => conformance::run(name, &guest)?,
    }
    println!("guest: lines written: {}", WRITTEN.load(Ordering::Relaxed));
    Ok(())
}

// SAFETY: the pages are static and used by the scenario alone; memory is mapped to itself.
unsafe impl Machine for Guest {
    type Xen = AnyBackend;
    type Space = IdentityMap;
    type Counter = rt::Counter;
    type Interrupts = LocalInterrupts;

    fn xen(&self) -> AnyBackend {
        self.xen
    }

    fn space(&self) -> IdentityMap {
        // SAFETY: the runtime's memory is mapped to itself.
        unsafe { IdentityMap::new() }
    }

    fn counter(&self) -> rt::Counter {
        rt::Counter::default()
    }

    fn interrupts(&self) -> LocalInterrupts {
        LocalInterrupts
    }

    fn world(&self) -> &'static World {
        &WORLD
    }

    fn page(&self, index: usize) -> NonNull<u8> {
        MEMORY[index].as_ptr()
    }

    fn callback(&self) -> Option<CallbackVia> {
        interrupts::callback_via()
    }

    #[cfg(not(target_arch = "aarch64"))]
    fn own_upcalls(&self) -> Option<u8> {
        rt::x86::local_apic::enable();
        Some(interrupts::OWN_UPCALL_VECTOR)
    }

    #[cfg(target_arch = "aarch64")]
    fn own_upcalls(&self) -> Option<u8> {
        None
    }

    #[cfg(not(target_arch = "aarch64"))]
    fn own_upcalls_are_announced(&self) -> bool {
        xen_hal::hvm::upcall_vector_is_announced()
    }

    #[cfg(target_arch = "aarch64")]
    fn own_upcalls_are_announced(&self) -> bool {
        false
    }

    fn current(&self) -> VcpuId {
        vcpus::current()
    }

    fn enable_interrupts(&self) {
        interrupts::enable();
    }

    fn wait_until(&self, done: impl FnMut() -> bool) {
        interrupts::wait_until(done);
    }

    fn relax(&self) {
        // On one processor, a vCPU that spins keeps the other from running until its time is up.
        let _ = xen_hal::sched::Sched::new(self.xen).yield_now();
    }

    fn start(&self, vcpu: VcpuId, main: fn(&Self)) -> Result<(), Errno> {
        MAINS.get(vcpu.0 as usize).ok_or(Errno::ENOENT)?.store(main as usize, Ordering::Release);
        vcpus::start(&self.xen, vcpu, secondary)
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        WRITTEN.fetch_add(1, Ordering::Relaxed);
        println!("| {line}");
    }
}

/// A secondary vCPU's main function.
fn secondary(vcpu: VcpuId) {
    let main = MAINS.get(vcpu.0 as usize).map_or(0, |main| main.load(Ordering::Acquire));
    if main != 0 {
        // SAFETY: only `start` stores there, and what it stores is a function of this type.
        let main: fn(&Guest) = unsafe { mem::transmute(main) };
        main(&Guest { xen: rt::backend() });
    }
}
