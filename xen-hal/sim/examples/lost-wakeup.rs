//! A lost wakeup: the simulator finds it by trying seeds, and replays it. Then the same program
//! waits correctly, and every seed passes.
//!
//! To replay a failure, pass its seed as the first argument.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xen_hal::Xen;
use xen_hal::clock::SystemTime;
use xen_hal::event::{AllPorts, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_pac::base::Virq;
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainConfig, Failure, Guest, Machine, Profile, Report};

const VECTOR: u8 = 0xf3;
const SEEDS: u64 = 1000;

/// How the program waits until the timer's handler has set the flag.
type Wait = fn(Guest, &AtomicBool) -> Result<(), Errno>;

/// Loses the wakeup if the timer fires between the check and the hypercall.
fn check_then_block(guest: Guest, fired: &AtomicBool) -> Result<(), Errno> {
    while !fired.load(Ordering::Relaxed) {
        Xen::new(guest.xen()).sched().block()?;
    }
    Ok(())
}

/// Checks with interrupts off, and enables them and sleeps in one step.
fn wait_until(guest: Guest, fired: &AtomicBool) -> Result<(), Errno> {
    guest.interrupts().wait_until(|| fired.load(Ordering::Relaxed));
    Ok(())
}

/// Sleeps ten times, for up to five microseconds each.
fn kernel(guest: Guest, wait: Wait) -> Result<(), Box<dyn Error>> {
    let xen = Xen::new(guest.xen());
    let latch = xen.hvm().set_callback_via(CallbackVia::vector(VECTOR)?)?;
    // SAFETY: nothing else uses page 0, which exists as long as the machine runs.
    let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
    let info = shared.vcpu_info(0).ok_or("vCPU 0 has its block in the shared page")?;
    let fired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&fired);
    guest.on_interrupt(VECTOR, move || {
        let _ = TwoLevel::new(shared).dispatch(info, AllPorts, |_| {
            flag.store(true, Ordering::Relaxed);
        });
    });
    guest.enable_interrupts();
    let _timer = xen.events().bind_virq(Virq::TIMER, VcpuId(0))?;
    for _ in 0..10 {
        fired.store(false, Ordering::Relaxed);
        let moment = guest.now() + Duration::from_nanos(guest.random() % 5000);
        xen.vcpu(VcpuId(0)).set_singleshot_timer(SystemTime::default() + moment)?;
        wait(guest, &fired)?;
    }
    Ok(())
}

fn run(seed: u64, wait: Wait) -> Result<Report, Failure> {
    let mut machine = Machine::new(Profile::DOMU, seed).expect("there is memory for a machine");
    let program = move |guest| kernel(guest, wait);
    machine.domain(DomainConfig::new(), program).expect("there is memory for a domain");
    machine.run()
}

fn main() -> ExitCode {
    let seeds = match std::env::args().nth(1) {
        None => 0..=SEEDS - 1,
        Some(word) => match word.parse::<u64>() {
            Ok(seed) => seed..=seed,
            Err(_) => {
                eprintln!("error: expected a seed, found `{word}`");
                return ExitCode::FAILURE;
            }
        },
    };
    println!("checks a flag, then blocks: trying seeds {seeds:?}");
    let Some(failure) = seeds.clone().find_map(|seed| run(seed, check_then_block).err()) else {
        println!("no wakeup was lost");
        return ExitCode::SUCCESS;
    };
    println!("found:    {failure}");
    let again = run(failure.seed, check_then_block).err();
    println!("replayed: {}", again.as_ref().map_or("no failure".into(), Failure::to_string));
    println!("replay it yourself: cargo run -p xen-sim --example lost-wakeup {}", failure.seed);

    println!("waits with interrupts off: trying seeds {:?}", 0..=SEEDS - 1);
    let fixed = (0..SEEDS).find_map(|seed| run(seed, wait_until).err());
    println!("{}", fixed.as_ref().map_or("no wakeup was lost".into(), Failure::to_string));
    if again == Some(failure) && fixed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
