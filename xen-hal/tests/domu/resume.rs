//! Devices across a suspend: requests and frames in flight, whether the domain is restored or the
//! suspend is cancelled.

use std::collections::BTreeSet;
use std::error::Error;

use xen_hal::blk::{BlockDevice, BlockError, SECTOR_SIZE};
use xen_hal::clock::SystemTime;
use xen_hal::grant::{GrantRefAllocator, GrantTablePlace};
use xen_hal::net::{NetDevice, NetError};
use xen_hal::ring::DevicePage;
use xen_hal::suspend::{Registered, Setup, Suspended};
use xen_hal::xenstore::Tree;
use xen_sim::backend::{BackendFault, Device, Disk, Network};
use xen_sim::{DomainSpace, FaultRates, Guest, Hypervisor, Report, for_each_seed};

use super::devices::{GuestStore, TABLE, machine, pages, patience, relax};
use super::net::mirror;

type Domain = Registered<Hypervisor, DomainSpace>;

/// A guest whose grant table is in its setup.
struct World<'s> {
    guest: Guest,
    domain: Domain,
    store: GuestStore<'s>,
    pages: Vec<DevicePage<'static>>,
}

impl World<'_> {
    /// Suspends the domain. Returns whether it was restored.
    fn suspend(self) -> Result<(Self, bool), Box<dyn Error>> {
        let Self { guest, domain, mut store, pages } = self;
        let suspended = domain.suspend(SystemTime::default()).map_err(|error| error.errno)?;
        let (domain, restored) = match suspended {
            Suspended::Cancelled(domain) => (domain, false),
            Suspended::Restored(restored) => {
                let domain = restored.register(|_| Ok(SystemTime::default()));
                // SAFETY: the toolstack keeps the ring at its frame.
                unsafe { store.reopen(|frame| guest.frame(frame)) }?;
                (domain.map_err(|error| error.error)?, true)
            }
        };
        Ok((Self { guest, domain, store, pages }, restored))
    }
}

fn detached(pages: Vec<DevicePage<'_>>) -> Vec<DevicePage<'static>> {
    pages.into_iter().map(DevicePage::detach).collect()
}

/// Runs a guest with a device and `count` pages. At the end every page returns, and every grant is
/// free.
fn run(
    seed: u64,
    rates: FaultRates,
    device: impl Into<Device>,
    count: usize,
    kernel: impl Fn(World<'_>) -> Result<World<'_>, Box<dyn Error>> + Send + 'static,
) -> Result<Report, Box<dyn Error>> {
    machine(seed, rates, device, move |guest, store| {
        let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
        let setup = Setup {
            grant_table: Some(GrantTablePlace::new(guest.page(TABLE).cast(), refs, 1)),
            ..Setup::new(guest.xen(), guest.space(), guest.page(0).cast())
        };
        // SAFETY: the pages are used for nothing else, and the domain has one vCPU and no handler.
        let domain = unsafe { setup.register() }.map_err(|error| error.error)?;
        let free = domain.grant_table().ok_or("there is a table")?.available();
        let world = World { guest, domain, store, pages: pages(guest, count)? };
        let World { domain, pages, .. } = kernel(world)?;
        let table = domain.grant_table().ok_or("there is a table")?;
        for page in pages {
            page.into_page(&table).map_err(|in_use| format!("in use: {in_use:?}"))?;
        }
        assert_eq!(table.available(), free);
        Ok(())
    })
}

/// Every suspend is cancelled, or none.
fn rates(cancelled: bool, of: FaultRates) -> FaultRates {
    FaultRates { cancelled_suspends: cancelled.into(), ..of }
}

/// The state of a request when the domain is suspended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    BeforeSubmit,
    InFlight,
    AnsweredUnread,
    Cancelled,
    /// The read is cancelled, and every request is answered.
    CancelledUnread,
}

fn pattern(first: u8, sectors: usize) -> Vec<u8> {
    (0..sectors * SECTOR_SIZE).map(|byte| first ^ (byte * 7 + byte / SECTOR_SIZE) as u8).collect()
}

const DISK: &str = "device/vbd/51712";

/// Reads, writes and flushes around a suspend. Returns the world.
fn use_disk(
    mut world: World<'_>,
    point: Point,
    cancelled: bool,
) -> Result<World<'_>, Box<dyn Error>> {
    let (old, new) = (pattern(1, 20), pattern(2, 20));
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    // The last page is another one.
    let own = lent.len() - 1;
    let disk = BlockDevice::connect(Hypervisor, &mut world.store, DISK, table, &mut lent[..own])?;
    let mut disk = disk.with_wait(patience());
    disk.write(0, &old)?;
    let mut requests = None;
    if point != Point::BeforeSubmit {
        let (write, length) = disk.submit_write(30, &new)?;
        assert_eq!(length, new.len());
        requests = Some((write, disk.submit_read(0, old.len())?.0, disk.submit_flush()?));
    }
    match (point, requests) {
        (Point::AnsweredUnread, _) => (0..500).try_for_each(|_| relax())?,
        (Point::Cancelled, Some((_, read, flush))) => {
            disk.cancel(read);
            disk.cancel(flush);
        }
        (Point::CancelledUnread, Some((_, read, _))) => {
            disk.cancel(read);
            (0..500).try_for_each(|_| relax())?;
        }
        _ => {}
    }
    let suspended = disk.suspend();
    world.pages = detached(lent);
    let restored;
    (world, restored) = world.suspend()?;
    assert_eq!(restored, !cancelled);

    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    // Pages in another order, other pages and fewer pages are refused, and nothing is lost.
    let store = &mut world.store;
    let mut suspended = suspended;
    for (first, second, count) in
        [(0, 1, own), (1, 2, own), (2, own - 1, own), (3, own, own), (0, 0, own - 1)]
    {
        lent.swap(first, second);
        let refused = suspended.resume(Hypervisor, store, DISK, table, &mut lent[..count]).err();
        let refused = refused.ok_or("the pages are others")?;
        assert_eq!(refused.error, BlockError::NotSuspended, "{first} {second} {count}");
        suspended = refused.suspended;
        lent.swap(first, second);
    }
    let resumed = suspended.resume(Hypervisor, store, DISK, table, &mut lent);
    let mut disk = resumed.map_err(|error| error.error)?;
    let (write, read, flush) = match requests {
        Some(requests) => requests,
        None => {
            let (write, _) = disk.submit_write(30, &new)?;
            (write, disk.submit_read(0, old.len())?.0, disk.submit_flush()?)
        }
    };
    let mut data = vec![0; old.len()];
    let is_cancelled = |id| match point {
        Point::Cancelled => id != write,
        Point::CancelledUnread => id == read,
        _ => false,
    };
    for id in [flush, read, write] {
        if is_cancelled(id) {
            assert_eq!(disk.answer(id, &mut data), Err(BlockError::NotInFlight));
            continue;
        }
        let mut attempts = 0;
        while disk.answer(id, &mut data)?.is_none() {
            relax()?;
            attempts += 1;
            assert!(attempts < 4000, "no answer to {id:?}");
        }
        assert_eq!(disk.answer(id, &mut data), Err(BlockError::NotInFlight));
    }
    if !is_cancelled(read) {
        assert!(data == old, "the read has other data");
    }
    disk.read(30, &mut data)?;
    assert!(data == new, "the write is lost");
    disk.close(&mut world.store)?;
    world.pages = detached(lent);
    Ok(world)
}

#[test]
fn requests_outlive_a_suspend_and_are_not_repeated() {
    let points = [
        Point::BeforeSubmit,
        Point::InFlight,
        Point::AnsweredUnread,
        Point::Cancelled,
        Point::CancelledUnread,
    ];
    for cancelled in [false, true] {
        for point in points {
            for faults in [FaultRates::none(), FaultRates::new(), FaultRates::storm()] {
                for_each_seed(3, |seed| {
                    let disk = Disk::new(64);
                    let shown = disk.clone();
                    let report = run(seed, rates(cancelled, faults), disk, 10, move |world| {
                        use_disk(world, point, cancelled)
                    })?;
                    let contents = shown.contents();
                    assert!(contents[..20 * SECTOR_SIZE] == pattern(1, 20));
                    assert!(contents[30 * SECTOR_SIZE..50 * SECTOR_SIZE] == pattern(2, 20));
                    // The old backend may carry out a request of which the guest sees no response.
                    let flushes = match point {
                        Point::InFlight if !cancelled => 1..=2,
                        Point::Cancelled => 0..=1,
                        _ => 1..=1,
                    };
                    assert!(flushes.contains(&shown.flushes()), "{} flushes", shown.flushes());
                    Ok(report)
                });
            }
        }
    }
}

/// Takes a page while a write is in flight, and returns it with other data.
fn take_a_page<'a>(
    mut world: World<'a>,
    index: usize,
    shown: &Disk,
) -> Result<World<'a>, Box<dyn Error>> {
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let mut disk = BlockDevice::connect(Hypervisor, &mut world.store, DISK, table, &mut lent)?;
    shown.set_fault(Some(BackendFault::Silent));
    disk.submit_write(0, &pattern(1, 1))?;
    let suspended = disk.suspend();
    world.pages = detached(lent);
    let restored;
    (world, restored) = world.suspend()?;
    assert!(restored);
    shown.set_fault(None);
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let page = lent.remove(index).into_page(&table).map_err(|_| "the page is free")?;
    page.copy_from(0, b"other data")?;
    lent.insert(index, page.into());
    let store = &mut world.store;
    let refused = suspended.resume(Hypervisor, store, DISK, table, &mut lent).err();
    let refused = refused.ok_or("a page was taken")?;
    assert_eq!(refused.error, BlockError::NotSuspended);
    // The device can be connected anew.
    drop(refused);
    let mut disk = BlockDevice::connect(Hypervisor, store, DISK, table, &mut lent)?;
    disk.write(2, &pattern(2, 1))?;
    disk.close(store)?;
    world.pages = detached(lent);
    Ok(world)
}

#[test]
fn a_page_that_was_taken_is_not_sent() {
    for index in [0, 1] {
        for_each_seed(2, |seed| {
            let disk = Disk::new(64);
            let shown = disk.clone();
            let rates = rates(false, FaultRates::none());
            let report =
                run(seed, rates, disk.clone(), 2, move |world| take_a_page(world, index, &shown))?;
            assert!(disk.contents()[2 * SECTOR_SIZE..3 * SECTOR_SIZE] == pattern(2, 1));
            Ok(report)
        });
    }
}

/// Leaves data in every page, and checks that the backend finds none but that of a repeated write:
/// neither after a restore, nor in pages that it kept for a while, nor when it is connected again.
fn hide_data<'a>(mut world: World<'a>, shown: &Disk) -> Result<World<'a>, Box<dyn Error>> {
    let (old, new) = (pattern(1, 32), pattern(2, 1));
    let mut data = vec![0; old.len()];
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let disk = BlockDevice::connect(Hypervisor, &mut world.store, DISK, table, &mut lent)?;
    let mut disk = disk.with_wait(patience());
    // A write uses all four pages for data.
    disk.write(0, &old)?;
    // The guest takes this answer after the restore.
    let (answered, _) = disk.submit_read(0, 8 * SECTOR_SIZE)?;
    (0..500).try_for_each(|_| relax())?;
    shown.set_fault(Some(BackendFault::Silent));
    let (read, _) = disk.submit_read(0, 8 * SECTOR_SIZE)?;
    let (write, _) = disk.submit_write(40, &new)?;
    (0..500).try_for_each(|_| relax())?;
    let suspended = disk.suspend();
    world.pages = detached(lent);
    let restored;
    (world, restored) = world.suspend()?;
    assert!(restored);

    shown.set_fault(None);
    shown.record_pages();
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let resumed = suspended.resume(Hypervisor, &mut world.store, DISK, table, &mut lent);
    let mut disk = resumed.map_err(|error| error.error)?;
    assert_eq!(disk.answer(answered, &mut data)?, Some(()));
    assert!(data[..8 * SECTOR_SIZE] == old[..8 * SECTOR_SIZE]);
    // The pages that were free or answered, while the others are granted again.
    let (second, length) = disk.submit_read(8, 16 * SECTOR_SIZE)?;
    assert_eq!(length, 16 * SECTOR_SIZE);
    for id in [read, write, second] {
        let mut attempts = 0..4000;
        while disk.answer(id, &mut data)?.is_none() {
            attempts.next().ok_or("no answer")?;
            relax()?;
        }
    }
    assert_eq!(shown.record_pages(), [false; 4]);
    disk.read(40, &mut data[..new.len()])?;
    assert!(data[..new.len()] == new, "the write is repeated with its data");

    shown.set_fault(Some(BackendFault::KeepsPages));
    disk.read(0, &mut data)?;
    assert!(data == old);
    shown.set_fault(None);
    // Before it carries this out, the backend unmaps the pages.
    disk.flush()?;
    shown.record_pages();
    disk.read(0, &mut data)?;
    assert_eq!(shown.record_pages(), [false; 4]);
    disk.close(&mut world.store)?;
    (0..500).try_for_each(|_| relax())?;

    let disk = BlockDevice::connect(Hypervisor, &mut world.store, DISK, table, &mut lent)?;
    let mut disk = disk.with_wait(patience());
    disk.read(0, &mut data)?;
    assert_eq!(shown.record_pages(), [false; 4]);
    // A page that stays with one backend is not cleared.
    disk.read(0, &mut data)?;
    assert_eq!(shown.record_pages(), [true; 4]);
    disk.close(&mut world.store)?;
    world.pages = detached(lent);
    Ok(world)
}

#[test]
fn a_backend_finds_nothing_in_pages_that_another_could_have_had() {
    for_each_seed(4, |seed| {
        let disk = Disk::new(64);
        let shown = disk.clone();
        let rates = rates(false, FaultRates::none());
        run(seed, rates, disk, 5, move |world| hide_data(world, &shown))
    });
}

const INTERFACE: &str = "device/vif/0";

/// Sends frames around a suspend to a peer that returns them.
fn use_network<'a>(
    mut world: World<'a>,
    network: &Network,
    cancelled: bool,
) -> Result<World<'a>, Box<dyn Error>> {
    let frame = |number: u8| [number; 60];
    let (mut buffer, mut returned) = ([0; 1514], BTreeSet::new());
    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let (tx, rx) = lent.split_at_mut(5);
    let mut net = NetDevice::connect(Hypervisor, &mut world.store, INTERFACE, table, tx, rx)?;
    for number in 1..=3 {
        net.send(&frame(number))?;
    }
    let suspended = net.suspend();
    world.pages = detached(lent);
    let restored;
    (world, restored) = world.suspend()?;
    assert_eq!(restored, !cancelled);

    let table = world.domain.grant_table().ok_or("there is a table")?;
    let mut lent: Vec<DevicePage<'_>> = std::mem::take(&mut world.pages);
    let (tx, rx) = lent.split_at_mut(5);
    let mut suspended = suspended;
    if cancelled {
        // Interfaces that do not exist, and one with another backend.
        world.store.write("data/other/backend", "/local/domain/0/backend/vif/1/1")?;
        for other in ["no/such/device", "data/other"] {
            let refused =
                suspended.resume(Hypervisor, &mut world.store, other, table, tx, rx).err();
            let refused = refused.ok_or("the interface is another one")?;
            assert_eq!(refused.error, NetError::NotSuspended, "{other}");
            suspended = refused.suspended;
        }
        // The pages of one direction are refused, and the other direction goes on.
        for (is_tx, other) in [(true, 0), (false, 0), (true, 2), (false, 4)] {
            (if is_tx { &mut *tx } else { &mut *rx }).swap(other, 1);
            let store = &mut world.store;
            let refused = suspended.resume(Hypervisor, store, INTERFACE, table, tx, rx).err();
            let refused = refused.ok_or("the pages are others")?;
            assert_eq!(refused.error, NetError::NotSuspended);
            suspended = refused.suspended;
            (if is_tx { &mut *tx } else { &mut *rx }).swap(other, 1);
        }
    }
    let resumed = suspended.resume(Hypervisor, &mut world.store, INTERFACE, table, tx, rx);
    let mut net = resumed.map_err(|error| error.error)?;
    for number in 4..=6 {
        let mut attempts = 0;
        while net.send(&frame(number)) == Err(NetError::Busy) {
            relax()?;
            attempts += 1;
            assert!(attempts < 4000);
        }
    }
    let mut idle = 0;
    while idle < 500 {
        idle += 1;
        while let Some(length) = net.receive(&mut buffer)? {
            assert!(buffer[..length] == frame(buffer[0]));
            assert!(returned.insert(buffer[0]), "frame {} came twice", buffer[0]);
            idle = 0;
        }
        relax()?;
    }
    assert!(returned.is_superset(&BTreeSet::from([4, 5, 6])), "{returned:?}");
    // A frame that the backend did not take is counted. The network can lose what the backend took
    // before a restore, and nothing of a cancelled suspend.
    assert!(network.sent() + net.lost() >= 6, "{} sent, {} lost", network.sent(), net.lost());
    assert!(!cancelled || returned.len() == 6 && net.lost() == 0, "{returned:?}");
    net.close(&mut world.store)?;
    world.pages = detached(lent);
    Ok(world)
}

#[test]
fn frames_that_a_restore_loses_are_counted() {
    for cancelled in [false, true] {
        for faults in [FaultRates::none(), FaultRates::new(), FaultRates::storm()] {
            for_each_seed(4, |seed| {
                let (mirror, rates) = (mirror(), rates(cancelled, faults));
                let network = mirror.clone();
                run(seed, rates, mirror, 10, move |world| use_network(world, &network, cancelled))
            });
        }
    }
}
