//! A kernel's tick: the handler of the timer event counts it and sets the timer again, while the
//! idle loop sleeps.

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use support::{Problem, shared_page, show};
use xen_hal::Xen;
use xen_hal::clock::{Clock, PvClock, SystemTime};
use xen_hal::event::{Dispatcher, Drain};
use xen_hal::platform::VcpuId;
use xen_pac::base::Virq;
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};

const VECTOR: u8 = 0xf3;
const PERIOD: Duration = Duration::from_millis(10);

static TICKS: AtomicU32 = AtomicU32::new(0);
/// The time of the next tick, in nanoseconds.
static DUE: AtomicI64 = AtomicI64::new(0);
static UPCALLS: AtomicU32 = AtomicU32::new(0);
static EVENTS: Dispatcher = Dispatcher::new();

fn main() -> ExitCode {
    show(
        run,
        "a tick every 10 ms, none early and none lost, although upcalls come late and for nothing",
    )
}

fn run(seed: u64) -> Result<(), Problem> {
    let rates = FaultRates { spurious_upcalls: 2, late_upcalls: 2, ..FaultRates::new() };
    let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
    machine.domain(DomainConfig::new(), kernel)?;
    machine.run()?;
    Ok(())
}

fn kernel(guest: Guest) -> Result<(), Problem> {
    let (xen, me) = (Xen::new(guest.xen()), VcpuId(0));
    let latch = xen.hvm().set_callback_via(CallbackVia::vector(VECTOR)?)?;
    let shared = shared_page(guest, latch)?;
    let info = shared.vcpu_info(0).ok_or("vCPU 0 has its block in the shared page")?;
    let clock = PvClock::new(xen.version().features()?, info.time(), guest.counter())?;
    EVENTS.attach(shared);
    let tick = EVENTS.listen(xen.events().bind_virq(Virq::TIMER, me)?, me)?;
    let port = tick.port();

    guest.on_interrupt(VECTOR, move || {
        UPCALLS.fetch_add(1, Ordering::Relaxed);
        let handler = |event| {
            // Based on the last due time, so delays do not add up.
            let due = SystemTime::from_nanos(DUE.load(Ordering::Relaxed));
            assert!(event == port && clock.now() >= due, "the timer fires when it is due");
            let next = due + PERIOD;
            DUE.store(next.as_nanos(), Ordering::Relaxed);
            TICKS.fetch_add(1, Ordering::Relaxed);
            xen.vcpu(me).set_singleshot_timer(next).expect("a vCPU may set its own timer");
        };
        let _: Drain = EVENTS.dispatch(me, handler);
    });
    guest.enable_interrupts();

    let first = clock.now() + PERIOD;
    DUE.store(first.as_nanos(), Ordering::Relaxed);
    xen.vcpu(me).set_singleshot_timer(first)?;
    for count in 1..=5 {
        let due = SystemTime::from_nanos(DUE.load(Ordering::Relaxed));
        // Not `while ... { block() }`: the tick can arrive between the check and the hypercall.
        xen.sched()
            .wait_until(&guest.interrupts(), &[port], || TICKS.load(Ordering::Relaxed) >= count)?;
        let late = clock.now() - due;
        println!(
            "tick {count} was due at {} us, and was seen {} ns later",
            due.as_nanos() / 1000,
            late.as_nanos()
        );
        assert!(late < PERIOD, "a tick was lost");
    }
    xen.vcpu(me).stop_singleshot_timer()?;
    println!(
        "{} upcalls for {} ticks",
        UPCALLS.load(Ordering::Relaxed),
        TICKS.load(Ordering::Relaxed)
    );
    Ok(())
}
