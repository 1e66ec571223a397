//! The features that connect the HAL with other crates.
#![cfg(target_os = "linux")]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use embedded_hal::delay::DelayNs;
use xen_hal::clock::{Clock, PvClock};
use xen_hal::event::Port;
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{CurrentVcpu, Interrupts, ReentrantLock, VcpuId};
use xen_hal::prelude::{Errno, Error, Xen};
use xen_hal::sched::Delay;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile, Report, for_each_seed};

type Anything = Box<dyn std::error::Error>;

struct Current(Guest);

// SAFETY: the simulator answers for the vCPU that calls.
unsafe impl CurrentVcpu for Current {
    fn current_vcpu(&self) -> VcpuId {
        self.0.vcpu()
    }
}

/// A counter that only a lock protects: each increment has a preemption between load and store.
#[derive(Default)]
struct Counter {
    lock: ReentrantLock,
    value: UnsafeCell<u32>,
}

// SAFETY: all vCPUs of a machine run on one thread.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

impl Counter {
    fn increment(&self, guest: Guest) {
        let interrupts = guest.interrupts();
        let outer = self.lock.acquire(&interrupts, &Current(guest));
        let inner = self.lock.acquire(&interrupts, &Current(guest));
        // SAFETY: all vCPUs of a machine run on one thread.
        let value = unsafe { *self.value.get() };
        Guest::preemption_point();
        // SAFETY: as above.
        unsafe { *self.value.get() = value + 1 };
        // SAFETY: `inner` was acquired last, on this vCPU.
        unsafe { self.lock.release(&interrupts, inner) };
        assert!(!interrupts.disable(), "the outer section keeps interrupts off");
        // SAFETY: `outer` was acquired on this vCPU.
        unsafe { self.lock.release(&interrupts, outer) };
    }
}

const ROUNDS: u32 = 20;

#[test]
fn the_lock_of_critical_sections_excludes_other_vcpus() {
    for_each_seed(50, |seed| {
        let rates = FaultRates { preempt_hypercalls: 2, ..FaultRates::new() };
        let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
        machine.domain(DomainConfig::new().vcpus(2), |guest: Guest| -> Result<(), Errno> {
            let counter = Arc::new(Counter::default());
            let shared = Arc::clone(&counter);
            guest.start(VcpuId(1), move |guest: Guest| {
                (0..ROUNDS).for_each(|_| shared.increment(guest));
                guest.publish("done", 1);
            })?;
            guest.enable_interrupts();
            (0..ROUNDS).for_each(|_| counter.increment(guest));
            assert!(guest.interrupts().disable(), "the last release turned interrupts on");
            guest.wait_for_key("done");
            // SAFETY: the other vCPU has ended.
            assert_eq!(unsafe { *counter.value.get() }, 2 * ROUNDS);
            Ok(())
        })?;
        Ok::<Report, Anything>(machine.run()?)
    });
}

#[test]
fn a_delay_sleeps_and_lasts_as_long_as_asked() {
    for_each_seed(20, |seed| {
        let rates = FaultRates { spurious_upcalls: 2, ..FaultRates::new() };
        let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(rates);
        machine.domain(DomainConfig::new(), |guest: Guest| -> Result<(), Anything> {
            let (xen, latch) = (Xen::new(guest.xen()), WidthLatch::new(guest.xen())?);
            // SAFETY: nothing else uses the page, and it exists as long as this program runs.
            let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
            let info = shared.vcpu_info(0).ok_or("vCPU 0 has its block in the shared page")?;
            let clock = PvClock::new(xen.version().features()?, info.time(), guest.counter())?;
            let mut delay = Delay::new(xen.sched(), &clock);
            for (run, expected) in [
                ((|delay| delay.delay_ns(500)) as fn(&mut Delay<_, _>), Duration::from_nanos(500)),
                (|delay| delay.delay_us(300), Duration::from_micros(300)),
                (|delay| delay.delay_ms(40), Duration::from_millis(40)),
            ] {
                let (start, calls) = (clock.now(), guest.hypercalls());
                run(&mut delay);
                let took = clock.now() - start;
                assert!(took >= expected, "{took:?} of {expected:?}");
                assert!(guest.hypercalls() - calls < 100, "it sleeps rather than spins");
            }
            Ok(())
        })?;
        Ok::<Report, Anything>(machine.run()?)
    });
}

/// Collects what `defmt` writes.
#[defmt::global_logger]
struct Logger;

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

// SAFETY: this test program logs from one test.
unsafe impl defmt::Logger for Logger {
    fn acquire() {}

    unsafe fn flush() {}

    unsafe fn release() {}

    unsafe fn write(bytes: &[u8]) {
        WRITTEN.lock().unwrap().extend_from_slice(bytes);
    }
}

defmt::timestamp!("{=u8}", 0);

#[test]
fn errors_and_values_are_logged_by_defmt() {
    defmt::error!("{} {}", Error::from(Errno::EPERM), Port(7));
    let written = WRITTEN.lock().unwrap();
    let text = String::from_utf8_lossy(&written);
    for expected in ["Xen refused the hypercall: EPERM", "Port(7)"] {
        assert!(text.contains(expected), "{text:?}");
    }
}
