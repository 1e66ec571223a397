//! Registers everything, and uses it again after each `xl save -c`, `xl save` with `xl restore`,
//! and `xl migrate`, until `xl reboot` or `xl shutdown`. Each time, a disk has requests in flight,
//! and a network interface has frames. The second vCPU sends an event, and is down while the domain
//! is suspended.
#![no_std]
#![no_main]

use core::time::Duration;

use programs::{Deliveries, DevicePages, Services, restore};
use rt::{Boot, LocalInterrupts, Page, interrupts, println, vcpus};
use xen_hal::clock::Monotonic;
use xen_hal::console::Console;
use xen_hal::grant::{GrantRefAllocator, GrantTablePlace, Page as GrantPage};
use xen_hal::platform::{IdentityMap, Interrupts, Tsc, VcpuId};
use xen_hal::ring::DevicePage;
use xen_hal::suspend::Setup;
use xen_hal::vcpu::Area;
use xen_hal::xenbus::ShutdownRequest;
use xen_hal::xenstore::Store;
use xen_hal::{Error, Xen};
use xen_pac::sched::ShutdownReason;
use xen_pac::{shared_info, vcpu};

rt::entry!(main);

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static LENT: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static INFOS: [Area<shared_info::raw::VcpuInfo>; 2] = [const { Area::new() }; 2];
static RUNSTATES: [Area<vcpu::raw::VcpuRunstateInfo>; 2] = [const { Area::new() }; 2];
static TIMES: [Area<shared_info::raw::VcpuTimeInfo>; 2] = [const { Area::new() }; 2];
static DISK: [Page; 3] = [const { Page::new() }; 3];
static TX: [Page; 2] = [const { Page::new() }; 2];
static RX: [Page; 2] = [const { Page::new() }; 2];
static TIME_LINE: Monotonic = Monotonic::new();
static DELIVERIES: Deliveries = Deliveries::new();

fn main(boot: Boot) -> Result<(), Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    rt::on_upcall(|| DELIVERIES.handle());
    let setup = Setup {
        callback: interrupts::callback_via(),
        vcpus: 2,
        vcpu_infos: &INFOS,
        runstates: &RUNSTATES,
        times: &TIMES,
        dispatcher: Some(&DELIVERIES.dispatcher),
        periodic_timer: Some(Duration::from_secs(1)),
        grant_table: Some(GrantTablePlace::new(TABLE.as_ptr(), &REFS, 1)),
        time_line: Some(&TIME_LINE),
        ..Setup::new(xen, space, SHARED_INFO.as_ptr())
    };
    // SAFETY: the pages and areas are used for nothing else, and all memory is mapped to itself.
    let domain = unsafe { setup.register() }.map_err(|error| error.error)?;
    let page = |page: &'static Page| {
        // SAFETY: the page is used through this value only.
        unsafe { GrantPage::from_raw(&space, page.as_ptr()) }
    };
    let lent = |place| page(place).map(DevicePage::from);
    let ([d0, d1, d2], [t0, t1], [r0, r1]) =
        (DISK.each_ref().map(lent), TX.each_ref().map(lent), RX.each_ref().map(lent));
    let pages = DevicePages { disk: [d0?, d1?, d2?], tx: [t0?, t1?], rx: [r0?, r1?] };

    let services = Services {
        console: &mut console,
        store: &mut store,
        counter: Tsc,
        time_line: &TIME_LINE,
        first_word,
        deliveries: &DELIVERIES,
        start_second: &|| vcpus::start(xen, VcpuId(1), second),
        wait_until: &|done| {
            interrupts::wait_until(done);
            LocalInterrupts.disable();
        },
    };
    let reopen = |console: &mut Console<'_, _>, store: &mut Store<'_, _>| {
        // SAFETY: the toolstack keeps the rings at their frames.
        unsafe { console.reopen(rt::at) }?;
        // SAFETY: as above.
        Ok(unsafe { store.reopen(rt::at) }?)
    };
    let mut written = 0;
    let mut print = |line: core::fmt::Arguments<'_>| {
        written += 1;
        println!("| {line}");
    };
    let request = restore(domain, page(&LENT)?, pages, services, reopen, &mut print)?;
    println!("guest: lines written: {written}");
    if request == ShutdownRequest::Reboot {
        console.flush()?;
        Xen::new(xen).sched().shutdown(ShutdownReason::REBOOT)?;
    }
    writeln!(console, "BYE")?;
    Ok(console.flush()?)
}

/// The main function of the second vCPU.
fn second(_: VcpuId) {
    let Ok(()) = DELIVERIES.send(rt::backend()) else { panic!("the port is open") };
}

/// Reads the first word of the shared page.
fn first_word() -> u64 {
    // SAFETY: the page is mapped, and each value of its bytes is a number.
    unsafe { SHARED_INFO.as_ptr::<u64>().as_ptr().read_volatile() }
}
