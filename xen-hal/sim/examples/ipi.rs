//! Two vCPUs that interrupt each other. All vCPUs see the same event bitmaps, so each handles only
//! its own ports.

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use support::{Problem, shared_page, show};
use xen_hal::Xen;
use xen_hal::event::{Dispatcher, Drain, Port};
use xen_hal::platform::VcpuId;
use xen_hal::vcpu::LongMode;
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile};

const VECTOR: u8 = 0xf3;
const ROUNDS: u32 = 50;

static EVENTS: Dispatcher<2> = Dispatcher::new();
/// How often each vCPU was interrupted.
static INTERRUPTED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

fn main() -> ExitCode {
    show(run, "two vCPUs, each interrupted once for each event of the other's")
}

fn run(seed: u64) -> Result<(), Problem> {
    // vCPUs are preempted often, also inside the dispatcher.
    let rates = FaultRates { preempt_accesses: 4, ..FaultRates::new() };
    let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
    machine.domain(DomainConfig::new().vcpus(2), first)?;
    let report = machine.run()?;
    println!(
        "{} hypercalls in {} us of the machine's time",
        report.hypercalls,
        report.nanos / 1000
    );
    Ok(())
}

fn first(guest: Guest) -> Result<(), Problem> {
    let xen = Xen::new(guest.xen());
    let latch = xen.hvm().set_callback_via(CallbackVia::vector(VECTOR)?)?;
    let shared = shared_page(guest, latch)?;
    guest.on_interrupt(VECTOR, move || {
        // Both vCPUs use the same handler. A kernel reads the vCPU's number from its per-vCPU data.
        let me = guest.vcpu();
        let _: Drain = EVENTS.dispatch(me, |_| {
            INTERRUPTED[me.0 as usize].fetch_add(1, Ordering::Relaxed);
        });
    });
    EVENTS.attach(shared);

    let to_first = EVENTS.listen(xen.events().bind_ipi(VcpuId(0))?, VcpuId(0))?;
    let to_second = EVENTS.listen(xen.events().bind_ipi(VcpuId(1))?, VcpuId(1))?;
    let ports = [to_first.port(), to_second.port()];

    guest.set_program(VcpuId(1), move |guest| rally(guest, 1, ports));
    // The simulator runs the program of `set_program` and ignores these addresses. On a processor,
    // they would be the kernel's.
    let state = LongMode::new(0x1000, 0x2000, 0x3000);
    // SAFETY: the vCPU runs the program of `set_program`.
    unsafe { xen.vcpu(VcpuId(1)).initialise(&state) }?;
    xen.vcpu(VcpuId(1)).up()?;
    println!("vCPU 0: vCPU 1 is up, port {} is mine and port {} is its own", ports[0], ports[1]);
    rally(guest, 0, ports)?;
    assert_eq!(INTERRUPTED[0].load(Ordering::Relaxed), ROUNDS);
    assert_eq!(INTERRUPTED[1].load(Ordering::Relaxed), ROUNDS);
    Ok(())
}

/// Answers each event with an event to the other vCPU. The first vCPU starts.
fn rally(guest: Guest, me: usize, ports: [Port; 2]) -> Result<(), Problem> {
    let xen = Xen::new(guest.xen());
    guest.enable_interrupts();
    for round in 1..=ROUNDS {
        if me == 0 {
            xen.events().send(ports[1])?;
        }
        xen.sched().wait_until(&guest.interrupts(), &[ports[me]], || {
            INTERRUPTED[me].load(Ordering::Relaxed) >= round
        })?;
        if round % 10 == 0 {
            println!(
                "vCPU {me}: {round} events at port {} at {} us",
                ports[me],
                guest.now().as_micros()
            );
        }
        if me == 1 {
            xen.events().send(ports[0])?;
        }
    }
    Ok(())
}
