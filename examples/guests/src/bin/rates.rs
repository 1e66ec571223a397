//! Measures requests a second of two disks with the same content: `xvda` through xen-hal, and
//! `xvdb` through a frontend in C (`c/block.c`), in turns. The handshake is xen-hal's for both.
#![no_std]
#![no_main]

use core::fmt::Arguments;
use core::mem::ManuallyDrop;

use rt::{AnyBackend, Boot, Page, println};
use xen_hal::blk::{BlockDevice, RequestId, SECTOR_SIZE};
use xen_hal::clock::{Clock, PvClock};
use xen_hal::event::{Channel, Events};
use xen_hal::grant::{Access, GrantRefAllocator, GrantTable, Page as GrantPage};
use xen_hal::hypercall::Errno;
use xen_hal::platform::{IdentityMap, PAGE_SIZE, Tsc};
use xen_hal::ring::{DevicePage, FrontRing, Protocol};
use xen_hal::xenbus::{Frontend, Step};
use xen_hal::xenstore::Store;
use xen_hal::{Error, Xen};
use xen_pac::blkif::{BlkifRequest, BlkifResponse};
use xen_pac::xenstore::XenbusState;

rt::entry!(main);

/// The requests in flight, each of a page.
const DEPTH: usize = 8;
const TURNS: u32 = 5;
/// The requests in a turn.
const COUNT: u32 = 2000;
const PROTOCOL: &str = if cfg!(target_arch = "x86") { "x86_32-abi" } else { "x86_64-abi" };

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static PAGES: [Page; DEPTH + 1] = [const { Page::new() }; DEPTH + 1];
static TWIN_PAGES: [Page; DEPTH + 1] = [const { Page::new() }; DEPTH + 1];

type Table<'x> = GrantTable<'static, &'x AnyBackend, IdentityMap>;
type Disk<'a, 'x> = BlockDevice<'a, 'static, &'x AnyBackend, IdentityMap>;
type Content = [[u8; PAGE_SIZE]; DEPTH];

/// The C frontend's device.
#[repr(C)]
struct Twin {
    ring: *mut u8,
    table: *mut u8,
    port: u32,
    peer: u16,
    pushed: u32,
    taken: u32,
    slots: [Slot; DEPTH],
}

#[repr(C)]
struct Slot {
    page: *mut u8,
    frame: u32,
    reference: u32,
}

unsafe extern "C" {
    fn c_block_read(disk: *mut Twin, count: u32, into: *mut u8) -> bool;
}

enum Blkif {}

impl Protocol for Blkif {
    type Request = BlkifRequest;
    type Response = BlkifResponse;
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

    let (mut twin, _channel) = connect_twin(xen, &mut store, &table)?;
    let [p0, p1, p2, p3, p4, p5, p6, p7, p8] =
        PAGES.each_ref().map(|place| page(place).map(DevicePage::from));
    let mut pages = [p0?, p1?, p2?, p3?, p4?, p5?, p6?, p7?, p8?];
    let mut disk = BlockDevice::connect(xen, &mut store, "device/vbd/51712", table, &mut pages)?;

    let mut content = [[0; PAGE_SIZE]; DEPTH];
    let mut sums = [0; 2];
    println!("| turn | xen-hal | C, gcc -O2 | ratio |");
    println!("|---|---:|---:|---:|");
    for turn in 1..=TURNS {
        let start = clock.now().as_nanos();
        read(&mut disk, &mut content)?;
        let middle = clock.now().as_nanos();
        let read = checksum(&content);
        let again = clock.now().as_nanos();
        // SAFETY: the device is connected, and the content has a page for each slot.
        if !unsafe { c_block_read(&raw mut twin, COUNT, content.as_mut_ptr().cast()) } {
            return Err(Errno::EIO.into());
        }
        let turns = [middle - start, clock.now().as_nanos() - again];
        if read == 0 || read != checksum(&content) {
            return Err(Errno::EILSEQ.into());
        }
        sums = [sums[0] + turns[0], sums[1] + turns[1]];
        report(format_args!("{turn}"), COUNT, turns);
    }
    report(format_args!("all"), COUNT * TURNS, sums);
    Ok(disk.close(&mut store)?)
}

/// Prints the requests a second of both sides, from the nanoseconds of `count` requests.
fn report(turn: Arguments<'_>, count: u32, nanos: [i64; 2]) {
    let [ours, theirs] = nanos.map(|nanos| i64::from(count) * 1_000_000_000 / nanos.max(1));
    let ratio = ours * 1000 / theirs.max(1);
    println!("| {turn} | {ours} | {theirs} | {}.{:03} |", ratio / 1000, ratio % 1000);
}

/// Reads the first pages of the disk repeatedly, with a request for each in flight.
#[inline(never)]
fn read(disk: &mut Disk<'_, '_>, content: &mut Content) -> Result<(), Error> {
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

/// Takes a page of the program.
fn page(place: &'static Page) -> Result<GrantPage, Error> {
    // SAFETY: the runtime's memory is mapped to itself.
    let space = unsafe { IdentityMap::new() };
    // SAFETY: each page is taken once, and used through the value, or by the C frontend.
    Ok(unsafe { GrantPage::from_raw(&space, place.as_ptr()) }?)
}

/// Connects the disk of the C frontend. Its grants and its ring are never given back.
fn connect_twin<'x>(
    xen: &'x AnyBackend,
    store: &mut Store<'_, &'x AnyBackend>,
    table: &Table<'x>,
) -> Result<(Twin, Channel<&'x AnyBackend>), Error> {
    let mut frontend = Frontend::open(store, "device/vbd/51728")?;
    let peer = frontend.backend_domain();
    let lend = |place| -> Result<_, Error> {
        let grant = table.lend(page(place)?, peer, Access::ReadWrite);
        Ok(ManuallyDrop::new(grant.map_err(|error| error.error())?))
    };
    let slot = |place: &'static Page| -> Result<Slot, Error> {
        let (grant, address) = (lend(place)?, place.as_ptr().as_ptr());
        Ok(Slot { page: address, frame: place.frame().0 as u32, reference: grant.reference().0 })
    };
    let [ring, s0, s1, s2, s3, s4, s5, s6, s7] = TWIN_PAGES.each_ref();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = [s0, s1, s2, s3, s4, s5, s6, s7].map(slot);
    let slots = [s0?, s1?, s2?, s3?, s4?, s5?, s6?, s7?];
    let grant = ManuallyDrop::into_inner(lend(ring)?);
    let ring_ref = grant.reference();
    let ring = ManuallyDrop::new(FrontRing::<_, Blkif>::new(grant));
    let channel = Events::new(xen).alloc_unbound(peer)?;
    loop {
        match frontend.next_step(store)? {
            Step::Publish => {
                let keys = [
                    ("ring-ref", &ring_ref as _),
                    ("event-channel", &channel.port().0 as _),
                    ("protocol", &PROTOCOL as _),
                ];
                frontend.publish(store, &keys, XenbusState::INITIALISED)?;
            }
            Step::Connect => {
                frontend.switch(store, XenbusState::CONNECTED)?;
                break;
            }
            _ => return Err(Errno::EIO.into()),
        }
    }
    let twin = Twin {
        ring: ring.memory().bytes().as_ptr().as_ptr().cast(),
        table: TABLE.as_ptr().as_ptr(),
        port: channel.port().0,
        peer: peer.0,
        pushed: 0,
        taken: 0,
        slots,
    };
    Ok((twin, channel))
}
