//! A small kernel for x86: prints, takes an event, and ticks. The porting guide explains it.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use core::time::Duration;

use rt::{Boot, Counter, During, Failure, Page, interrupts, println};
use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime};
use xen_hal::event::{Dispatcher, Drain, Port};
use xen_hal::platform::VcpuId;
use xen_pac::base::Virq;

rt::entry!(main);

const VCPU: VcpuId = VcpuId(0);

fn main(boot: Boot) -> Result<(), Failure> {
    let xen = Xen::new(&boot.xen);
    let release = xen.version().release().during("asking for the version")?;
    println!("hello from Xen {release}, reached by {:?}", boot.xen);

    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;

    EVENTS.attach(shared);
    rt::on_upcall(upcall);
    interrupts::enable();

    let bell = xen.events().bind_ipi(VCPU).during("creating a channel")?;
    let bell = EVENTS.listen(bell, VCPU).map_err(|_| REFUSED)?;
    bell.send().during("sending an event")?;
    interrupts::wait_until(|| RINGS.load(Ordering::Acquire) == 1);
    println!("an event arrived at port {}", bell.port());

    let features = xen.version().features().during("asking for the features")?;
    let block = shared.vcpu_info(0).ok_or(Failure::new("the clock", "vCPU 0 has no block"))?;
    let clock = PvClock::new(features, block.time(), Counter::default())
        .map_err(|_| Failure::new("the clock", "it is not safe in this domain"))?;

    let timer = xen.events().bind_virq(Virq::TIMER, VCPU).during("creating the timer")?;
    let timer = EVENTS.listen(timer, VCPU).map_err(|_| REFUSED)?;
    TIMER.store(timer.port().0, Ordering::Release);
    let first = clock.now() + PERIOD;
    DUE.store(first.as_nanos(), Ordering::Release);
    xen.vcpu(VCPU).set_singleshot_timer(first).during("setting the timer")?;

    for count in 1..=5 {
        interrupts::wait_until(|| TICKS.load(Ordering::Acquire) >= count);
        let due = first + PERIOD * (count - 1);
        println!("tick {count}, {} us late", (clock.now() - due).as_micros());
    }
    Ok(())
}

/// The page in whose place Xen's shared page is mapped.
static SHARED_INFO: Page = Page::new();

static EVENTS: Dispatcher = Dispatcher::new();
const REFUSED: Failure = Failure::new("listening to a channel", "the dispatcher refuses it");
/// How often the bell has rung.
static RINGS: AtomicU32 = AtomicU32::new(0);

/// Handles the upcall: takes the events that are pending for vCPU 0.
fn upcall() {
    let _: Drain = EVENTS.dispatch(VCPU, |port: Port| {
        if port.0 == TIMER.load(Ordering::Acquire) {
            tick();
        } else {
            RINGS.fetch_add(1, Ordering::Release);
        }
    });
}

const PERIOD: Duration = Duration::from_millis(10);
/// The timer's port; 0, which is no port, before it exists.
static TIMER: AtomicU32 = AtomicU32::new(0);
/// When the next tick is due, in nanoseconds.
static DUE: AtomicI64 = AtomicI64::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);

/// Counts a tick, and sets the timer for the next.
fn tick() {
    let next = SystemTime::from_nanos(DUE.load(Ordering::Relaxed)) + PERIOD;
    DUE.store(next.as_nanos(), Ordering::Relaxed);
    TICKS.fetch_add(1, Ordering::Release);
    if let Err(error) = Xen::new(rt::backend()).vcpu(VCPU).set_singleshot_timer(next) {
        panic!("expected a timer, found {error}");
    }
}
