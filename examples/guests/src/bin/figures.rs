//! Measures hot paths on real Xen, each beside its twin in C (`c/figures.c`), in turns.
//!
//! The unit is an instruction where the emulator counts instructions (`-icount`): the counter then
//! advances by a fixed number of nanoseconds for each. What Xen executes for the guest is included.
#![no_std]
#![no_main]

use core::ffi::c_void;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rt::{Boot, Counter, Failure, Page, println};
use xen_hal::Xen;
use xen_hal::clock::Clock;
use xen_hal::event::{AllPorts, Channel, Drain, TwoLevel};
use xen_hal::grant::{
    Access, ForeignGrant, Grant, GrantRefAllocator, GrantTable, MapRequest, MapTarget,
    Page as GrantPage,
};
use xen_hal::hypercall::Hypercall;
use xen_hal::memory::Extent;
use xen_hal::platform::{Counter as _, IdentityMap, VcpuId};
use xen_pac::base::Domid;
use xen_pac::hypercall::HypercallNr;
use xen_pac::shared_info::SharedInfo;

rt::entry!(main);

#[cfg(target_arch = "aarch64")]
use xen_hal::hypercall::Hvc as Backend;
#[cfg(not(target_arch = "aarch64"))]
use xen_hal::hypercall::Vmmcall as Backend;

/// The number of this domain: Xen creates it first.
const ME: Domid = Domid(if cfg!(target_arch = "aarch64") { 1 } else { 0 });

/// The turns of each side.
const TURNS: u32 = 4;
/// The operations in a turn.
const COUNT: u32 = 256;

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static LENT: Page = Page::new();
static TARGET: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();

unsafe extern "C" {
    fn c_null(count: u32) -> u64;
    fn c_upcall();
    fn c_events(page: *mut c_void, port: u32, count: u32) -> u64;
    fn c_map(domain: u16, reference: u32, address: u64) -> u64;
    fn c_clock(clock: *const clock::Twin, count: u32, last: *mut i64) -> u64;
}

fn main(boot: Boot) -> Result<(), Failure> {
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
    println!("| path | xen-hal | C, gcc -O2 | ratio |");
    println!("|---|---:|---:|---:|");
    // SAFETY: the function makes hypercalls without an argument.
    row("null hypercall", || Ok(null()), || unsafe { c_null(COUNT) })?;
    events(shared)?;
    grants()?;
    clock::measure(&boot, shared)
}

/// Measures both sides in turns, and prints the averages. `u64::MAX` is an error of the C twin.
fn row(
    name: &str,
    mut ours: impl FnMut() -> Result<u64, Failure>,
    mut theirs: impl FnMut() -> u64,
) -> Result<(), Failure> {
    let mut sums = [0_u64; 2];
    for _ in 0..TURNS {
        sums[0] += ours()?;
        let ticks = theirs();
        if ticks == u64::MAX {
            return Err(Failure::new("measuring the C twin", "Xen refused its hypercall"));
        }
        sums[1] += ticks;
    }
    // Tenths of a unit.
    let [hal, c] = sums.map(|sum| sum * unit() * 10 / u64::from(TURNS * COUNT));
    let ratio = hal * 1000 / c.max(1);
    println!(
        "| {name} | {}.{} | {}.{} | {}.{:03} |",
        hal / 10,
        hal % 10,
        c / 10,
        c % 10,
        ratio / 1000,
        ratio % 1000
    );
    Ok(())
}

/// The number of instructions in a tick under `-icount shift=0`, where each takes a nanosecond.
#[cfg(target_arch = "aarch64")]
fn unit() -> u64 {
    1_000_000_000 / Counter::default().frequency()
}

/// The TSC counts instructions under `-icount shift=0`.
#[cfg(not(target_arch = "aarch64"))]
const fn unit() -> u64 {
    1
}

fn ticks() -> u64 {
    Counter::default().read()
}

#[inline(never)]
fn null() -> u64 {
    let start = ticks();
    for _ in 0..COUNT {
        // SAFETY: the command 0, which returns the version, has no argument.
        black_box(unsafe { Backend.call2(HypercallNr::XEN_VERSION.0, 0, 0) });
    }
    ticks() - start
}

static SENT_AT: AtomicU64 = AtomicU64::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU32 = AtomicU32::new(0);

fn upcall() {
    // SAFETY: the page was mapped before interrupts were turned on, and is touched through handles
    // only.
    let shared = unsafe { SharedInfo::from_ptr(SHARED_INFO.as_ptr()) };
    let Some(block) = shared.vcpu_info(0) else { return };
    let _: Drain = TwoLevel::new(shared).dispatch(block, AllPorts, |_| {
        let waited = ticks() - SENT_AT.load(Ordering::Relaxed);
        WAITED.store(WAITED.load(Ordering::Relaxed) + waited, Ordering::Relaxed);
        HANDLED.store(HANDLED.load(Ordering::Relaxed) + 1, Ordering::Release);
    });
}

fn twin_upcall() {
    // SAFETY: `c_events` has stored the address of the shared page.
    unsafe { c_upcall() }
}

fn events(shared: SharedInfo<'static>) -> Result<(), Failure> {
    const BINDING: Failure = Failure::new("binding a port", "Xen refuses it");
    let channel = Xen::new(Backend).events().bind_ipi(VcpuId(0)).map_err(|_| BINDING)?;
    let bitmaps = TwoLevel::new(shared);
    let port = channel.port();
    bitmaps.clear(port);
    bitmaps.mask(port);
    rt::on_upcall(upcall);
    rt::interrupts::enable();
    let opened = Xen::new(Backend).events().unmask(port);
    opened.map_err(|_| BINDING)?;
    let ours = || {
        rt::on_upcall(upcall);
        send_all(&channel)
    };
    let theirs = || {
        rt::on_upcall(twin_upcall);
        // SAFETY: the page is mapped for ever.
        unsafe { c_events(SHARED_INFO.as_ptr().as_ptr(), port.0, COUNT) }
    };
    row("event, from send to handler", ours, theirs)
}

#[allow(clippy::missing_spin_loop, reason = "the hint would be counted")]
#[inline(never)]
fn send_all(channel: &Channel<Backend>) -> Result<u64, Failure> {
    WAITED.store(0, Ordering::Relaxed);
    HANDLED.store(0, Ordering::Relaxed);
    for number in 0..COUNT {
        SENT_AT.store(ticks(), Ordering::Relaxed);
        channel.send().map_err(|_| Failure::new("sending an event", "Xen refuses it"))?;
        while HANDLED.load(Ordering::Acquire) <= number {}
    }
    Ok(WAITED.load(Ordering::Relaxed))
}

/// Maps a page of the domain itself. On x86, this moves the page away, so the frame gets another
/// page after each mapping, which is not measured.
fn grants() -> Result<(), Failure> {
    const PREPARING: Failure = Failure::new("granting a page", "it is refused");
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: the page is the table's alone.
    let table = unsafe { GrantTable::map(Backend, space, TABLE.as_ptr(), &REFS, 1) };
    let table = table.map_err(|_| PREPARING)?;
    // SAFETY: the page is used through this value only.
    let page = unsafe { GrantPage::from_raw(&space, LENT.as_ptr()) }.map_err(|_| PREPARING)?;
    let grant = table.lend(page, ME, Access::ReadWrite).map_err(|_| PREPARING)?;
    // SAFETY: nothing is in the page.
    unsafe { Xen::new(Backend).memory().decrease_reservation([TARGET.frame()], Extent::PAGE) }
        .map_err(|_| PREPARING)?;
    // SAFETY: the frame is empty, and used through the target, or by the C twin meanwhile.
    let target = unsafe { MapTarget::new(&space, TARGET.as_ptr()) }.map_err(|_| PREPARING)?;
    let mut target = Some(target);
    let ours = || {
        let mut sum = 0;
        for _ in 0..COUNT {
            let (ticks, back) = map(&grant, target.take().ok_or(PREPARING)?)?;
            sum += ticks;
            target = Some(back);
            refill(&grant)?;
        }
        Ok(sum)
    };
    let theirs = || {
        let address = TARGET.frame().address().unwrap_or_default();
        let mut sum = 0;
        for _ in 0..COUNT {
            // SAFETY: the frame is empty, and the page is not used while it is mapped.
            let ticks = unsafe { c_map(ME.0, grant.reference().0, address) };
            if ticks == u64::MAX || refill(&grant).is_err() {
                return u64::MAX;
            }
            sum += ticks;
        }
        sum
    };
    row("grant, map and unmap", ours, theirs)
}

#[inline(never)]
fn map(
    grant: &Grant<'_>,
    target: MapTarget<'static>,
) -> Result<(u64, MapTarget<'static>), Failure> {
    const MAPPING: Failure = Failure::new("mapping a grant", "Xen refuses it");
    let start = ticks();
    let of = ForeignGrant { domain: ME, reference: grant.reference() };
    let request = MapRequest { of, access: Access::ReadWrite, target };
    // SAFETY: the page is not used while it is mapped.
    let mapping = unsafe { Xen::new(Backend).grants().map(request) }.map_err(|_| MAPPING)?;
    let target = mapping.unmap().map_err(|_| MAPPING)?;
    Ok((ticks() - start, target))
}

/// Gives the frame of a grant a page again.
fn refill(grant: &Grant<'_>) -> Result<(), Failure> {
    if cfg!(target_arch = "aarch64") {
        return Ok(());
    }
    // SAFETY: the frame is empty, and the page there is the grant's.
    let filled =
        unsafe { Xen::new(Backend).memory().populate_physmap([grant.frame()], Extent::PAGE) };
    filled.map_err(|_| Failure::new("populating a frame", "Xen refuses it"))
}

#[inline(never)]
fn read_all(clock: &impl Clock) -> u64 {
    let start = ticks();
    for _ in 0..COUNT {
        black_box(clock.now());
    }
    ticks() - start
}

/// Measures a clock and its twin. Both must read the same time.
fn clocks(ours: &impl Clock, twin: &clock::Twin) -> Result<(), Failure> {
    let mut last = 0;
    let measured = row(
        "clock reading",
        || Ok(read_all(ours)),
        // SAFETY: the block is mapped for ever.
        || unsafe { c_clock(twin, COUNT, &raw mut last) },
    );
    // A second is more than what the readings take.
    if (ours.now().as_nanos() - last).unsigned_abs() > 1_000_000_000 {
        return Err(Failure::new("reading the clock", "the C twin reads another time"));
    }
    measured
}

/// Xen's clock.
#[cfg(not(target_arch = "aarch64"))]
mod clock {
    use super::*;
    use xen_hal::clock::PvClock;
    use xen_pac::shared_info::raw;

    #[repr(C)]
    pub(super) struct Twin(*const raw::VcpuTimeInfo);

    pub(super) fn measure(boot: &Boot, shared: SharedInfo<'static>) -> Result<(), Failure> {
        const UNSAFE: Failure = Failure::new("reading the clock", "it is not safe in this domain");
        let features = Xen::new(boot.xen).version().features().map_err(|_| UNSAFE)?;
        let block = shared.vcpu_info(0).ok_or(UNSAFE)?.time();
        let clock = PvClock::new(features, block, Counter::default()).map_err(|_| UNSAFE)?;
        clocks(&clock, &Twin(block.as_ptr().as_ptr()))
    }
}

/// The architecture's counter.
#[cfg(target_arch = "aarch64")]
mod clock {
    use super::*;
    use xen_hal::clock::{CounterClock, TimeOffset};

    #[repr(C)]
    pub(super) struct Twin {
        whole: u64,
        part: u64,
    }

    pub(super) fn measure(_: &Boot, _: SharedInfo<'static>) -> Result<(), Failure> {
        let rate = Counter::default().frequency();
        let clock = CounterClock::new(Counter::default(), rate, TimeOffset::ZERO)
            .ok_or(Failure::new("reading the clock", "the counter has no rate"))?;
        let part = (u128::from(1_000_000_000 % rate) << 64) / u128::from(rate);
        clocks(&clock, &Twin { whole: 1_000_000_000 / rate, part: part as u64 })
    }
}
