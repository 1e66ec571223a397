//! Implements the time source of x86 with each vCPU's time block and singleshot timer.

use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_pac::base::Virq;

use super::{Alarms, TimeSource};
use crate::clock::{Clock, Instant, Monotonic, PvClock};
use crate::event::{Dispatcher, EventError, Port};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::{Counter, CurrentVcpu, VcpuId};
use crate::{Error, Xen};

/// The time source of x86: each vCPU's time block and singleshot timer.
///
/// It finds the time blocks in the dispatcher. See the [module](super) for an example.
pub struct PvTimer<H, V, C, const VCPUS: usize> {
    xen: Xen<H>,
    events: &'static Dispatcher<VCPUS>,
    vcpus: V,
    counter: C,
    line: Monotonic,
    alarms: Alarms,
    /// The port of each vCPU's timer; 0 until it is started. Port 0 does not exist.
    ports: [AtomicU32; VCPUS],
}

impl<H, V, C, const VCPUS: usize> PvTimer<H, V, C, VCPUS>
where
    H: Hypercall + Copy,
    V: CurrentVcpu,
    C: Counter,
{
    /// Creates the source for the vCPUs of a dispatcher. On a vCPU, the time is 0 until
    /// [`start`](Self::start).
    pub const fn new(xen: H, events: &'static Dispatcher<VCPUS>, vcpus: V, counter: C) -> Self {
        Self {
            xen: Xen::new(xen),
            events,
            vcpus,
            counter,
            line: Monotonic::new(),
            alarms: Alarms::new(),
            ports: [const { AtomicU32::new(0) }; VCPUS],
        }
    }

    /// Starts the timer of `vcpu`, the calling one: binds its interrupt and listens to it for ever.
    /// After a restore, which closed the port, call it again.
    ///
    /// # Errors
    ///
    /// [`Error::Clock`] if the domain's TSC does not match the time block; [`Error::Event`],
    /// [`Error::Errno`].
    pub fn start(&self, vcpu: VcpuId) -> Result<(), Error> {
        let port = self.ports.get(vcpu.0 as usize).ok_or(EventError::NoSuchVcpu(vcpu))?;
        let block = self.events.vcpu_info(vcpu).ok_or(EventError::NoSuchVcpu(vcpu))?;
        PvClock::new(self.xen.version().features()?, block.time(), &self.counter)?;
        let channel = self.xen.events().bind_virq(Virq::TIMER, vcpu)?;
        port.store(channel.port().0, Ordering::Release);
        let listener = self.events.listen(channel, vcpu).map_err(|error| {
            port.store(0, Ordering::Release);
            error.error
        })?;
        // This source owns the listener for ever.
        mem::forget(listener);
        // A restore cleared the timers, so set them again.
        self.alarms.check(self);
        Ok(())
    }

    /// Handles an event of the calling vCPU's timer. Returns false for another port. Call it in the
    /// dispatcher's handler.
    #[inline]
    pub fn on_event(&self, port: Port) -> bool {
        let mine = self.ports.get(self.vcpus.current_vcpu().0 as usize);
        let is_timer = mine.is_some_and(|mine| mine.load(Ordering::Relaxed) == port.0);
        if is_timer {
            self.alarms.check(self);
        }
        is_timer
    }

    /// Returns the domain's time line: for [`suspend`](crate::suspend), and to convert Embassy's
    /// times.
    pub const fn line(&self) -> &Monotonic {
        &self.line
    }
}

impl<H, V, C, const VCPUS: usize> TimeSource for PvTimer<H, V, C, VCPUS>
where
    H: Hypercall + Copy,
    V: CurrentVcpu,
    C: Counter,
{
    fn now(&self) -> Instant {
        let vcpu = self.vcpus.current_vcpu();
        let started = self.ports.get(vcpu.0 as usize);
        let started = started.is_some_and(|port| port.load(Ordering::Acquire) != 0);
        match self.events.vcpu_info(vcpu) {
            // `start` has checked the features.
            Some(info) if started => {
                PvClock::of_checked(info.time(), &self.counter).instant(&self.line)
            }
            _ => Instant::default(),
        }
    }

    fn set_timer(&self, at: Instant) -> Result<(), Errno> {
        self.xen.vcpu(self.vcpus.current_vcpu()).set_singleshot_timer(self.line.system_time(at))
    }

    fn alarms(&self) -> &Alarms {
        &self.alarms
    }
}

impl<H, V, C, const VCPUS: usize> fmt::Debug for PvTimer<H, V, C, VCPUS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PvTimer").field("line", &self.line).finish_non_exhaustive()
    }
}
