//! What the tests of devices share: a guest with xenstore, a grant table and pages.

use std::error::Error;
use std::sync::Arc;

use xen_hal::Xen;
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page};
use xen_hal::ring::{DevicePage, YieldWait};
use xen_hal::xenstore::Store;
use xen_sim::backend::{Device, Dom0};
use xen_sim::{DomainConfig, DomainSpace, FaultRates, Guest, Hypervisor, Machine, Profile, Report};

pub(crate) type Table = GrantTable<'static, Hypervisor, DomainSpace>;
pub(crate) type GuestStore<'s> = Store<'s, Hypervisor, YieldWait<Hypervisor>>;

/// The page of the grant table, and the first one for devices.
const TABLE: usize = 1;
const PAGES: usize = 2;

/// What a guest has.
pub(crate) struct World<'s> {
    pub(crate) store: GuestStore<'s>,
    pub(crate) table: Table,
    pub(crate) pages: Vec<DevicePage<'static>>,
}

/// Waits so long for a backend.
pub(crate) fn patience() -> YieldWait<Hypervisor> {
    YieldWait::new(Hypervisor).attempts(4000)
}

/// Runs a guest with a device and `pages` pages for it. At the end no grant is in use: every page
/// comes back, and every reference is free.
pub(crate) fn run(
    seed: u64,
    rates: FaultRates,
    device: impl Into<Device>,
    pages: usize,
    kernel: impl Fn(&mut World<'_>) -> Result<(), Box<dyn Error>> + Send + Sync + 'static,
) -> Result<Report, Box<dyn Error>> {
    let (dom0, kernel) = (Dom0::new(), Arc::new(kernel));
    let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
    machine.domain(DomainConfig::dom0(), dom0.program())?;
    let program = move |guest: Guest| -> Result<(), Box<dyn Error>> {
        let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
        let (xen, space, place) = (guest.xen(), guest.space(), guest.page(TABLE).cast());
        // SAFETY: the page is the table's alone, and nothing of it is used after the run.
        let table = unsafe { GrantTable::map(xen, space, place, refs, 1) }?;
        let mut storage = [0; Store::STORAGE];
        // SAFETY: the ring has one owner, as long as the machine runs.
        let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
        let wait = YieldWait::new(xen).attempts(20_000);
        let free = table.available();
        let page = |index| {
            // SAFETY: the page is the value's alone.
            let page = unsafe { Page::from_raw(&space, guest.page(PAGES + index).cast()) };
            page.map(DevicePage::from)
        };
        let pages = (0..pages).map(page).collect::<Result<Vec<_>, _>>()?;
        let mut world = World { store: store.with_wait(wait), table, pages };
        kernel(&mut world)?;
        for mut page in world.pages {
            let mut attempts = 0;
            // A backend that was told to let go needs some time.
            while let Err(in_use) = page.into_page(&table) {
                assert!(attempts < 4000, "{in_use:?}");
                attempts += 1;
                Xen::new(xen).sched().yield_now()?;
                page = in_use.ok_or("a page is lost")?.into();
            }
        }
        table.reclaim();
        assert_eq!(table.available(), free);
        Ok(())
    };
    let guest = machine.domain(DomainConfig::domu(), program)?;
    dom0.attach(guest, device);
    Ok(machine.run()?)
}
