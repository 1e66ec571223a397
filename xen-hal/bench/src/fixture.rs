//! Memory to measure and test in: both sides of a comparison get the same.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use xen_hal::event::{Port, PortSet, ScanCursor, TwoLevel};
use xen_hal::grant::{Access, GrantRefAllocator, GrantTable, Page, PageMemory};
use xen_hal::platform::{AddressSpace, Frame};
use xen_hal::ring::Protocol;
use xen_pac::access::Data;
use xen_pac::base::Domid;
use xen_pac::grant_table::raw as grant_raw;
use xen_pac::shared_info::{SharedInfo, VcpuInfo, VcpuTimeInfo, raw};

use crate::grant::{Table, twin};
use crate::ring::Ring;
use crate::ring::twin::Front;

/// One page, zeroed.
#[repr(align(4096))]
struct Aligned<T>(T);

fn leak<T>(value: T) -> NonNull<T> {
    NonNull::from(Box::leak(Box::new(Aligned(value)))).cast()
}

/// A time block with these values, which stays for ever.
#[must_use]
pub fn time_block(
    tsc_timestamp: u64,
    system_time: u64,
    tsc_to_system_mul: u32,
    tsc_shift: i8,
    flags: u8,
) -> NonNull<raw::VcpuTimeInfo> {
    leak(raw::VcpuTimeInfo {
        version: 2,
        tsc_timestamp,
        system_time,
        tsc_to_system_mul,
        tsc_shift,
        flags,
        ..raw::VcpuTimeInfo::ZEROED
    })
}

/// The handle of a time block.
#[must_use]
pub fn time(block: NonNull<raw::VcpuTimeInfo>) -> VcpuTimeInfo<'static> {
    // SAFETY: such blocks are leaked, and touched by handles and by the twins only, which access
    // them alike.
    unsafe { VcpuTimeInfo::from_ptr(block) }
}

/// A domain of one vCPU: shared page, the vCPU's own ports, and its cursor; for Rust or for C, as
/// needed.
pub struct Domain {
    /// The shared page.
    pub page: NonNull<raw::SharedInfo>,
    /// The vCPU's ports.
    pub own: PortSet,
    /// The same for C.
    pub own_words: Box<[AtomicU64; 64]>,
    /// Where the next scan begins.
    pub cursor: ScanCursor,
    /// The same for C.
    pub cursor_word: AtomicU32,
}

impl Default for Domain {
    fn default() -> Self {
        Self {
            page: leak(raw::SharedInfo::ZEROED),
            own: PortSet::new(),
            own_words: Box::new([const { AtomicU64::new(0) }; 64]),
            cursor: ScanCursor::new(),
            cursor_word: AtomicU32::new(0),
        }
    }
}

impl Domain {
    /// The shared page's handle.
    #[must_use]
    pub fn shared(&self) -> SharedInfo<'static> {
        // SAFETY: the page is leaked, and touched by handles and by the twins only, which access it
        // alike.
        unsafe { SharedInfo::from_ptr(self.page) }
    }

    /// The bitmaps.
    #[must_use]
    pub fn bitmaps(&self) -> TwoLevel<'static> {
        TwoLevel::new(self.shared())
    }

    /// The vCPU's block.
    #[must_use]
    pub fn vcpu(&self) -> VcpuInfo<'static> {
        self.shared().vcpu_info(0).expect("vCPU 0 has its block here")
    }

    /// Binds a port to the vCPU.
    pub fn bind(&self, port: u32) {
        self.own.insert(Port(port));
        self.own_words[port as usize / 64].fetch_or(1 << (port % 64), Ordering::Relaxed);
    }

    /// Does what the hypervisor does for an event.
    pub fn raise(&self, port: u32) {
        let (word, bit) = (port as usize / 64, 1 << (port % 64));
        let pending = self.shared().evtchn_pending(word).expect("a port of the bitmaps");
        if pending.fetch_or(bit, Ordering::SeqCst) & bit == 0 {
            self.select(port);
        }
    }

    /// Does what the hypervisor does to unmask: tells the vCPU only if the port was masked.
    pub fn unmask(&self, port: u32) {
        let (word, bit) = (port as usize / 64, 1 << (port % 64));
        let mask = self.shared().evtchn_mask(word).expect("a port of the bitmaps");
        if mask.fetch_and(!bit, Ordering::SeqCst) & bit != 0
            && self.bitmaps().is_pending(Port(port))
        {
            self.select(port);
        }
    }

    fn select(&self, port: u32) {
        if !self.bitmaps().is_masked(Port(port)) {
            self.vcpu().evtchn_pending_sel().fetch_or(1 << (port / 64), Ordering::SeqCst);
            self.vcpu().evtchn_upcall_pending().fetch_or(1, Ordering::SeqCst);
        }
    }

    /// All that the domain's memory holds of events: upcall, selector, pending and masked ports.
    #[must_use]
    pub fn state(&self) -> (u8, u64, Vec<u64>, Vec<u64>) {
        let shared = self.shared();
        let words = |word: fn(
            SharedInfo<'static>,
            usize,
        ) -> Option<xen_pac::access::Bits<'static, u64>>| {
            (0..64)
                .filter_map(|index| word(shared, index))
                .map(|word| word.load(Ordering::Relaxed))
                .collect()
        };
        let vcpu = self.vcpu();
        (
            vcpu.evtchn_upcall_pending().load(Ordering::Relaxed),
            vcpu.evtchn_pending_sel().load(Ordering::Relaxed),
            words(SharedInfo::evtchn_pending),
            words(SharedInfo::evtchn_mask),
        )
    }
}

/// Offsets of indices in a ring's page, which the backend writes.
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;

/// A ring with requests that the backend has answered, and with others that it has not. The backend
/// asks to be notified of the next request, or of a later one.
#[must_use]
pub fn ring<P: Protocol>(answered: u32, open: u32, notify: bool) -> Ring<P> {
    let grant = table(entries(1)).lend(page(1), Domid(0), Access::ReadWrite).expect("a free entry");
    let mut ring = Ring::new(grant);
    (0..answered + open).for_each(|_| ring.push(&P::Request::ZEROED).expect("a free entry"));
    let _ = ring.publish();
    let next = answered + open + if notify { 1 } else { 1000 };
    for (offset, index) in [(REQ_EVENT, next), (RSP_PROD, answered)] {
        ring.memory().bytes().store(offset, index).expect("an offset in the page");
    }
    ring
}

/// The same for C.
#[must_use]
pub fn twin_ring<P: Protocol>(answered: u32, open: u32, notify: bool) -> Front {
    let ring = ManuallyDrop::new(ring::<P>(answered, open, notify));
    let (shared, pushed) = (ring.memory().bytes().as_ptr().as_ptr(), answered + open);
    Front { shared, pushed, published: pushed, known: 0, taken: 0 }
}

struct FrameOf(u64);

// SAFETY: no hypervisor looks at the frame.
unsafe impl AddressSpace for FrameOf {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        Some(Frame(self.0))
    }
}

/// A page to lend, of that frame.
#[must_use]
pub fn page(frame: u32) -> Page {
    Page::new(&FrameOf(frame.into()), Box::leak(Box::new(PageMemory::new())))
        .expect("a frame of 32 bits")
}

/// The same for C.
#[must_use]
pub fn twin_page(frame: u32) -> twin::Page {
    twin::Page { memory: core::ptr::dangling_mut(), frame }
}

/// The pages of a grant table, in which every entry is free.
#[must_use]
pub fn entries(pages: usize) -> NonNull<grant_raw::GrantTableV1Page> {
    let pages = Box::leak(
        (0..pages).map(|_| Aligned(grant_raw::GrantTableV1Page::ZEROED)).collect::<Box<[_]>>(),
    );
    NonNull::from(pages).cast()
}

/// A table over such a page, which stays for ever.
#[must_use]
pub fn table(pages: NonNull<grant_raw::GrantTableV1Page>) -> &'static Table<'static> {
    let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
    // SAFETY: the page is leaked, and only the table uses it.
    let table = unsafe { GrantTable::mapped((), (), pages, refs, 1) };
    Box::leak(Box::new(table.expect("there is room for a page")))
}

/// The same for C.
#[must_use]
pub fn twin_table(pages: NonNull<grant_raw::GrantTableV1Page>, frames: u32) -> *mut twin::Table {
    let mut words: Box<[twin::Word]> =
        (0..frames * 512 / 32).map(|_| twin::Word { free: u32::MAX, deferred: 0 }).collect();
    words[0].free &= !0xff;
    let (length, words) = (words.len(), Box::leak(words).as_mut_ptr());
    Box::leak(Box::new(twin::Table { entries: pages.as_ptr().cast(), words, length, start: 0 }))
}
