//! Xenstore, a disk and a network interface as futures, in a guest of a simulated control domain.
//! Futures are dropped at random. There is no tick, so after a lost wakeup the machine comes to
//! rest, which is a failure.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use aligned::{A1, Aligned};
use block_device_driver::BlockDevice as BlockDriver;
use embassy_net_driver::{Driver, LinkState, RxToken as _, TxToken as _};
use embassy_time::{Duration, TimeoutError, with_timeout};
use embedded_io_async::{Read, Write};
use xen_hal::Xen;
use xen_hal::blk::{AsyncBlockDevice, BlockDevice, BlockError, SECTOR_SIZE};
use xen_hal::console::{AsyncConsole, Console};
use xen_hal::grant::{GrantRefAllocator, GrantTable, Page};
use xen_hal::net::{AsyncNetDevice, Link, NetDevice};
use xen_hal::platform::VcpuId;
use xen_hal::ring::DevicePage;
use xen_hal::xenstore::{AsyncStore, AsyncTree, Store, StoreError, WatchEvent};
use xen_sim::backend::{BackendFault, Device, Disk, Dom0, Network};
use xen_sim::{
    DomainConfig, DomainSpace, FaultRates, Guest, Hypervisor, Machine, Profile, for_each_seed,
    runs_all_seeds,
};

use crate::port::{EVENTS, WAKERS, run, spawn, spawn_background, start};

type Table = GrantTable<'static, Hypervisor, DomainSpace>;
type GuestStore = Store<'static, Hypervisor>;
type GuestDisk = AsyncBlockDevice<'static, 'static, Hypervisor, DomainSpace>;
type Problem = Box<dyn Error>;

const VCPU: VcpuId = VcpuId(0);
/// Pages of the guest: of the grant table, and the first one for devices.
const TABLE: usize = 1;
const PAGES: usize = 2;

/// Runs a guest with each of some seeds.
fn storm(seeds: u64, device: fn() -> Option<Device>, kernel: fn(Guest) -> Result<(), Problem>) {
    for_each_seed(seeds, |seed| {
        let rates = FaultRates { stolen_time: 0, ..FaultRates::storm() };
        let (dom0, mut machine) = (Dom0::new(), Machine::new(Profile::DOM0, seed)?);
        machine = machine.fault_rates(rates);
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        let guest = machine.domain(DomainConfig::domu(), kernel)?;
        if let Some(device) = device() {
            dom0.attach(guest, device);
        }
        Ok(machine.run()?)
    });
}

/// Leaks a value: the tasks have it as long as the machine runs.
fn keep<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}

fn open_store(guest: Guest) -> Result<GuestStore, StoreError> {
    let storage = keep([0; Store::STORAGE]);
    // SAFETY: the ring has one owner, as long as the machine runs.
    unsafe { Store::open(guest.xen(), |frame| guest.frame(frame), storage) }
}

fn memory(guest: Guest, count: usize) -> Result<(Table, Vec<DevicePage<'static>>), Problem> {
    let (space, refs) = (guest.space(), keep(GrantRefAllocator::<1>::new()));
    let place = guest.page(TABLE).cast();
    // SAFETY: the page is the table's alone, and nothing of it is used after the run.
    let table = unsafe { GrantTable::map(guest.xen(), space, place, refs, 1) }?;
    let page = |index| {
        // SAFETY: the page is the value's alone.
        unsafe { Page::from_raw(&space, guest.page(PAGES + index).cast()) }.map(DevicePage::from)
    };
    Ok((table, (0..count).map(page).collect::<Result<_, _>>()?))
}

/// A wait that can end before anything happens.
fn patience(guest: Guest) -> Duration {
    Duration::from_nanos(guest.random() % 40_000)
}

fn browse(guest: Guest) -> Result<(), Problem> {
    start(guest)?;
    let (store, outbox) = (open_store(guest)?, keep([0; AsyncStore::OUTBOX]));
    let store = AsyncStore::new(store, outbox, WAKERS.get(), EVENTS.get(), VCPU)?;
    let store: &'static AsyncStore<'_, Hypervisor> = keep(store);
    run(guest, |spawner| {
        spawn_background(spawner, async {
            panic!("{}", store.run().await);
        });
        for task in 0..3 {
            spawn(spawner, async move {
                let (path, mut done) = (format!("data/{task}"), 0);
                while done < 6 {
                    let work = async {
                        store.write(path.as_str(), vec![b'0' + done; 700]).await?;
                        let mut buffer = [0; 1000];
                        let found = store.read(path.as_str(), &mut buffer).await?;
                        assert_eq!(found, [b'0' + done; 700]);
                        let visits = store.transaction(async |tree| {
                            let visits = tree.read_number("data/visits").await.unwrap_or(0);
                            tree.write_number("data/visits", visits + 1).await?;
                            Ok::<u32, StoreError>(visits + 1)
                        });
                        assert!(visits.await? > 0);
                        let mut watch = store.watch(path.as_str()).await?;
                        assert!(matches!(watch.next().await, Some(WatchEvent::Changed(_))));
                        Ok::<(), StoreError>(())
                    };
                    let result = with_timeout(patience(guest) * 10, work).await;
                    assert!(matches!(result, Ok(Ok(())) | Err(TimeoutError)), "{result:?}");
                    done += u8::from(result.is_ok() || guest.random() % 4 == 0);
                }
                store.write(path.as_str(), "end").await.expect("the store works");
            });
        }
        spawn(spawner, async move {
            let mut ends = store.watch("data").await.expect("the store works");
            let mut left: Vec<_> = (0..3).map(|task| format!("data/{task}")).collect();
            while !left.is_empty() {
                assert!(ends.next().await.is_some());
                let mut buffer = [0; 1000];
                let mut index = 0;
                while index < left.len() {
                    match store.read_str(left[index].as_str(), &mut buffer).await {
                        Ok("end") => drop(left.remove(index)),
                        _ => index += 1,
                    }
                }
            }
        });
    })?;
    Ok(())
}

#[test]
fn no_wakeup_of_the_store_is_lost() {
    storm(12, || None, browse);
}

/// Repeats an operation, with a limit of polls that starts at one and grows until it completes.
/// Returns its result, and the number of times that it was dropped.
async fn repeated<T>(mut operation: impl AsyncFnMut() -> T) -> (T, u32) {
    for polls in 1.. {
        if let Some(result) = polled(polls, operation()).await {
            return (result, polls - 1);
        }
    }
    unreachable!("the range does not end")
}

/// Writes to the console's ring, and echoes keys, while each operation is dropped at each wait.
fn converse(guest: Guest) -> Result<(), Problem> {
    start(guest)?;
    // SAFETY: the ring has one owner, as long as the machine runs.
    let console = unsafe { Console::open(guest.xen(), |frame| guest.frame(frame)) }?;
    let mut console = AsyncConsole::new(console, WAKERS.get(), EVENTS.get(), VCPU)?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            let (mut keys, mut dropped) = (letters(WRITTEN), [0; 2]);
            let mut from = 0;
            while keys.len() < WRITTEN + TYPED {
                let mut buffer = [0; 700];
                let (read, drops) = repeated(async || console.read(&mut buffer).await).await;
                dropped[0] += drops;
                keys.extend(&buffer[..read.expect("the console reads")]);
                while from < keys.len() {
                    let (count, drops) =
                        repeated(async || console.write(&keys[from..]).await).await;
                    dropped[1] += drops;
                    from += count.expect("the console writes");
                }
            }
            // A console that is taken back continues.
            let (console, events) = (console.into_console(), EVENTS.get());
            let mut console = AsyncConsole::new(console, WAKERS.get(), events, VCPU)
                .expect("the port has no listener");
            let (count, drops) = repeated(async || console.write(LAST).await).await;
            dropped[1] += drops;
            assert_eq!(count, Ok(LAST.len()));
            let (flushed, drops) = repeated(async || console.flush().await).await;
            flushed.expect("the console writes");
            DROPPED_FLUSHES.fetch_add(drops, Ordering::Relaxed);
            assert!(dropped.iter().all(|dropped| *dropped > 0), "{dropped:?}");
        });
    })?;
    Ok(())
}

/// More bytes than each of the console's rings holds.
const WRITTEN: usize = 6000;
const TYPED: usize = 3000;
/// The bytes before the flush.
const LAST: &[u8] = b"end";

/// Flushes that were dropped, with all seeds.
static DROPPED_FLUSHES: AtomicU32 = AtomicU32::new(0);

fn letters(count: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(count).collect()
}

#[test]
fn a_console_operation_can_be_dropped_at_each_await_point() {
    for_each_seed(8, |seed| {
        let rates = FaultRates { stolen_time: 0, ..FaultRates::storm() };
        let (dom0, mut machine) = (Dom0::new(), Machine::new(Profile::DOM0, seed)?);
        machine = machine.fault_rates(rates);
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        let guest = machine.domain(DomainConfig::domu(), converse)?;
        dom0.type_in(guest, letters(TYPED));
        let report = machine.run()?;
        let expected = [&letters(WRITTEN), &letters(TYPED), LAST].concat();
        assert!(dom0.printed(guest).as_bytes() == expected);
        Ok(report)
    });
    assert!(!runs_all_seeds() || DROPPED_FLUSHES.load(Ordering::Relaxed) > 0);
}

const DISK: &str = "device/vbd/51712";
const SECTORS: usize = 64;

fn open_disk(guest: Guest, pages: usize) -> Result<GuestDisk, Problem> {
    let (mut store, (table, pages)) = (open_store(guest)?, memory(guest, pages)?);
    let disk = BlockDevice::connect(guest.xen(), &mut store, DISK, table, keep(pages))?;
    Ok(AsyncBlockDevice::new(disk, WAKERS.get(), EVENTS.get(), VCPU)?)
}

fn fill(guest: Guest) -> Result<(), Problem> {
    start(guest)?;
    let mut disk = open_disk(guest, 2 + guest.random() as usize % 40)?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            let whole: Vec<u8> = (0..SECTORS * SECTOR_SIZE).map(|index| index as u8).collect();
            let mut read = vec![0; whole.len()];
            for _ in 0..12 {
                let first = guest.random() as usize % SECTORS;
                let count = 1 + guest.random() as usize % (SECTORS - first);
                let range = first * SECTOR_SIZE..(first + count) * SECTOR_SIZE;
                let work = async {
                    match guest.random() % 3 {
                        0 => disk.read(first as u64, &mut read[range]).await,
                        1 => disk.write(first as u64, &whole[range]).await,
                        _ => disk.flush().await,
                    }
                };
                let result = with_timeout(patience(guest), work).await;
                assert!(matches!(result, Ok(Ok(())) | Err(TimeoutError)), "{result:?}");
            }
            disk.write(0, &whole).await.expect("the disk works");
            disk.flush().await.expect("the disk works");
            disk.read(0, &mut read).await.expect("the disk works");
            assert!(read == whole);
            // The trait, with sectors that are larger than the device's.
            let mut blocks = [Aligned::<A1, _>([0; 1024]); 3];
            let size = BlockDriver::<512>::size(&mut disk).await;
            assert_eq!(size, Ok((SECTORS * SECTOR_SIZE) as u64));
            BlockDriver::read(&mut disk, 2, &mut blocks).await.expect("the disk works");
            assert!(blocks.as_flattened_bytes() == whole[2048..5120]);
            BlockDriver::write(&mut disk, 3, &blocks[..1]).await.expect("the disk works");
            disk.read(6, &mut read[..1024]).await.expect("the disk works");
            assert!(read[..1024] == whole[2048..3072]);
            let beyond = BlockDriver::read(&mut disk, u32::MAX, &mut blocks).await;
            assert_eq!(beyond, Err(BlockError::OutOfRange));
            let mut odd = [Aligned::<A1, _>([0; 100])];
            assert_eq!(
                BlockDriver::read(&mut disk, 0, &mut odd).await,
                Err(BlockError::Misaligned)
            );
        });
    })?;
    Ok(())
}

/// The bytes of blocks.
trait Flatten {
    fn as_flattened_bytes(&self) -> Vec<u8>;
}

impl Flatten for [Aligned<A1, [u8; 1024]>] {
    fn as_flattened_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|block| **block).collect()
    }
}

#[test]
fn what_was_not_dropped_is_on_the_disk() {
    storm(12, || Some(Disk::new(SECTORS).into()), fill);
}

/// Polls a future each time that it is woken, and drops it after `polls` times.
async fn polled<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

fn drop_each(guest: Guest) -> Result<(), Problem> {
    start(guest)?;
    // Data for two pages at once, so a transfer waits several times.
    let mut disk = open_disk(guest, 3)?;
    run(guest, |spawner| {
        spawn(spawner, async move {
            let whole: Vec<u8> = (0..SECTORS * SECTOR_SIZE).map(|index| index as u8).collect();
            let mut read = vec![0; whole.len()];
            for operation in 0..3 {
                let (result, dropped) = repeated(async || match operation {
                    0 => disk.write(0, &whole).await,
                    1 => disk.read(0, &mut read).await,
                    _ => disk.flush().await,
                })
                .await;
                assert_eq!(result, Ok(()));
                assert!(operation == 2 || dropped > 2, "{dropped}");
            }
            assert!(read == whole);
        });
    })?;
    Ok(())
}

#[test]
fn a_transfer_can_be_dropped_at_each_await_point() {
    storm(4, || Some(Disk::new(SECTORS).into()), drop_each);
}

/// Uses a disk whose backend misbehaves. All pages come back.
fn suffer(guest: Guest, disk: &Disk, fault: BackendFault) -> Result<(), Problem> {
    start(guest)?;
    let (mut store, (table, pages)) = (open_store(guest)?, memory(guest, 8)?);
    let free = table.available();
    let pages: *mut Vec<DevicePage<'static>> = keep(pages);
    // SAFETY: nothing uses the reference after `run`, which ends with the task.
    let lent = unsafe { &mut *pages };
    let device = BlockDevice::connect(guest.xen(), &mut store, DISK, table, lent)?;
    let mut device = AsyncBlockDevice::new(device, WAKERS.get(), EVENTS.get(), VCPU)?;
    disk.set_fault(Some(fault));
    run(guest, |spawner| {
        spawn(spawner, async move {
            let mut data = [7; 3 * SECTOR_SIZE];
            for round in 0..10 {
                let work = async {
                    match round % 3 {
                        0 => device.write(1, &data).await,
                        1 => device.flush().await,
                        _ => device.read(2, &mut data).await,
                    }
                };
                let result = with_timeout(Duration::from_millis(1), work).await;
                let known = matches!(
                    result,
                    Ok(Ok(()) | Err(BlockError::Failed | BlockError::Broken)) | Err(TimeoutError)
                );
                assert!(known, "{fault:?} {result:?}");
            }
        });
    })?;
    disk.set_fault(None);
    // SAFETY: the reference above is no longer used.
    let mut pages = unsafe { Box::from_raw(pages) };
    // A backend unmaps the pages when it closes, or when it vanishes.
    match BlockDevice::connect(guest.xen(), &mut store, DISK, table, &mut pages) {
        Ok(disk) => disk.close(&mut store)?,
        Err(error) => assert_eq!(fault, BackendFault::Vanishes, "{error}"),
    }
    all_come_back(table, *pages, free)
}

/// Checks that no page is granted, and that every reference is free.
fn all_come_back(table: Table, pages: Vec<DevicePage<'static>>, free: u32) -> Result<(), Problem> {
    for mut page in pages {
        let mut attempts = 0;
        while let Err(in_use) = page.into_page(&table) {
            attempts += 1;
            assert!(attempts < 4000, "{in_use:?}");
            Xen::new(Hypervisor).sched().yield_now()?;
            page = in_use.ok_or("a page is lost")?.into();
        }
    }
    table.reclaim();
    assert_eq!(table.available(), free);
    Ok(())
}

#[test]
fn a_backend_that_misbehaves_blocks_nothing_and_keeps_no_page() {
    for fault in BackendFault::ALL {
        for_each_seed(2, |seed| {
            let (dom0, disk, network) = (Dom0::new(), Disk::new(SECTORS), reflector());
            let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(FaultRates::new());
            machine.domain(DomainConfig::dom0(), dom0.program())?;
            let (served, connected) = (disk.clone(), network.clone());
            let kernel = move |guest| suffer(guest, &served, fault);
            dom0.attach(machine.domain(DomainConfig::domu(), kernel)?, disk);
            let kernel = move |guest| lose(guest, &connected, fault);
            dom0.attach(machine.domain(DomainConfig::domu(), kernel)?, network);
            Ok(machine.run()?)
        });
    }
}

const FRAMES: u8 = 40;

async fn wait_for_link(net: &mut impl Driver, state: LinkState) {
    poll_fn(
        |context| {
            if net.link_state(context) == state { Poll::Ready(()) } else { Poll::Pending }
        },
    )
    .await;
}

/// Sends frames, and awaits each from the peer, while waits are dropped.
fn reflect(guest: Guest) -> Result<(), Problem> {
    start(guest)?;
    let (mut store, (table, pages)) = (open_store(guest)?, memory(guest, 12)?);
    let (tx, rx) = keep(pages).split_at_mut(6);
    let net = NetDevice::connect(guest.xen(), &mut store, "device/vif/0", table, tx, rx)?;
    let link: &'static Link = keep(Link::new());
    let net = AsyncNetDevice::new(net, WAKERS.get(), EVENTS.get(), VCPU)?;
    let mut net = net.with_link(link);
    run(guest, |spawner| {
        spawn(spawner, async move {
            for number in 0..FRAMES {
                // A permission to send that is dropped sends nothing.
                poll_fn(|context| net.transmit(context).map_or(Poll::Pending, |_| Poll::Ready(())))
                    .await;
                poll_fn(|context| match net.transmit(context) {
                    Some(token) => {
                        token.consume(60, |frame| frame.fill(number));
                        Poll::Ready(())
                    }
                    None => Poll::Pending,
                })
                .await;
                loop {
                    let received = poll_fn(|context| match net.receive(context) {
                        Some((token, _)) => Poll::Ready(token.consume(|frame| frame[59])),
                        None => Poll::Pending,
                    });
                    // There is no time limit, which would hide a lost wakeup.
                    if number % 2 == 0 {
                        assert_eq!(received.await, number);
                        break;
                    }
                    if let Ok(found) = with_timeout(patience(guest), received).await {
                        assert_eq!(found, number);
                        break;
                    }
                }
            }
            wait_for_link(&mut net, LinkState::Up).await;
            link.set_up(false);
            wait_for_link(&mut net, LinkState::Down).await;
        });
    })?;
    Ok(())
}

/// A network from which every frame comes back.
fn reflector() -> Network {
    Network::new(|frame, to_guest| {
        if !frame.is_empty() {
            to_guest.push_back(frame.to_vec());
        }
    })
}

#[test]
fn no_wakeup_of_an_interface_is_lost() {
    storm(12, || Some(reflector().into()), reflect);
}

/// Uses an interface whose backend misbehaves. All pages come back.
fn lose(guest: Guest, network: &Network, fault: BackendFault) -> Result<(), Problem> {
    const DEVICE: &str = "device/vif/0";
    start(guest)?;
    let (mut store, (table, pages)) = (open_store(guest)?, memory(guest, 12)?);
    let free = table.available();
    let pages: *mut Vec<DevicePage<'static>> = keep(pages);
    // SAFETY: nothing uses the reference after `run`, which ends with the task.
    let (tx, rx) = unsafe { &mut *pages }.split_at_mut(6);
    let net = NetDevice::connect(guest.xen(), &mut store, DEVICE, table, tx, rx)?;
    let mut net = AsyncNetDevice::new(net, WAKERS.get(), EVENTS.get(), VCPU)?;
    network.set_fault(Some(fault));
    run(guest, |spawner| {
        spawn(spawner, async move {
            for number in 0..FRAMES {
                let exchange = poll_fn(|context| {
                    if let Some(token) = net.transmit(context) {
                        token.consume(60, |frame| frame.fill(number));
                    }
                    match net.receive(context) {
                        Some((token, _)) => {
                            token.consume(|frame| assert!(frame.len() <= 1514));
                            Poll::Ready(())
                        }
                        None => Poll::Pending,
                    }
                });
                // Frames can be lost.
                let _ = with_timeout(Duration::from_micros(100), exchange).await;
            }
            let breaks = [BackendFault::WrongId, BackendFault::WrongOperation];
            if breaks.contains(&fault) {
                wait_for_link(&mut net, LinkState::Down).await;
            }
        });
    })?;
    network.set_fault(None);
    // SAFETY: the reference above is no longer used.
    let mut pages = unsafe { Box::from_raw(pages) };
    let (tx, rx) = pages.split_at_mut(6);
    match NetDevice::connect(guest.xen(), &mut store, DEVICE, table, tx, rx) {
        Ok(net) => net.close(&mut store)?,
        Err(error) => assert_eq!(fault, BackendFault::Vanishes, "{error}"),
    }
    all_come_back(table, *pages, free)
}
