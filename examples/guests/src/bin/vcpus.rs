//! Prints the memory map and starts the second vCPU. Then the two vCPUs send each other events.
//!
//! With `soak EVENTS SEED` it sends that many events instead, between the vCPUs and between two
//! channels of the domain, some of them while the port is masked, and compares the counts.
#![no_std]
#![no_main]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use rt::{AnyBackend, Boot, During, Failure, Page, interrupts, println, vcpus};
use xen_hal::Xen;
use xen_hal::event::{Drain, Port, PortSet, TwoLevel};
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{IdentityMap, VcpuId};
use xen_hal::vcpu::Area;
use xen_pac::base::Domid;
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

rt::entry!(main);

static SHARED_INFO: Page = Page::new();
/// The second vCPU's `vcpu_info`, if the shared page has none for it.
static SECOND_INFO: Area<raw::VcpuInfo> = Area::new();
static REGISTERED: AtomicPtr<raw::VcpuInfo> = AtomicPtr::new(ptr::null_mut());
/// How many events each vCPU sends the other.
const ROUNDS: u32 = 100;

/// How many upcalls came, on both vCPUs together.
static UPCALLS: AtomicU32 = AtomicU32::new(0);
/// The state of the first and the second vCPU.
static STATES: [State; 2] =
    [const { State { port: AtomicU32::new(0), own: PortSet::new(), arrived: AtomicU32::new(0) } };
        2];
/// How many events the soak sends; 0 for none.
static SOAK: AtomicU32 = AtomicU32::new(0);
/// True once the second vCPU has seen all of its events.
static SECOND_DONE: AtomicBool = AtomicBool::new(false);

struct State {
    /// The event channel that reaches the vCPU; 0 before there is one.
    port: AtomicU32,
    /// The ports whose events the vCPU handles.
    own: PortSet,
    /// How many events arrived.
    arrived: AtomicU32,
}

fn main(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    boot.each_memory_range(|range| {
        let kind = if range.is_ram { "RAM" } else { "other" };
        println!("{:#011x} to {:#011x}: {kind}", range.start, range.start + range.length);
    })?;
    rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
    rt::on_upcall(upcall);
    #[cfg(not(target_arch = "aarch64"))]
    interrupt_while_off()?;
    for (vcpu, state) in (0..).map(VcpuId).zip(&STATES) {
        let port = xen.events().bind_ipi(vcpu).during("binding an event channel")?.into_port();
        state.own.insert(port);
        state.port.store(port.0, Ordering::Release);
    }
    let mut words = boot.command_line().split(' ').skip_while(|word| *word != "soak").skip(1);
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let (soaked, seed) = (number(), number());
    SOAK.store(soaked, Ordering::Release);
    vcpus::start(&boot.xen, VcpuId(1), second).during("starting the second vCPU")?;
    // The second vCPU may not have begun: it must keep its main function.
    if vcpus::start(&boot.xen, VcpuId(1), |_| panic!("a vCPU runs what was refused"))
        != Err(Errno::EEXIST)
    {
        return Err(Failure::new("starting the second vCPU again", "it is not refused"));
    }
    interrupts::enable();
    if soaked > 0 {
        return soak(&boot.xen, soaked, seed);
    }
    ping_pong(&boot.xen, 0).during("sending events")?;
    while !SECOND_DONE.load(Ordering::Acquire) {
        xen.sched().yield_now().during("waiting for the second vCPU")?;
    }
    println!("{ROUNDS} events went each way, by {} upcalls", UPCALLS.load(Ordering::Relaxed));
    Ok(())
}

/// Expects the runtime to ignore an upcall's interrupt while interrupts are off.
#[cfg(not(target_arch = "aarch64"))]
fn interrupt_while_off() -> Result<(), Failure> {
    // SAFETY: the vector has a handler, which preserves all registers.
    unsafe { core::arch::asm!("int {}", const interrupts::UPCALL_VECTOR) };
    match UPCALLS.load(Ordering::Relaxed) {
        0 => Ok(()),
        _ => Err(Failure::new("interrupting while interrupts are off", "the handler runs")),
    }
}

/// The second vCPU's main function.
fn second(vcpu: VcpuId) {
    let xen = rt::backend();
    if shared().vcpu_info(vcpu.0 as usize).is_none() {
        register(&xen, vcpu);
    }
    interrupts::enable();
    let ended = if SOAK.load(Ordering::Acquire) > 0 { answer(&xen) } else { ping_pong(&xen, 1) };
    if let Err(error) = ended {
        panic!("vCPU {vcpu} cannot send events: {error}");
    }
    SECOND_DONE.store(true, Ordering::Release);
}

/// Registers the calling vCPU's block.
fn register(xen: &AnyBackend, vcpu: VcpuId) {
    let Ok(latch) = WidthLatch::new(xen) else { panic!("the width can be latched") };
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    let registered = Xen::new(xen).vcpu(vcpu).register_vcpu_info(&space, latch, &SECOND_INFO);
    let Ok(block) = registered else { panic!("the block of vCPU {vcpu} can be registered") };
    REGISTERED.store(block.as_ptr().as_ptr(), Ordering::Release);
}

/// Answers each event with one, until all have arrived; the first vCPU begins. Meanwhile it counts
/// in a floating-point register too, if the target has any, to see that upcalls preserve those.
fn ping_pong(xen: &impl Hypercall, own: usize) -> Result<(), Errno> {
    let events = Xen::new(xen).events();
    let other = Port(STATES[1 - own].port.load(Ordering::Acquire));
    let (mut turns, mut counted) = (0_u64, 0.0_f64);
    for round in 1..=ROUNDS {
        if own == 0 {
            events.send(other)?;
        }
        interrupts::wait_until(|| {
            turns += 1;
            counted += 1.0;
            STATES[own].arrived.load(Ordering::Acquire) >= round
        });
        if own == 1 {
            events.send(other)?;
        }
    }
    if counted as u64 == turns { Ok(()) } else { Err(Errno::EILSEQ) }
}

/// Sends events, each after the last one has arrived: across to the second vCPU, which answers it,
/// or from one channel of the domain to another.
fn soak(xen: &impl Hypercall, count: u32, mut seed: u32) -> Result<(), Failure> {
    const SOAKING: &str = "soaking";
    let (hal, bitmaps) = (Xen::new(xen), TwoLevel::new(shared()));
    let near = hal.events().alloc_unbound(Domid::SELF).during(SOAKING)?;
    let far = hal.events().bind_interdomain(Domid::SELF, near.port()).during(SOAKING)?;
    let mut expected = STATES.each_ref().map(|state| state.arrived.load(Ordering::Acquire));
    STATES[0].own.insert(far.port());
    // Xen marks a port as pending when it is bound.
    bitmaps.clear(far.port());
    let across = Port(STATES[1].port.load(Ordering::Acquire));
    let mut masked = 0_u32;
    for _ in 0..count {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (is_across, is_masked) = (seed >> 31 == 1, seed >> 29 & 3 == 0);
        let (port, vcpu) = if is_across { (across, 1) } else { (far.port(), 0) };
        if is_masked {
            bitmaps.mask(port);
        }
        if is_across { hal.events().send(port) } else { near.send() }.during(SOAKING)?;
        if is_masked {
            masked += 1;
            if !bitmaps.is_pending(port)
                || STATES[vcpu].arrived.load(Ordering::Acquire) != expected[vcpu]
            {
                return Err(Failure::new(SOAKING, "a masked event arrived"));
            }
            bitmaps.unmask(hal.events(), port, &STATES[0].own).during(SOAKING)?;
        }
        expected[vcpu] += 1;
        // The answer.
        expected[0] += u32::from(is_across);
        let arrived = || STATES.each_ref().map(|state| state.arrived.load(Ordering::Acquire));
        while arrived().iter().zip(&expected).any(|(arrived, expected)| arrived < expected) {
            hal.sched().yield_now().during(SOAKING)?;
        }
        if arrived() != expected {
            return Err(Failure::new(SOAKING, "an event arrived twice"));
        }
    }
    println!(
        "{count} events sent, {masked} of them masked; vCPU 0 took {}, vCPU 1 took {}",
        expected[0], expected[1]
    );
    Ok(())
}

/// Answers each event with one, on the second vCPU. Does not end.
fn answer(xen: &impl Hypercall) -> Result<(), Errno> {
    let (events, other) = (Xen::new(xen).events(), STATES[0].port.load(Ordering::Acquire));
    for round in 1.. {
        interrupts::wait_until(|| STATES[1].arrived.load(Ordering::Acquire) >= round);
        events.send(Port(other))?;
    }
    Ok(())
}

/// Returns the shared page, mapped before interrupts are turned on.
fn shared() -> SharedInfo<'static> {
    // SAFETY: the page was mapped, and is touched through handles only.
    unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) }
}

/// Returns the block of the calling vCPU.
fn block(own: usize) -> Option<VcpuInfo<'static>> {
    shared().vcpu_info(own).or_else(|| {
        let registered = NonNull::new(REGISTERED.load(Ordering::Acquire))?;
        // SAFETY: Xen keeps the block there, and it is touched through handles only.
        Some(unsafe { VcpuInfo::from_ptr(registered) })
    })
}

/// Takes the events that are pending for the calling vCPU.
fn upcall() {
    UPCALLS.fetch_add(1, Ordering::Relaxed);
    let own = vcpus::current().0 as usize;
    let (Some(block), Some(state)) = (block(own), STATES.get(own)) else { return };
    let count = |_| _ = state.arrived.fetch_add(1, Ordering::AcqRel);
    // Bounded: on Arm, Xen raises no interrupt again for events that are left.
    for _ in 0..16 {
        if TwoLevel::new(shared()).dispatch(block, &state.own, count) == Drain::Finished {
            break;
        }
    }
}
