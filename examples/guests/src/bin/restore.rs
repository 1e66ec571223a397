//! Registers everything, and uses it again after each `xl save -c`, `xl save` with `xl restore`,
//! and `xl migrate`, until `xl reboot` or `xl shutdown`. Each time, a disk has requests in flight,
//! and a network interface has frames.
#![no_std]
#![no_main]

use core::time::Duration;

use rt::{AnyBackend, Boot, Page};
use xen_hal::blk::{BlockDevice, RequestId, SECTOR_SIZE, SuspendedBlockDevice};
use xen_hal::clock::{Clock, Instant, Monotonic, PvClock, SystemTime};
use xen_hal::console::Console;
use xen_hal::event::TwoLevel;
use xen_hal::grant::{Access, GrantRefAllocator, GrantTablePlace, Page as GrantPage};
use xen_hal::hypercall::Errno;
use xen_hal::net::{NetDevice, SuspendedNetDevice};
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
/// One for the disk's ring, and two for data.
static DISK: [Page; 3] = [const { Page::new() }; 3];
/// One for each of the interface's rings, and one for a frame in each direction.
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

const XVDA: &str = "device/vbd/51712";
const VIF: &str = "device/vif/0";
const LINE: &[u8] = b"the guest was here\n";

type Backend<'a> = &'a AnyBackend;

/// The pages of the devices. They outlive each suspend.
struct DevicePages {
    disk: [DevicePage<'static>; 3],
    tx: [DevicePage<'static>; 2],
    rx: [DevicePage<'static>; 2],
}

impl DevicePages {
    fn new() -> Result<Self, Error> {
        let page = |page: &'static Page| {
            // SAFETY: the page is used through this value only.
            unsafe { GrantPage::from_raw(&space(), page.as_ptr()) }.map(DevicePage::from)
        };
        let [ring, write, read] = DISK.each_ref().map(page);
        let [tx_ring, tx_frame, rx_ring, rx_frame] = NET.each_ref().map(page);
        let (tx, rx) = ([tx_ring?, tx_frame?], [rx_ring?, rx_frame?]);
        Ok(Self { disk: [ring?, write?, read?], tx, rx })
    }
}

/// What is in flight while the domain is suspended.
struct Asleep<'a> {
    disk: SuspendedBlockDevice<Backend<'a>>,
    net: SuspendedNetDevice<Backend<'a>>,
    write: RequestId,
    read: RequestId,
    /// The number of lines on the disk, that of `write` included.
    lines: u64,
    /// The number of frames that were sent.
    frames: u64,
}

/// Connects the devices, or resumes them and waits for what was in flight; then calls `ready`, and
/// returns the toolstack's next request. If that is a suspend, the devices have requests in flight.
///
/// The disk has a line in each of its first sectors: one for each start and each suspend.
fn use_devices<'a>(
    domain: &Domain<'a>,
    store: &mut Store<'_, Backend<'a>>,
    control: &ShutdownControl,
    pages: DevicePages,
    asleep: Option<Asleep<'a>>,
    ready: impl FnOnce() -> Result<(), Error>,
) -> Result<(ShutdownRequest, DevicePages, Option<Asleep<'a>>), Error> {
    let (xen, table) = (domain.hypercall(), domain.grant_table().ok_or(Errno::ENOENT)?);
    let DevicePages { disk: mut disk_pages, mut tx, mut rx } = pages;
    let mut sector = [0; SECTOR_SIZE];
    let (mut disk, mut net, mut lines, mut frames);
    match asleep {
        None => {
            disk = BlockDevice::connect(xen, store, XVDA, table, &mut disk_pages)?;
            net = NetDevice::connect(xen, store, VIF, table, &mut tx, &mut rx)?;
            (lines, frames) = (0, 0);
            while lines < disk.info().sectors {
                disk.read(lines, &mut sector)?;
                if !sector.starts_with(LINE) {
                    break;
                }
                lines += 1;
            }
            sector[..LINE.len()].copy_from_slice(LINE);
            disk.write(lines, &sector)?;
            disk.flush()?;
            lines += 1;
        }
        Some(asleep) => {
            let resumed = asleep.disk.resume(xen, store, XVDA, table, &mut disk_pages);
            disk = resumed.map_err(|error| error.error)?;
            let resumed = asleep.net.resume(xen, store, VIF, table, &mut tx, &mut rx);
            net = resumed.map_err(|error| error.error)?;
            (lines, frames) = (asleep.lines, asleep.frames);
            for id in [asleep.read, asleep.write] {
                sector = [0; SECTOR_SIZE];
                for attempt in 0.. {
                    if disk.answer(id, &mut sector)?.is_some() {
                        break;
                    }
                    assert!(attempt < 1 << 20, "the request is answered");
                    Xen::new(xen).sched().yield_now()?;
                }
                assert!(id == asleep.write || sector.starts_with(LINE), "the read has the line");
            }
            disk.read(lines - 1, &mut sector)?;
            assert!(sector.starts_with(LINE), "the write in flight is on the disk");
            disk.read(lines, &mut sector)?;
            assert!(!sector.starts_with(LINE), "there is no other line");
            assert!(net.lost() <= frames, "more frames were lost than sent");
        }
    }
    ready()?;
    let request = loop {
        let mut buffer = [0; 4096];
        let _: Option<StoreEvent<'_>> = store.event(&mut buffer)?;
        match control.take(store)? {
            None => Xen::new(xen).sched().yield_now()?,
            Some(request) => break request,
        }
    };
    let asleep = if request == ShutdownRequest::Suspend {
        if net.can_send()? {
            net.send(&[0xff; 60])?;
            frames += 1;
        }
        let (read, _) = disk.submit_read(0, SECTOR_SIZE)?;
        sector[..LINE.len()].copy_from_slice(LINE);
        let (write, _) = disk.submit_write(lines, &sector)?;
        lines += 1;
        Some(Asleep { disk: disk.suspend(), net: net.suspend(), write, read, lines, frames })
    } else {
        disk.close(store)?;
        net.close(store)?;
        None
    };
    let pages = DevicePages {
        disk: disk_pages.map(DevicePage::detach),
        tx: tx.map(DevicePage::detach),
        rx: rx.map(DevicePage::detach),
    };
    Ok((request, pages, asleep))
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
    let (mut pages, mut asleep, mut how) = (DevicePages::new()?, None, None);
    loop {
        let ready = || match how.take() {
            None => Ok(writeln!(console, "READY")?),
            Some(how) => {
                let present = use_everything(&domain)?;
                let ms = (present - last).as_millis();
                last = present;
                Ok(writeln!(console, "{how}: all works, {ms} ms later")?)
            }
        };
        let request;
        (request, pages, asleep) =
            use_devices(&domain, &mut store, &control, pages, asleep, ready)?;
        match request {
            ShutdownRequest::Suspend => {
                console.flush()?;
                let time = now(&domain)?;
                match domain.suspend(time).map_err(|error| Error::from(error.errno))? {
                    Suspended::Cancelled(same) => (domain, how) = (same, Some("cancelled")),
                    Suspended::Restored(restored) => {
                        domain = restored.register(now).map_err(|error| error.error)?;
                        // SAFETY: the toolstack keeps the rings at their frames.
                        unsafe { console.reopen(rt::at) }?;
                        // SAFETY: as above.
                        unsafe { store.reopen(rt::at) }?;
                        control = ShutdownControl::watch(&mut store)?;
                        how = Some("restored");
                    }
                }
            }
            ShutdownRequest::Reboot => {
                console.flush()?;
                Xen::new(xen).sched().shutdown(ShutdownReason::REBOOT)?;
            }
            _ => break,
        }
    }
    writeln!(console, "BYE")?;
    Ok(console.flush()?)
}
