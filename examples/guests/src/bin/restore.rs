//! Registers everything, and uses it again after each `xl save -c`, `xl save` with `xl restore`,
//! and `xl migrate`, until `xl reboot` or `xl shutdown`.
#![no_std]
#![no_main]

use core::time::Duration;

use rt::{AnyBackend, Boot, Page};
use xen_hal::blk::BlockDevice;
use xen_hal::clock::{Clock, Instant, Monotonic, PvClock, SystemTime};
use xen_hal::console::Console;
use xen_hal::event::TwoLevel;
use xen_hal::grant::{Access, GrantRefAllocator, GrantTablePlace, Page as GrantPage};
use xen_hal::hypercall::Errno;
use xen_hal::net::NetDevice;
use xen_hal::platform::{IdentityMap, Tsc, VcpuId};
use xen_hal::ring::DevicePage;
use xen_hal::suspend::{Registered, Setup, Suspended};
use xen_hal::vcpu::Area;
use xen_hal::xenbus::{ShutdownControl, ShutdownRequest};
use xen_hal::xenstore::{Store, StoreEvent};
use xen_hal::{Error, Xen};
use xen_pac::base::{Domid, Virq};
use xen_pac::hvm::CallbackVia;
use xen_pac::sched::ShutdownReason;
use xen_pac::{shared_info, vcpu};

rt::entry!(main);

const FIRST: VcpuId = VcpuId(0);

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static LENT: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static INFOS: [Area<shared_info::raw::VcpuInfo>; 2] = [const { Area::new() }; 2];
static RUNSTATES: [Area<vcpu::raw::VcpuRunstateInfo>; 2] = [const { Area::new() }; 2];
static TIMES: [Area<shared_info::raw::VcpuTimeInfo>; 2] = [const { Area::new() }; 2];
/// One for the disk's ring, and one for data.
static DISK: [Page; 2] = [const { Page::new() }; 2];
/// One for each of the interface's rings, and two for frames.
static NET: [Page; 4] = [const { Page::new() }; 4];
static TIME_LINE: Monotonic = Monotonic::new();

type Domain<'a> = Registered<&'a AnyBackend, IdentityMap>;

fn now(domain: &Domain<'_>) -> Result<SystemTime, Error> {
    let features = Xen::new(domain.hypercall()).version().features()?;
    let info = domain.vcpu_info(FIRST).ok_or(Errno::ENOENT)?;
    Ok(PvClock::new(features, info.time(), Tsc)?.now())
}

/// Uses what is registered, with interrupts off. Returns the present.
fn use_everything(domain: &Domain<'_>) -> Result<Instant, Error> {
    let xen = Xen::new(domain.hypercall());
    let bitmaps = TwoLevel::new(domain.shared_info());
    let ipi = xen.events().bind_ipi(FIRST)?;
    ipi.send()?;
    assert!(bitmaps.clear(ipi.port()), "the IPI is pending");
    let timer = xen.events().bind_virq(Virq::TIMER, FIRST)?;
    let deadline = TIME_LINE.instant(now(domain)?) + Duration::from_millis(5);
    xen.vcpu(FIRST).set_singleshot_timer(TIME_LINE.system_time(deadline))?;
    while !bitmaps.clear(timer.port()) {
        xen.sched().poll(&[timer.port()], None)?;
    }
    let present = TIME_LINE.instant(now(domain)?);
    assert!(present >= deadline, "the timer is not early");
    let table = domain.grant_table().ok_or(Errno::ENOENT)?;
    // SAFETY: the page is used by one grant at a time.
    let page = unsafe { GrantPage::from_raw(&space(), LENT.as_ptr()) }?;
    let grant = table.lend(page, Domid(0), Access::ReadOnly).map_err(|error| error.error())?;
    assert!(grant.revoke().is_ok(), "no domain uses the page");
    let times = domain.runstate(FIRST).ok_or(Errno::ENOENT)?;
    assert!(times.read_own().state == vcpu::Runstate::RUNNING, "it runs");
    assert!(domain.shared_info().wallclock().sec > 0, "there is a time of day");
    Ok(present)
}

/// Connects the disk and the network interface, writes a line to the disk's first sector without
/// one, and disconnects both: a device has grants, which end with a suspend.
fn use_devices<'a>(
    domain: &Domain<'a>,
    store: &mut Store<'_, &'a AnyBackend>,
) -> Result<(), Error> {
    const LINE: &[u8] = b"the guest was here\n";
    let (xen, table) = (domain.hypercall(), domain.grant_table().ok_or(Errno::ENOENT)?);
    let space = space();
    let page = |page: &'static Page| {
        // SAFETY: the page is used through this value only, and only in this function.
        unsafe { GrantPage::from_raw(&space, page.as_ptr()) }.map(DevicePage::from)
    };
    let [ring, data] = DISK.each_ref().map(page);
    let mut pages = [ring?, data?];
    let mut disk = BlockDevice::connect(xen, store, "device/vbd/51712", table, &mut pages)?;
    let mut sector = [0; 512];
    let mut number = 0;
    loop {
        disk.read(number, &mut sector)?;
        if !sector.starts_with(LINE) {
            break;
        }
        number += 1;
    }
    sector[..LINE.len()].copy_from_slice(LINE);
    disk.write(number, &sector)?;
    disk.flush()?;
    disk.close(store)?;
    let [tx_ring, tx_frame, rx_ring, rx_frame] = NET.each_ref().map(page);
    let (mut tx, mut rx) = ([tx_ring?, tx_frame?], [rx_ring?, rx_frame?]);
    let mut net = NetDevice::connect(xen, store, "device/vif/0", table, &mut tx, &mut rx)?;
    net.send(&[0xff; 60])?;
    Ok(net.close(store)?)
}

fn space() -> IdentityMap {
    // SAFETY: the runtime's memory is mapped to itself.
    unsafe { IdentityMap::new() }
}

fn main(boot: Boot) -> Result<(), Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    let setup = Setup {
        callback: CallbackVia::vector(0xf3).ok(),
        vcpus: 2,
        vcpu_infos: &INFOS,
        runstates: &RUNSTATES,
        times: &TIMES,
        periodic_timer: Some(Duration::from_secs(1)),
        grant_table: Some(GrantTablePlace::new(TABLE.as_ptr(), &REFS, 1)),
        time_line: Some(&TIME_LINE),
        ..Setup::new(xen, space(), SHARED_INFO.as_ptr())
    };
    // SAFETY: the pages and areas are used for nothing else, and all memory is mapped to itself.
    let mut domain = unsafe { setup.register() }.map_err(|error| error.error)?;
    let mut control = ShutdownControl::watch(&mut store)?;
    let mut last = use_everything(&domain)?;
    use_devices(&domain, &mut store)?;
    writeln!(console, "READY")?;
    loop {
        let mut buffer = [0; 4096];
        let _: Option<StoreEvent<'_>> = store.event(&mut buffer)?;
        match control.take(&mut store)? {
            None => Xen::new(xen).sched().yield_now()?,
            Some(ShutdownRequest::Suspend) => {
                console.flush()?;
                let time = now(&domain)?;
                let how;
                (domain, how) =
                    match domain.suspend(time).map_err(|error| Error::from(error.errno))? {
                        Suspended::Cancelled(domain) => (domain, "cancelled"),
                        Suspended::Restored(restored) => {
                            let domain = restored.register(now).map_err(|error| error.error)?;
                            // SAFETY: the toolstack keeps the rings at their frames.
                            unsafe { console.reopen(rt::at) }?;
                            // SAFETY: as above.
                            unsafe { store.reopen(rt::at) }?;
                            control = ShutdownControl::watch(&mut store)?;
                            (domain, "restored")
                        }
                    };
                let present = use_everything(&domain)?;
                use_devices(&domain, &mut store)?;
                let ms = (present - last).as_millis();
                writeln!(console, "{how}: all works, {ms} ms later")?;
                last = present;
            }
            Some(ShutdownRequest::Reboot) => {
                console.flush()?;
                Xen::new(xen).sched().shutdown(ShutdownReason::REBOOT)?;
            }
            Some(_) => break,
        }
    }
    writeln!(console, "BYE")?;
    Ok(console.flush()?)
}
