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
    use xen_hal::clock::CounterClock;
    use xen_hal::hypercall::Errno;
    use xen_hal::memory::WidthLatch;
    use xen_hal::platform::VcpuId;
    use xen_hal::vcpu::Area;
    use xen_pac::vcpu::raw::VcpuRunstateInfo;
    static TIMES: Area<VcpuRunstateInfo> = Area::new();

    let latch = WidthLatch::new(xen)?;
    // SAFETY: all memory is mapped to itself for ever.
    let times = unsafe { Xen::new(xen).vcpu(VcpuId(0)).register_runstate(latch, &TIMES) }?;
    let (counter, rate) = (Counter::default(), Counter::default().frequency());
    let offset = conformance::time_offset(xen, counter, rate, || times.read_own().since);
    let offset = offset.map_err(|failure| {
        rt::println!("the clock: {failure}");
        Errno::EAGAIN
    })?;
    CounterClock::new(counter, rate, offset).ok_or(Error::from(Errno::ENODEV))
}
