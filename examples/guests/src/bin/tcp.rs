//! Echoes what one TCP connection sends to 10.0.0.2, port 7, over the first network interface, and
//! sends lines to an echo server on 10.0.0.1, port 8.
#![no_std]
#![no_main]

#[path = "../system_clock.rs"]
mod system_clock;

use core::time::Duration;

use programs::{Addresses, Error, tcp_echo};
use rt::{Boot, Page};
use xen_hal::clock::Clock;
use xen_hal::console::Console;
use xen_hal::event::TwoLevel;
use xen_hal::grant::{GrantRefAllocator, GrantTablePlace, Page as GrantPage};
use xen_hal::hypercall::Errno;
use xen_hal::net::{NetDevice, NetError};
use xen_hal::platform::{IdentityMap, VcpuId};
use xen_hal::ring::{DevicePage, PollWait};
use xen_hal::suspend::Setup;
use xen_hal::xenstore::Store;

rt::entry!(main);

/// The first network interface.
const DEVICE: &str = "device/vif/0";
const ADDRESSES: Addresses = Addresses { own: [10, 0, 0, 2], peer: [10, 0, 0, 1] };
/// How long the server waits for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
/// Two for rings, and sixteen for frames.
static PAGES: [Page; 18] = [const { Page::new() }; 18];

fn main(boot: Boot) -> Result<(), Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut console = unsafe { Console::open(xen, rt::at) }?;
    // SAFETY: as above.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    let setup = Setup {
        grant_table: Some(GrantTablePlace::new(TABLE.as_ptr(), &REFS, 1)),
        ..Setup::new(xen, space, SHARED_INFO.as_ptr())
    };
    // SAFETY: the pages are used for nothing else, and all memory is mapped to itself.
    let domain = unsafe { setup.register() }.map_err(|error| error.error)?;
    let info = domain.vcpu_info(VcpuId(0)).ok_or(xen_hal::Error::from(Errno::ENOENT))?;
    let clock = system_clock::open(xen, info)?;
    let table = domain.grant_table().ok_or(xen_hal::Error::from(Errno::ENOENT))?;
    let page = |page: &'static Page| {
        // SAFETY: the page is used through this value only.
        let page = unsafe { GrantPage::from_raw(&space, page.as_ptr()) };
        page.map(DevicePage::from).map_err(|error| NetError::Grant(error.into()))
    };
    let [tx, rx] = [0, PAGES.len() / 2].map(|first| {
        core::array::from_fn::<_, { PAGES.len() / 2 }, _>(|index| page(&PAGES[first + index]))
    });
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = tx;
    let mut tx = [t0?, t1?, t2?, t3?, t4?, t5?, t6?, t7?, t8?];
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8] = rx;
    let mut rx = [r0?, r1?, r2?, r3?, r4?, r5?, r6?, r7?, r8?];
    let mut net = NetDevice::connect(xen, &mut store, DEVICE, table, &mut tx, &mut rx)?;
    let now = || clock.now();
    let wait = PollWait::new(xen, TwoLevel::new(domain.shared_info()), now, PATIENCE);
    let millis = || clock.now().as_nanos() / 1_000_000;
    tcp_echo(&mut console, &mut net, ADDRESSES, millis, wait)?;
    Ok(net.close(&mut store)?)
}
