//! Two vCPUs that interrupt each other: shows the memory map, starts the second vCPU, and has each send the other an event, which comes as an upcall.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest::x86_64::{descriptors, interrupts, vcpus};
use guest::{Boot, During, Failure, Page, memory_map, println};
use xen_hal::hypercall::{Commands, Errno, Hypercall, detect};
use xen_hal::platform::VcpuId;
use xen_pac::base::Domid;
use xen_pac::event_channel::{EvtchnBindIpi, EvtchnSend, command as event};
use xen_pac::hvm::{self, CallbackVia, HvmParam, XenHvmParam};
use xen_pac::memory::{self, MapSpace, XenAddToPhysmap};
use xen_pac::sched::command::YieldCpu;
use xen_pac::shared_info::SharedInfo;

guest::main!(run);

static SHARED_INFO: Page = Page::new();
const UPCALL_VECTOR: u8 = 0xf3;
/// How many events each vCPU sends the other.
const ROUNDS: u32 = 100;

/// How many upcalls came, on both vCPUs together.
static UPCALLS: AtomicU32 = AtomicU32::new(0);
/// The event channels that reach the first and the second vCPU; 0 before there are any.
static PORTS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// How many events arrived through each.
static ARRIVED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// Whether the second vCPU has seen all of its events.
static SECOND_DONE: AtomicBool = AtomicBool::new(false);

fn run(boot: Boot) -> Result<(), Failure> {
    let xen = &boot.xen;
    memory_map::each_range(xen, |range| println!("{:#011x} to {:#011x}: {}", range.start, range.start + range.length, range.kind))
        .during("asking for the memory map")?;
    set_callback(xen).during("setting the callback")?;
    map_shared_info(xen).during("mapping shared_info")?;
    // SAFETY: interrupts are off, and the other vCPU does not run yet.
    unsafe { interrupts::on_upcall(UPCALL_VECTOR, upcall) };
    for (vcpu, port) in (0..).zip(&PORTS) {
        let mut channel = EvtchnBindIpi::new(vcpu);
        xen.argument(event::BindIpi, &mut channel).during("binding an event channel")?;
        port.store(channel.port, Ordering::Release);
    }
    vcpus::start(xen, VcpuId(1), second).during("starting the second vCPU")?;
    // SAFETY: the only interrupt that can come is the upcall.
    unsafe { interrupts::enable() };
    ping_pong(xen, 0).during("sending events")?;
    while !SECOND_DONE.load(Ordering::Acquire) {
        xen.bare(YieldCpu).during("waiting for the second vCPU")?;
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

/// Answers each event with one, until enough have arrived; the first vCPU begins. Meanwhile it counts in a vector register as well, to see that upcalls keep those.
fn ping_pong(xen: &impl Hypercall, own: usize) -> Result<(), Errno> {
    let other = PORTS[1 - own].load(Ordering::Acquire);
    let (mut turns, mut counted) = (0_u64, 0.0_f64);
    for round in 1..=ROUNDS {
        if own == 0 {
            send(xen, other)?;
        }
        // SAFETY: the only interrupt that can come is the upcall.
        unsafe {
            interrupts::wait_until(|| {
                turns += 1;
                counted += 1.0;
                ARRIVED[own].load(Ordering::Acquire) >= round
            });
        }
        if own == 1 {
            send(xen, other)?;
        }
    }
    if counted as u64 == turns { Ok(()) } else { Err(Errno::EILSEQ) }
}

fn send(xen: &impl Hypercall, port: u32) -> Result<(), Errno> {
    xen.argument(event::Send, &mut EvtchnSend::new(port))
}

/// Takes the events that are due: their bits are cleared before they are counted, so that none is lost.
fn upcall() {
    UPCALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the page was mapped before the upcall was asked for.
    let shared = unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) };
    let own = descriptors::current().0 as usize;
    let Some(vcpu) = shared.vcpu_info(own) else { return };
    vcpu.evtchn_upcall_pending().swap(0, Ordering::AcqRel);
    vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel);
    let port = PORTS[own].load(Ordering::Acquire);
    let Some(word) = shared.evtchn_pending((port / u64::BITS) as usize) else { return };
    let bit = 1 << (port % u64::BITS);
    if word.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
        ARRIVED[own].fetch_add(1, Ordering::AcqRel);
    }
}

fn set_callback(xen: &impl Hypercall) -> Result<(), Errno> {
    let via = CallbackVia::vector(UPCALL_VECTOR).map_err(|_| Errno::EINVAL)?;
    let mut parameter = XenHvmParam::new(Domid::SELF, HvmParam::CALLBACK_IRQ, via.encode());
    // SAFETY: the parameter gives Xen no memory, and interrupts are off until there is a handler.
    unsafe { xen.argument_unchecked(hvm::command::SetParam, &mut parameter) }
}

fn map_shared_info(xen: &impl Hypercall) -> Result<(), Errno> {
    let mut request = XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::SHARED_INFO, 0, SHARED_INFO.frame());
    // SAFETY: the frame's own memory is lost, and nothing is in it.
    unsafe { xen.argument_unchecked(memory::command::AddToPhysmap, &mut request) }
}
