//! The same as `tcp`, by the sockets of `embassy-net`.
#![no_std]
#![no_main]

#[path = "../wakeups.rs"]
mod wakeups;

use core::array;
use core::cell::RefCell;

use critical_section::Mutex;
use embassy_demo::{EVENTS, WAKERS};
use programs::{Addresses, Error, embassy_tcp};
use rt::{Boot, LocalInterrupts, Page, interrupts, println, vcpus};
use static_cell::StaticCell;
use xen_hal::Xen;
use xen_hal::event::EventError;
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page as GrantPage};
use xen_hal::hypercall::{Installed, install, installed};
use xen_hal::net::{AsyncNetDevice, NetDevice};
use xen_hal::platform::{IdentityMap, VcpuId, set_current_vcpu};
use xen_hal::ring::DevicePage;
use xen_hal::xenstore::Store;

rt::entry!(main);

/// The first network interface.
const DEVICE: &str = "device/vif/0";
const ADDRESSES: Addresses = Addresses { own: [10, 0, 0, 2], peer: [10, 0, 0, 1] };
const VCPU: VcpuId = VcpuId(0);
/// Pages of each direction: one for the ring, and eight for frames.
const PAGES: usize = 9;

type Executor = xen_hal::embassy::Executor<Installed, LocalInterrupts, vcpus::Current>;
type Net = AsyncNetDevice<'static, 'static, Installed, IdentityMap>;

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static NET: [[Page; PAGES]; 2] = [const { [const { Page::new() }; PAGES] }; 2];
static LENT: [StaticCell<[DevicePage<'static>; PAGES]>; 2] = [const { StaticCell::new() }; 2];
static EXECUTOR: StaticCell<Executor> = StaticCell::new();
static RESULT: Mutex<RefCell<Option<Result<(), Error>>>> = Mutex::new(RefCell::new(None));

fn main(boot: Boot) -> Result<(), Error> {
    install(boot.xen);
    // SAFETY: the function names the calling vCPU, and no critical section is in progress.
    unsafe { set_current_vcpu(vcpus::current) };
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO);
    let Ok(shared) = shared else { panic!("expected a shared page, found none") };
    EVENTS.attach(shared);
    wakeups::install();

    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut store = unsafe { Store::open(installed(), rt::at, &mut storage) }?;
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: the page is the table's alone, and the domain is not suspended.
    let table = unsafe { GrantTable::map(installed(), space, TABLE.as_ptr(), &REFS, 1) };
    let table = table.map_err(xen_hal::Error::from)?;
    let [tx, rx] = [0, 1].map(|half| {
        LENT[half].init(array::from_fn(|index| {
            // SAFETY: the page is used through this value only.
            match unsafe { GrantPage::from_raw(&space, NET[half][index].as_ptr()) } {
                Ok(page) => page.into(),
                Err(error) => panic!("expected a page of RAM: {error}"),
            }
        }))
    });
    let net = NetDevice::connect(installed(), &mut store, DEVICE, table, tx, rx)?;
    let net = AsyncNetDevice::new(net, &WAKERS, &EVENTS, VCPU).map_err(xen_hal::Error::from)?;
    executor()?.run_until(
        |spawner| {
            if let Ok(task) = serve(net) {
                spawner.spawn(task);
            }
        },
        || critical_section::with(|section| RESULT.borrow_ref(section).is_some()),
    );
    critical_section::with(|section| RESULT.take(section)).unwrap_or(Ok(()))
}

#[embassy_executor::task]
async fn serve(net: Net) {
    let result = embassy_tcp(net, ADDRESSES, |line| println!("| {line}")).await;
    critical_section::with(|section| RESULT.replace(section, Some(result)));
}

/// Returns the executor of the vCPU, whose interrupts are on afterwards.
fn executor() -> Result<&'static mut Executor, xen_hal::Error> {
    wakeups::start(VCPU)?;
    let bell = Xen::new(installed()).events().bind_ipi(VCPU)?;
    let bell = EVENTS.listen(bell, VCPU).map_err(EventError::from)?;
    interrupts::enable();
    Ok(EXECUTOR.init(Executor::new(bell, LocalInterrupts, vcpus::Current)))
}
