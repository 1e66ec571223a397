//! Two vCPUs that interrupt each other: shows the memory map, starts the second vCPU, and has each
//! send the other an event, which comes as an upcall.
#![no_std]
#![no_main]

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest::x86_64::{descriptors, interrupts, vcpus};
use guest::{Boot, During, Failure, Page, memory_map, println};
use xen_hal::Xen;
use xen_hal::event::{ScanCursor, Port, PortSet, Drain, TwoLevel};
use xen_hal::hypercall::{Errno, Hypercall, detect};
use xen_hal::platform::{IdentityMap, VcpuId};
use xen_pac::hvm::CallbackVia;
use xen_pac::shared_info::SharedInfo;

guest::main!(run);

static SHARED_INFO: Page = Page::new();
const UPCALL_VECTOR: u8 = 0xf3;
/// How many events each vCPU sends the other.
const ROUNDS: u32 = 100;

/// How many upcalls came, on both vCPUs together.
static UPCALLS: AtomicU32 = AtomicU32::new(0);
/// What the first and the second vCPU have for themselves.
static DESKS: [Desk; 2] = [const {
    Desk {
        port: AtomicU32::new(0),
        own: PortSet::new(),
        cursor: ScanCursor::new(),
        arrived: AtomicU32::new(0),
    }
}; 2];
/// Whether the second vCPU has seen all of its events.
static SECOND_DONE: AtomicBool = AtomicBool::new(false);

/// What a vCPU has for itself.
struct Desk {
    /// The event channel that reaches it; 0 before there is one.
    port: AtomicU32,
    /// The ports whose events it handles.
    own: PortSet,
    cursor: ScanCursor,
    /// How many events arrived.
    arrived: AtomicU32,
}

fn run(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    memory_map::each_range(&boot.xen, |range| {
        println!("{:#011x} to {:#011x}: {}", range.start, range.start + range.length, range.kind)
    })
    .during("asking for the memory map")?;
    let via = CallbackVia::vector(UPCALL_VECTOR)
        .map_err(|_| Failure::new("setting the callback", "the vector is none"))?;
    let latch = xen
        .hvm()
        .set_callback_via(via)
        .map_err(|_| Failure::new("setting the callback", "Xen refuses the vector"))?;
    // SAFETY: this runtime maps memory to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: nothing is kept in the page, which stays mapped and is touched by handles only.
    unsafe { xen.memory().map_shared_info(&space, SHARED_INFO.as_ptr(), latch) }
        .map_err(|_| Failure::new("mapping shared_info", "Xen refuses the page"))?;
    // SAFETY: interrupts are off, and the other vCPU does not run yet.
    unsafe { interrupts::on_upcall(UPCALL_VECTOR, upcall) };
    for (vcpu, desk) in (0..).map(VcpuId).zip(&DESKS) {
        let port = xen.events().bind_ipi(vcpu).during("binding an event channel")?.into_port();
        desk.own.insert(port);
        desk.port.store(port.0, Ordering::Release);
    }
    vcpus::start(&boot.xen, VcpuId(1), second).during("starting the second vCPU")?;
    // SAFETY: the only interrupt that can come is the upcall.
    unsafe { interrupts::enable() };
    ping_pong(&boot.xen, 0).during("sending events")?;
    while !SECOND_DONE.load(Ordering::Acquire) {
        xen.sched().yield_now().during("waiting for the second vCPU")?;
    }
    println!("{ROUNDS} events went each way, by {} upcalls", UPCALLS.load(Ordering::Relaxed));
    Ok(())
}

/// What the second vCPU does.
fn second(vcpu: VcpuId) {
    let Ok(xen) = detect() else { panic!("vCPU {vcpu} does not find Xen") };
    // SAFETY: the only interrupt that can come is the upcall.
    unsafe { interrupts::enable() };
    if let Err(error) = ping_pong(&xen, 1) {
        panic!("vCPU {vcpu} cannot send events: {error}");
    }
    SECOND_DONE.store(true, Ordering::Release);
}

/// Answers each event with one, until enough have arrived; the first vCPU begins. Meanwhile it
/// counts in a vector register as well, to see that upcalls keep those.
fn ping_pong(xen: &impl Hypercall, own: usize) -> Result<(), Errno> {
    let (events, other) =
        (Xen::new(xen).events(), Port(DESKS[1 - own].port.load(Ordering::Acquire)));
    let (mut turns, mut counted) = (0_u64, 0.0_f64);
    for round in 1..=ROUNDS {
        if own == 0 {
            events.send(other)?;
        }
        // SAFETY: the only interrupt that can come is the upcall.
        unsafe {
            interrupts::wait_until(|| {
                turns += 1;
                counted += 1.0;
                DESKS[own].arrived.load(Ordering::Acquire) >= round
            });
        }
        if own == 1 {
            events.send(other)?;
        }
    }
    if counted as u64 == turns { Ok(()) } else { Err(Errno::EILSEQ) }
}

/// Takes the events that are due for the calling vCPU.
fn upcall() {
    UPCALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the page was mapped before interrupts were let in.
    let shared = unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) };
    let own = descriptors::current().0 as usize;
    let (Some(vcpu), Some(desk)) = (shared.vcpu_info(own), DESKS.get(own)) else { return };
    let mut count = |_| {
        desk.arrived.fetch_add(1, Ordering::AcqRel);
        ControlFlow::Continue(())
    };
    while TwoLevel::new(shared).dispatch(vcpu, &desk.own, &desk.cursor, &mut count)
        == Drain::Unfinished
    {}
}
