//! Xen's system time, in which deadlines of hypercalls are.

use rt::{AnyBackend, Counter};
use xen_hal::{Error, Xen};
use xen_pac::shared_info::VcpuInfo;

/// x86: Xen describes the time in each vCPU's block.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) fn open<'a>(
    xen: &AnyBackend,
    info: VcpuInfo<'a>,
) -> Result<xen_hal::clock::PvClock<'a, Counter>, Error> {
    let features = Xen::new(xen).version().features()?;
    Ok(xen_hal::clock::PvClock::new(features, info.time(), Counter::default())?)
}

/// aarch64: measures how far Xen's time is ahead of the counter. Interrupts must be off, and no
/// event may be pending.
#[cfg(target_arch = "aarch64")]
pub(crate) fn open(
    xen: &AnyBackend,
    _: VcpuInfo<'_>,
) -> Result<xen_hal::clock::CounterClock<Counter>, Error> {
    use core::time::Duration;
    use xen_hal::clock::{CounterClock, TimeOffset};
    use xen_hal::hypercall::Errno;
    use xen_hal::memory::WidthLatch;
    use xen_hal::platform::{Counter as _, VcpuId};
    use xen_hal::vcpu::Area;
    use xen_pac::vcpu::raw::VcpuRunstateInfo;
    static TIMES: Area<VcpuRunstateInfo> = Area::new();
    /// How often the vCPU sleeps.
    const SAMPLES: u32 = 4;

    let xen = Xen::new(xen);
    let latch = WidthLatch::new(xen.hypercall())?;
    // SAFETY: all memory is mapped to itself for ever.
    let times = unsafe { xen.vcpu(VcpuId(0)).register_runstate(latch, &TIMES) }?;
    let (counter, rate) = (Counter::default(), Counter::default().frequency());
    let (mut offset, mut samples) = (TimeOffset::UNKNOWN, 0);
    let mut ahead = Duration::from_micros(10);
    while samples < SAMPLES {
        let (last, before) = (times.read_own().since, counter.read());
        xen.sched().poll(&[], Some(last + ahead))?;
        let (entry, after) = (times.read_own().since, counter.read());
        if entry == last {
            // The deadline had passed, so the vCPU did not sleep.
            ahead *= 2;
            if ahead > Duration::from_secs(10) {
                return Err(Errno::EAGAIN.into());
            }
            continue;
        }
        offset = offset.narrow(rate, before, entry, after);
        samples += 1;
    }
    CounterClock::new(counter, rate, offset).ok_or(Error::from(Errno::ENODEV))
}
