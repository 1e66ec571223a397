//! The simulator finds the wakeup that is lost between a look at a flag and the hypercall that
//! blocks, and none where either `wait_until` waits.
#![cfg(target_os = "linux")]

use core::time::Duration;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xen_hal::Xen;
use xen_hal::clock::SystemTime;
use xen_hal::event::{Dispatcher, Drain, Port};
use xen_hal::hypercall::Errno;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_pac::base::Virq;
use xen_pac::hvm::CallbackVia;
use xen_sim::{DomainConfig, Failure, FailureKind, Guest, Machine, Profile, Report};

type Wait = fn(Guest, Port, &AtomicBool) -> Result<(), Errno>;

fn blocks(guest: Guest, _: Port, came: &AtomicBool) -> Result<(), Errno> {
    while !came.load(Ordering::Relaxed) {
        Xen::new(guest.xen()).sched().block()?;
    }
    Ok(())
}

fn sleeps(guest: Guest, _: Port, came: &AtomicBool) -> Result<(), Errno> {
    guest.interrupts().wait_until(|| came.load(Ordering::Relaxed));
    Ok(())
}

fn waits(guest: Guest, port: Port, came: &AtomicBool) -> Result<(), Errno> {
    Xen::new(guest.xen())
        .sched()
        .wait_until(&guest.interrupts(), &[port], || came.load(Ordering::Relaxed))
}

/// Sleeps a few times until a timer's handler sets a flag.
fn sleeper(guest: Guest, wait: Wait) -> Result<(), Box<dyn Error>> {
    let xen = Xen::new(guest.xen());
    let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
    // SAFETY: nothing else uses the page, and it is there as long as this program runs.
    let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
    let (events, came) = (Arc::new(Dispatcher::<1>::new()), Arc::new(AtomicBool::new(false)));
    events.attach(shared);
    let (dispatcher, flag) = (Arc::clone(&events), Arc::clone(&came));
    guest.on_interrupt(0xf3, move || {
        let _: Drain = dispatcher.dispatch(VcpuId(0), |_| flag.store(true, Ordering::Relaxed));
    });
    guest.enable_interrupts();
    let timer = events.listen(xen.events().bind_virq(Virq::TIMER, VcpuId(0))?, VcpuId(0))?;
    for _ in 0..10 {
        came.store(false, Ordering::Relaxed);
        let moment = guest.now() + Duration::from_nanos(guest.random() % 5000);
        xen.vcpu(VcpuId(0)).set_singleshot_timer(SystemTime::default() + moment)?;
        wait(guest, timer.port(), &came)?;
    }
    Ok(())
}

fn run(seed: u64, wait: Wait) -> Result<Report, Failure> {
    let mut machine = Machine::new(Profile::DOM0, seed).expect("there is memory for a machine");
    machine
        .domain(DomainConfig::new(), move |guest| sleeper(guest, wait))
        .expect("there is memory for a domain");
    machine.run()
}

#[test]
fn an_upcall_comes_between_a_look_and_the_hypercall_that_blocks() {
    let failures: Vec<_> = (0..50).filter_map(|seed| run(seed, blocks).err()).collect();
    assert!(
        failures.iter().all(|failure| matches!(failure.kind, FailureKind::Deadlock { .. })),
        "{failures:?}"
    );
    assert!((10..50).contains(&failures.len()), "{} of 50", failures.len());
    let first = &failures[0];
    assert_eq!(run(first.seed, blocks).as_ref(), Err(first), "a seed finds the same again");
}

#[test]
fn nothing_is_lost_by_who_waits_with_interrupts_off() {
    for seed in 0..50 {
        for wait in [waits, sleeps] {
            if let Err(failure) = run(seed, wait) {
                panic!("{failure}");
            }
        }
    }
}
