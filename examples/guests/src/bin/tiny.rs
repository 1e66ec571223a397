//! The smallest useful guest: it prints a line, waits for one timer event, and powers off.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};

use rt::{Boot, Counter, Failure, interrupts, println};

rt::entry!(main);

/// True once the timer has fired.
static FIRED: AtomicBool = AtomicBool::new(false);

fn main(boot: Boot) -> Result<(), Failure> {
    println!("waiting for the timer");
    timer::start(&boot)?;
    interrupts::wait_until(|| FIRED.load(Ordering::Acquire));
    Ok(())
}

/// Xen's timer, whose event comes as an upcall.
#[cfg(not(target_arch = "aarch64"))]
mod timer {
    use super::*;
    use core::time::Duration;
    use rt::{During, Page};
    use xen_hal::Xen;
    use xen_hal::clock::{Clock, PvClock};
    use xen_hal::event::{AllPorts, Drain, TwoLevel};
    use xen_hal::platform::VcpuId;
    use xen_pac::base::Virq;
    use xen_pac::shared_info::SharedInfo;

    static SHARED_INFO: Page = Page::new();

    pub(super) fn start(boot: &Boot) -> Result<(), Failure> {
        const STARTING: &str = "starting the timer";
        let (xen, first) = (Xen::new(&boot.xen), VcpuId(0));
        let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
        rt::on_upcall(upcall);
        // The channel stays open as long as the guest runs, and its port is the only one.
        let _ = xen.events().bind_virq(Virq::TIMER, first).during(STARTING)?.into_port();
        let block = shared.vcpu_info(0).ok_or(Failure::new(STARTING, "vCPU 0 has no block"))?;
        let features = xen.version().features().during(STARTING)?;
        let clock = PvClock::new(features, block.time(), Counter::default())
            .map_err(|_| Failure::new(STARTING, "the clock is not safe in this domain"))?;
        let soon = clock.now() + Duration::from_millis(10);
        xen.vcpu(first).set_singleshot_timer(soon).during(STARTING)
    }

    fn upcall() {
        // SAFETY: the page was mapped before interrupts were turned on, and is touched through
        // handles only.
        let shared = unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) };
        let Some(block) = shared.vcpu_info(0) else { return };
        let fired = |_| {
            FIRED.store(true, Ordering::Release);
        };
        // The timer's is the only port.
        let _: Drain = TwoLevel::new(shared).dispatch(block, AllPorts, fired);
    }
}

/// The virtual timer of the architecture.
#[cfg(target_arch = "aarch64")]
mod timer {
    use super::*;
    use xen_hal::platform::Counter as _;

    pub(super) fn start(_: &Boot) -> Result<(), Failure> {
        interrupts::on_timer(|| FIRED.store(true, Ordering::Release));
        let counter = Counter::default();
        interrupts::timer().set(counter.read() + counter.frequency() / 100);
        Ok(())
    }
}
