//! Measures requests a second of two disks with the same content and of two network interfaces: one
//! of each through xen-hal, and the other through a frontend in C (`c/block.c`, `c/net.c`). The
//! handshakes are xen-hal's for all. Batches of both sides alternate, because other programs use
//! the machine, and the ratio is the median over pairs of neighbouring batches.
#![no_std]
#![no_main]

use core::fmt::Display;
use core::mem::ManuallyDrop;

use rt::{AnyBackend, Boot, Page, println};
use xen_hal::blk::{BlockDevice, RequestId, SECTOR_SIZE};
use xen_hal::clock::{Clock, PvClock};
use xen_hal::event::{Channel, Events};
use xen_hal::grant::{Access, GrantRefAllocator, GrantTable, Page as GrantPage};
use xen_hal::hypercall::Errno;
use xen_hal::net::{NetDevice, NetError};
use xen_hal::platform::{IdentityMap, PAGE_SIZE, Tsc};
use xen_hal::ring::{DevicePage, FrontRing, Protocol};
use xen_hal::xenbus::{Frontend, Step};
use xen_hal::xenstore::Store;
use xen_hal::{Error, Xen};
use xen_pac::base::Domid;
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::netif::{NetifRxRequest, NetifRxResponse, NetifTxRequest, NetifTxResponse};
use xen_pac::xenstore::XenbusState;

rt::entry!(main);

/// The requests in flight, each of a page.
const DEPTH: usize = 8;
/// The pairs of batches, and the requests in a batch.
const PAIRS: usize = 1001;
const COUNT: u32 = 32;
/// The distance in ranks from the median to the ends of its 95 % interval: 0.98 times the square
/// root of the number of pairs.
const INTERVAL: usize = 31;
const PROTOCOL: &str = if cfg!(target_arch = "x86") { "x86_32-abi" } else { "x86_64-abi" };
/// A frame of the greatest size, of a type that dom0 drops.
const FRAME: [u8; 1514] = {
    let mut frame = [0; 1514];
    (frame[12], frame[13]) = (0x88, 0xb5);
    frame
};

/// A page for a ring, and pages for requests.
type Pages = [Page; DEPTH + 1];

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static DISK: Pages = [const { Page::new() }; DEPTH + 1];
static TX: Pages = [const { Page::new() }; DEPTH + 1];
static RX: Pages = [const { Page::new() }; DEPTH + 1];
static TWIN_DISK: Pages = [const { Page::new() }; DEPTH + 1];
static TWIN_TX: Pages = [const { Page::new() }; DEPTH + 1];
static TWIN_RX: Page = Page::new();

type Backend<'x> = &'x AnyBackend;
type Table<'x> = GrantTable<'static, Backend<'x>, IdentityMap>;
type Content = [[u8; PAGE_SIZE]; DEPTH];

/// The disk of the C frontend.
#[repr(C)]
struct TwinDisk {
    ring: *mut u8,
    table: *mut u8,
    port: u32,
    peer: u16,
    pushed: u32,
    taken: u32,
    slots: [Slot; DEPTH],
}

/// The network interface of the C frontend.
#[repr(C)]
struct TwinNet {
    ring: *mut u8,
    table: *mut u8,
    port: u32,
    peer: u16,
    pushed: u32,
    taken: u32,
    idle: u32,
    slots: [Slot; DEPTH],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Slot {
    page: *mut u8,
    frame: u32,
    reference: u32,
}

unsafe extern "C" {
    fn c_block_read(disk: *mut TwinDisk, count: u32, into: *mut u8) -> bool;
    fn c_net_send(net: *mut TwinNet, count: u32, frame: *const u8, size: u16) -> bool;
}

enum Blkif {}

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
}

enum NetifTx {}

impl Protocol for NetifTx {
    type Request = NetifTxRequest;
    type Response = NetifTxResponse;
}

enum NetifRx {}

impl Protocol for NetifRx {
    type Request = NetifRxRequest;
    type Response = NetifRxResponse;
}

fn main(boot: Boot) -> Result<(), Error> {
    let xen = &boot.xen;
    let mut storage = [0; Store::STORAGE];
    // SAFETY: the runtime's memory is mapped to itself, and the ring has one owner.
    let mut store = unsafe { Store::open(xen, rt::at, &mut storage) }?;
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: the page is used for the table only, which is mapped once, and the domain is not
    // suspended.
    let table = unsafe { GrantTable::map(xen, space, TABLE.as_ptr(), &REFS, 1) }?;
    let shared = rt::map_shared_info(xen, &SHARED_INFO).map_err(|_| Errno::EINVAL)?;
    let block = shared.vcpu_info(0).ok_or(Errno::ENOENT)?;
    let clock = PvClock::new(Xen::new(xen).version().features()?, block.time(), Tsc)?;

    let (mut disk_pages, mut tx, mut rx) = (lent(&DISK)?, lent(&TX)?, lent(&RX)?);
    let mut disk =
        BlockDevice::connect(xen, &mut store, "device/vbd/51712", table, &mut disk_pages)?;
    let mut net = NetDevice::connect(xen, &mut store, "device/vif/0", table, &mut tx, &mut rx)?;
    let (mut twin_disk, _disk_channel) = connect_disk(xen, &mut store, table)?;
    let (mut twin_net, _net_channel) = connect_net(xen, &mut store, table)?;

    println!("| request | count | xen-hal/s | C/s | ratio: median | 95 % interval |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut content = [[0; PAGE_SIZE]; DEPTH];
    let mut sums = [0; 2];
    compare("read a page of a disk", &clock, |is_twin| {
        if is_twin {
            // SAFETY: the device is connected, and the content has a page for each slot.
            let done =
                unsafe { c_block_read(&raw mut twin_disk, COUNT, content.as_mut_ptr().cast()) };
            if !done {
                return Err(Errno::EIO.into());
            }
        } else {
            read(&mut disk, &mut content)?;
        }
        // The first batch of each side is not measured.
        let sum = &mut sums[usize::from(is_twin)];
        if *sum == 0 {
            *sum = checksum(&content);
            content = [[0; PAGE_SIZE]; DEPTH];
        }
        Ok(())
    })?;
    if sums[0] == 0 || sums[0] != sums[1] {
        return Err(Errno::EILSEQ.into());
    }
    compare("send a frame", &clock, |is_twin| {
        if !is_twin {
            return send(|| net.send(&FRAME));
        }
        let (net, frame, size) = (&raw mut twin_net, FRAME.as_ptr(), FRAME.len() as u16);
        // SAFETY: the device is connected, and a slot's page has room for the frame.
        let done = unsafe { c_net_send(net, COUNT, frame, size) };
        if done { Ok(()) } else { Err(Errno::EIO.into()) }
    })?;
    if net.lost() > 0 {
        return Err(Errno::EIO.into());
    }
    net.close(&mut store)?;
    Ok(disk.close(&mut store)?)
}

/// Runs batches of both sides in turns. Prints the requests a second of each, and the ratio of
/// neighbouring batches: the median, and an interval that contains it with a probability of 95 %.
fn compare(
    what: &str,
    clock: &impl Clock,
    mut batch: impl FnMut(bool) -> Result<(), Error>,
) -> Result<(), Error> {
    let now = || clock.now().as_nanos();
    // In thousandths.
    let mut ratios = [0_u32; PAIRS];
    let mut sums = [0_i64; 2];
    batch(false)?;
    batch(true)?;
    for (pair, ratio) in ratios.iter_mut().enumerate() {
        let mut nanos = [0_i64; 2];
        // Each side is the first one in every other pair.
        for turn in 0..2 {
            let side = (pair + turn) % 2;
            let start = now();
            batch(side == 1)?;
            nanos[side] = (now() - start).max(1);
            sums[side] += nanos[side];
        }
        *ratio = u32::try_from(nanos[1] * 1000 / nanos[0]).unwrap_or(u32::MAX);
    }
    ratios.sort_unstable();
    let middle = PAIRS / 2;
    let [low, median, high] = [middle - INTERVAL, middle, middle + INTERVAL].map(|at| ratios[at]);
    let all = i64::from(COUNT) * PAIRS as i64;
    let [ours, theirs] = sums.map(|nanos| all * 1_000_000_000 / nanos);
    let shown = |ratio: u32| (ratio / 1000, ratio % 1000);
    let [(l, low), (m, median), (h, high)] = [low, median, high].map(shown);
    println!(
        "| {what} | {all} | {ours} | {theirs} | {m}.{median:03} | {l}.{low:03} to {h}.{high:03} |"
    );
    Ok(())
}

/// Reads the first pages of the disk repeatedly, with a request for each in flight.
#[inline(never)]
fn read(
    disk: &mut BlockDevice<'_, 'static, Backend<'_>, IdentityMap>,
    content: &mut Content,
) -> Result<(), Error> {
    let sectors = |slot: usize| (slot * PAGE_SIZE / SECTOR_SIZE) as u64;
    let mut flight: [Option<RequestId>; DEPTH] = [None; DEPTH];
    let (mut sent, mut done) = (0, 0);
    while done < COUNT {
        for (slot, request) in flight.iter_mut().enumerate() {
            if let Some(id) = *request {
                if disk.answer(id, &mut content[slot])?.is_none() {
                    continue;
                }
                done += 1;
                *request = None;
            }
            if sent < COUNT {
                *request = Some(disk.submit_read(sectors(slot), PAGE_SIZE)?.0);
                sent += 1;
            }
        }
    }
    Ok(())
}

fn checksum(content: &Content) -> u64 {
    content.iter().flatten().fold(0, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte))
}

/// Sends a batch of frames.
#[inline(never)]
fn send(mut submit: impl FnMut() -> Result<(), NetError>) -> Result<(), Error> {
    let mut sent = 0;
    while sent < COUNT {
        match submit() {
            Ok(()) => sent += 1,
            Err(NetError::Busy) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes a page of the program.
fn page(place: &'static Page) -> Result<GrantPage, Error> {
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: each page is taken once, and used through the value, or by the C frontend.
    Ok(unsafe { GrantPage::from_raw(&space, place.as_ptr()) }?)
}

/// Takes the pages of a device.
fn lent(pages: &'static Pages) -> Result<[DevicePage<'static>; DEPTH + 1], Error> {
    let [p0, p1, p2, p3, p4, p5, p6, p7, p8] =
        pages.each_ref().map(|place| page(place).map(DevicePage::from));
    Ok([p0?, p1?, p2?, p3?, p4?, p5?, p6?, p7?, p8?])
}

/// Grants a page to a backend until the domain ends. Returns the reference.
fn grant_page(
    table: Table<'_>,
    place: &'static Page,
    peer: Domid,
    access: Access,
) -> Result<u32, Error> {
    let grant = table.lend(page(place)?, peer, access).map_err(|error| error.error())?;
    Ok(ManuallyDrop::new(grant).reference().0)
}

/// Grants a page to a backend until the domain ends, and makes a ring of it. Returns the reference.
fn grant_ring<P: Protocol>(
    table: Table<'_>,
    place: &'static Page,
    peer: Domid,
) -> Result<u32, Error> {
    let grant = table.lend(page(place)?, peer, Access::ReadWrite);
    let grant = grant.map_err(|error| error.error())?;
    let reference = grant.reference().0;
    let _ = ManuallyDrop::new(FrontRing::<_, P>::new(grant));
    Ok(reference)
}

/// Returns the slots of a C frontend, whose references the first request of each uses.
fn slots(table: Table<'_>, pages: &'static Pages, peer: Domid) -> Result<[Slot; DEPTH], Error> {
    let mut slots = [Slot { page: core::ptr::null_mut(), frame: 0, reference: 0 }; DEPTH];
    for (slot, place) in slots.iter_mut().zip(&pages[1..]) {
        *slot = Slot {
            page: place.as_ptr().as_ptr(),
            frame: place.frame().0 as u32,
            reference: grant_page(table, place, peer, Access::ReadWrite)?,
        };
    }
    Ok(slots)
}

/// Publishes a frontend's rings, and waits until the backend uses them.
fn handshake(
    mut frontend: Frontend<'_>,
    store: &mut Store<'_, Backend<'_>>,
    keys: &[(&str, &dyn Display)],
    state: XenbusState,
) -> Result<(), Error> {
    loop {
        match frontend.next_step(store)? {
            Step::Publish => frontend.publish(store, keys, state)?,
            Step::Connect => return Ok(frontend.switch(store, XenbusState::CONNECTED)?),
            Step::Ready => return Ok(()),
            _ => return Err(Errno::EIO.into()),
        }
    }
}

/// Connects the disk of the C frontend.
fn connect_disk<'x>(
    xen: Backend<'x>,
    store: &mut Store<'_, Backend<'x>>,
    table: Table<'x>,
) -> Result<(TwinDisk, Channel<Backend<'x>>), Error> {
    let frontend = Frontend::open(store, "device/vbd/51728")?;
    let peer = frontend.backend_domain();
    let [ring, ..] = &TWIN_DISK;
    let (reference, slots) =
        (grant_ring::<Blkif>(table, ring, peer)?, slots(table, &TWIN_DISK, peer)?);
    let channel = Events::new(xen).alloc_unbound(peer)?;
    let keys: [(&str, &dyn Display); 3] =
        [("ring-ref", &reference), ("event-channel", &channel.port().0), ("protocol", &PROTOCOL)];
    handshake(frontend, store, &keys, XenbusState::INITIALISED)?;
    let twin = TwinDisk {
        ring: ring.as_ptr().as_ptr(),
        table: TABLE.as_ptr().as_ptr(),
        port: channel.port().0,
        peer: peer.0,
        pushed: 0,
        taken: 0,
        slots,
    };
    Ok((twin, channel))
}

/// Connects the network interface of the C frontend, which receives nothing.
fn connect_net<'x>(
    xen: Backend<'x>,
    store: &mut Store<'_, Backend<'x>>,
    table: Table<'x>,
) -> Result<(TwinNet, Channel<Backend<'x>>), Error> {
    let frontend = Frontend::open(store, "device/vif/1")?;
    let peer = frontend.backend_domain();
    let [ring, ..] = &TWIN_TX;
    let (tx, rx) =
        (grant_ring::<NetifTx>(table, ring, peer)?, grant_ring::<NetifRx>(table, &TWIN_RX, peer)?);
    let slots = slots(table, &TWIN_TX, peer)?;
    let channel = Events::new(xen).alloc_unbound(peer)?;
    let keys: [(&str, &dyn Display); 5] = [
        ("tx-ring-ref", &tx),
        ("rx-ring-ref", &rx),
        ("event-channel", &channel.port().0),
        ("request-rx-copy", &1),
        ("feature-no-csum-offload", &1),
    ];
    handshake(frontend, store, &keys, XenbusState::CONNECTED)?;
    let twin = TwinNet {
        ring: ring.as_ptr().as_ptr(),
        table: TABLE.as_ptr().as_ptr(),
        port: channel.port().0,
        peer: peer.0,
        pushed: 0,
        taken: 0,
        idle: (1 << DEPTH) - 1,
        slots,
    };
    Ok((twin, channel))
}
