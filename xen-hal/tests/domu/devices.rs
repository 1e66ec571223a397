//! A guest with xenstore, a grant table and pages, for the tests of devices.

use std::error::Error;

use xen_hal::Xen;
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page};
use xen_hal::hypercall::Errno;
use xen_hal::memory::MemoryError;
use xen_hal::ring::{DevicePage, YieldWait};
use xen_hal::xenstore::Store;
use xen_sim::backend::{Device, Dom0};
use xen_sim::{DomainConfig, DomainSpace, FaultRates, Guest, Hypervisor, Machine, Profile, Report};

pub(crate) type Table = GrantTable<'static, Hypervisor, DomainSpace>;
pub(crate) type GuestStore<'s> = Store<'s, Hypervisor, YieldWait<Hypervisor>>;

/// The page of the grant table, and the first one for devices.
pub(crate) const TABLE: usize = 1;
const PAGES: usize = 2;

/// The xenstore connection, grant table and pages with which a guest uses a device.
pub(crate) struct World<'s> {
    pub(crate) store: GuestStore<'s>,
    pub(crate) table: Table,
    pub(crate) pages: Vec<DevicePage<'static>>,
}

/// Returns how a driver waits for its backend.
pub(crate) fn patience() -> YieldWait<Hypervisor> {
    YieldWait::new(Hypervisor).attempts(4000)
}

/// Gives the backend some time.
pub(crate) fn relax() -> Result<(), Errno> {
    Xen::new(Hypervisor).sched().yield_now()
}

/// Runs a guest with a device. `kernel` gets the guest and its xenstore.
pub(crate) fn machine(
    seed: u64,
    rates: FaultRates,
    device: impl Into<Device>,
    kernel: impl Fn(Guest, GuestStore<'_>) -> Result<(), Box<dyn Error>> + Send + 'static,
) -> Result<Report, Box<dyn Error>> {
    let dom0 = Dom0::new();
    let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
    machine.domain(DomainConfig::dom0(), dom0.program())?;
    let program = move |guest: Guest| -> Result<(), Box<dyn Error>> {
        let (xen, mut storage) = (guest.xen(), [0; Store::STORAGE]);
        // SAFETY: the ring has one owner, as long as the machine runs.
        let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
        kernel(guest, store.with_wait(YieldWait::new(xen).attempts(20_000)))
    };
    let guest = machine.domain(DomainConfig::domu(), program)?;
    dom0.attach(guest, device);
    Ok(machine.run()?)
}

/// Returns that many pages for devices.
pub(crate) fn pages(guest: Guest, count: usize) -> Result<Vec<DevicePage<'static>>, MemoryError> {
    let page = |index| {
        // SAFETY: the page is the value's alone.
        let page = unsafe { Page::from_raw(&guest.space(), guest.page(PAGES + index).cast()) };
        page.map(DevicePage::from)
    };
    (0..count).map(page).collect()
}

/// Runs a guest with a device and `count` pages for it. At the end no grant is in use: every page
/// returns, and every reference is free.
pub(crate) fn run(
    seed: u64,
    rates: FaultRates,
    device: impl Into<Device>,
    count: usize,
    kernel: impl Fn(&mut World<'_>) -> Result<(), Box<dyn Error>> + Send + 'static,
) -> Result<Report, Box<dyn Error>> {
    machine(seed, rates, device, move |guest, store| {
        let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
        let (xen, space, place) = (guest.xen(), guest.space(), guest.page(TABLE).cast());
        // SAFETY: the page is the table's alone, and nothing of it is used after the run.
        let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
        let free = table.available();
        let mut world = World { store, table, pages: pages(guest, count)? };
        kernel(&mut world)?;
        for mut page in world.pages {
            let mut attempts = 0;
            // A backend that has just closed the device needs some time to unmap its pages.
            while let Err(in_use) = page.into_page(&table) {
                assert!(attempts < 4000, "{in_use:?}");
                attempts += 1;
                relax()?;
                page = in_use.ok_or("a page is lost")?.into();
            }
        }
        table.reclaim();
        assert_eq!(table.available(), free);
        Ok(())
    })
}
