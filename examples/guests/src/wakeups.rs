//! What wakes Embassy's tasks: Xen's timer on x86, the virtual timer on aarch64, and upcalls.

use embassy_demo::{EVENTS, WAKERS};
use rt::vcpus;
use xen_hal::embassy::set_time_source;
use xen_hal::event::Drain;
use xen_hal::platform::VcpuId;

pub(crate) use timer::start;

/// Sets the time source and the handler of upcalls.
pub(crate) fn install() {
    rt::on_upcall(upcall);
    timer::install();
}

/// Handles an upcall to the calling vCPU.
pub(crate) fn upcall() {
    embassy_demo::count_upcall();
    // Bounded: on Arm, Xen raises no interrupt again for events that are left.
    for _ in 0..16 {
        let drain = EVENTS.dispatch(vcpus::current(), |port| {
            if !timer::on_event(port) {
                WAKERS.wake(port);
            }
        });
        if drain == Drain::Finished {
            break;
        }
    }
}

/// x86: Xen's timer.
#[cfg(not(target_arch = "aarch64"))]
mod timer {
    use embassy_demo::VCPUS;
    use rt::Counter;
    use xen_hal::embassy::PvTimer;
    use xen_hal::event::Port;
    use xen_hal::hypercall::{Installed, installed};

    use super::*;

    type Timer = PvTimer<Installed, vcpus::Current, Counter, VCPUS>;
    static TIMER: Timer =
        PvTimer::new(installed(), &EVENTS, vcpus::Current, xen_hal::platform::Tsc);

    pub(super) fn install() {
        set_time_source(|| Some(&TIMER));
    }

    /// Starts the timer of the calling vCPU.
    pub(crate) fn start(vcpu: VcpuId) -> Result<(), xen_hal::Error> {
        TIMER.start(vcpu)
    }

    pub(super) fn on_event(port: Port) -> bool {
        TIMER.on_event(port)
    }
}

/// aarch64: the virtual timer.
#[cfg(target_arch = "aarch64")]
mod timer {
    use rt::interrupts;
    use xen_hal::embassy::VirtualTimer;
    use xen_hal::event::Port;

    use super::*;

    static TIMER: VirtualTimer = VirtualTimer::new();

    pub(super) fn install() {
        interrupts::on_timer(|| TIMER.on_interrupt());
        set_time_source(|| Some(&TIMER));
    }

    /// Returns success: the virtual timer needs no channel.
    pub(crate) fn start(_: VcpuId) -> Result<(), xen_hal::Error> {
        Ok(())
    }

    pub(super) fn on_event(_: Port) -> bool {
        false
    }
}
