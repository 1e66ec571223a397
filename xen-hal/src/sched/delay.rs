//! Implements the delays of `embedded-hal`.

use core::hint::spin_loop;
use core::time::Duration;

use embedded_hal::delay::DelayNs;

use super::Sched;
use crate::clock::Clock;
use crate::hypercall::Hypercall;

/// The remaining time from which a delay spins. It is too short for a hypercall and a switch to
/// another vCPU.
const SPIN: Duration = Duration::from_micros(10);

/// Implements `embedded-hal`'s delays over any [`Clock`]. The vCPU sleeps in [`Sched::poll`], and
/// spins for the last few microseconds.
///
/// ```
/// use embedded_hal::delay::DelayNs;
/// use xen_hal::clock::Clock;
/// use xen_hal::hypercall::Hypercall;
/// use xen_hal::sched::{Delay, Sched};
///
/// fn settle(xen: impl Hypercall + Copy, clock: impl Clock) {
///     Delay::new(Sched::new(xen), clock).delay_ms(5);
/// }
/// # xen_sim::storm(xen_sim::Profile::DOMU, 10, |guest| -> Result<(), xen_hal::Error> {
/// #     let latch = xen_hal::memory::WidthLatch::new(guest.xen())?;
/// #     // SAFETY: nothing else uses the page, and the guest outlives its use.
/// #     let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
/// #     let features = xen_hal::version::Version::new(guest.xen()).features()?;
/// #     let time = shared.vcpu_info(0).unwrap().time();
/// #     let clock = xen_hal::clock::PvClock::new(features, time, guest.counter())?;
/// #     let before = clock.now();
/// #     settle(guest.xen(), &clock);
/// #     assert!(clock.now() >= before + core::time::Duration::from_millis(5));
/// #     Ok(())
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Delay<H, C> {
    sched: Sched<H>,
    clock: C,
}

impl<H: Hypercall + Copy, C: Clock> Delay<H, C> {
    /// Creates delays that are measured by `clock`.
    pub const fn new(sched: Sched<H>, clock: C) -> Self {
        Self { sched, clock }
    }

    fn delay(&self, duration: Duration) {
        let deadline = self.clock.now() + duration;
        loop {
            let now = self.clock.now();
            if now >= deadline {
                return;
            }
            // A poll ends early if an event is pending. If Xen refuses it, the loop spins.
            if now + SPIN >= deadline || self.sched.poll(&[], Some(deadline)).is_err() {
                spin_loop();
            }
        }
    }
}

impl<H: Hypercall + Copy, C: Clock> DelayNs for Delay<H, C> {
    fn delay_ns(&mut self, ns: u32) {
        self.delay(Duration::from_nanos(ns.into()));
    }

    fn delay_us(&mut self, us: u32) {
        self.delay(Duration::from_micros(us.into()));
    }

    fn delay_ms(&mut self, ms: u32) {
        self.delay(Duration::from_millis(ms.into()));
    }
}
