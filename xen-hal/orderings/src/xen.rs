//! Xen's half, access by access, in the widths and the order in which Xen makes them on Arm.
//!
//! | Xen | here |
//! |---|---|
//! | `test_and_set_bit`, `test_and_clear_bit`: exclusive load, exclusive store with release, barrier | a read-modify-write with release, a `SeqCst` fence |
//! | `test_bit` | a relaxed load of 32 bits |
//! | a lock, `smp_mb` | a `SeqCst` fence |
//! | `cmpxchg`: a relaxed exchange between two `smp_mb` | the same |
//! | `clear_mask16` for guests: exclusive accesses, no barrier | a relaxed read-modify-write |
//! | `smp_wmb` | a fence with release |

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use xen_hal::hypercall::Hypercall;
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::access::atomic::{
    AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst, fence,
};
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnBindVcpu, EvtchnUnmask, command};
use xen_pac::memory::{XenAddToPhysmap, command::AddToPhysmap};
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};
use xen_pac::vcpu::{command::RegisterVcpuInfo, raw::VcpuRunstateInfo};

use crate::explore::check;

/// Xen, which has this shared page, as one vCPU calls it.
#[derive(Clone, Copy)]
pub struct Xen {
    /// The shared page.
    pub page: NonNull<raw::SharedInfo>,
    /// The vCPU that each port notifies: a word that Xen alone uses.
    pub notified: NonNull<u32>,
}

/// Taking or releasing a lock.
fn lock() {
    fence(SeqCst);
}

/// A bitmap: its first word.
#[derive(Clone, Copy)]
pub struct Bits(*mut u32);

impl Bits {
    fn word(self, bit: u32) -> (&'static AtomicU32, u32) {
        // SAFETY: the bit is within the shared page, which the scenario leaks.
        let word = unsafe { AtomicU32::from_ptr(self.0.add(bit as usize / 32)) };
        (word, 1 << (bit % 32))
    }

    fn test_and_set(self, bit: u32) -> bool {
        let (word, bit) = self.word(bit);
        let old = word.fetch_or(bit, Release);
        fence(SeqCst);
        old & bit != 0
    }

    fn test_and_clear(self, bit: u32) -> bool {
        let (word, bit) = self.word(bit);
        let old = word.fetch_and(!bit, Release);
        fence(SeqCst);
        old & bit != 0
    }

    /// Reads a bit.
    #[must_use]
    pub fn test(self, bit: u32) -> bool {
        let (word, bit) = self.word(bit);
        word.load(Relaxed) & bit != 0
    }

    /// Sets a bit, to prepare a scenario.
    pub fn set(self, bit: u32) {
        self.word(bit).0.fetch_or(self.word(bit).1, Relaxed);
    }
}

impl Xen {
    /// Creates a shared page of zeros that is never freed.
    #[must_use]
    pub fn new() -> Self {
        let page = NonNull::from(Box::leak(Box::new(raw::SharedInfo::ZEROED)));
        Self { page, notified: NonNull::from(Box::leak(Box::new(0))) }
    }

    /// Clears the page.
    pub fn reset(self) {
        // SAFETY: the memory is leaked, and no thread of a scenario runs.
        unsafe { self.page.write(raw::SharedInfo::ZEROED) };
        // SAFETY: as above.
        unsafe { self.notified.write(0) };
    }

    /// The guest's handle of the page.
    #[must_use]
    pub fn shared(self) -> SharedInfo<'static> {
        // SAFETY: the memory is leaked, and only such handles and Xen use it.
        unsafe { SharedInfo::from_ptr(self.page) }
    }

    /// The guest's handle of a vCPU's part.
    #[must_use]
    pub fn vcpu_info(self, vcpu: u32) -> VcpuInfo<'static> {
        self.shared().vcpu_info(vcpu as usize).expect("the page has this vCPU")
    }

    /// The pending bits.
    #[must_use]
    pub fn pending(self) -> Bits {
        // SAFETY: the field is within the page.
        Bits(unsafe { &raw mut (*self.page.as_ptr()).evtchn_pending }.cast())
    }

    /// The mask bits.
    #[must_use]
    pub fn mask(self) -> Bits {
        // SAFETY: the field is within the page.
        Bits(unsafe { &raw mut (*self.page.as_ptr()).evtchn_mask }.cast())
    }

    /// The selector of a vCPU.
    #[must_use]
    pub fn selector(self, vcpu: u32) -> Bits {
        // SAFETY: the field is within the page.
        let vcpu = unsafe { &raw mut (*self.page.as_ptr()).vcpu_info[vcpu as usize] };
        // SAFETY: as above.
        Bits(unsafe { &raw mut (*vcpu).evtchn_pending_sel }.cast())
    }

    /// The upcall flag of a vCPU, which Xen sets as a bit.
    #[must_use]
    pub fn upcall(self, vcpu: u32) -> Bits {
        // SAFETY: the field is within the page.
        let vcpu = unsafe { &raw mut (*self.page.as_ptr()).vcpu_info[vcpu as usize] };
        // SAFETY: as above.
        Bits(unsafe { &raw mut (*vcpu).evtchn_upcall_pending }.cast())
    }

    /// Makes a port pending for a vCPU whose word is selected: prepares a scenario.
    pub fn raise(self, port: u32, vcpu: u32) {
        self.pending().set(port);
        self.selector(vcpu).set(port / 64);
        self.upcall(vcpu).set(0);
    }

    fn notified(self) -> &'static AtomicU32 {
        // SAFETY: the memory is leaked.
        unsafe { AtomicU32::from_ptr(self.notified.as_ptr()) }
    }

    /// Selects a port's word, and raises the upcall unless it is raised.
    fn select(self, port: u32, vcpu: u32) {
        if !self.selector(vcpu).test_and_set(port / 64) {
            self.upcall(vcpu).test_and_set(0);
        }
    }

    /// `EVTCHNOP_send` by the other end.
    pub fn send(self, port: u32) {
        lock();
        if !self.pending().test_and_set(port) && !self.mask().test(port) {
            self.select(port, self.notified().load(Relaxed));
        }
        lock();
    }

    /// `EVTCHNOP_unmask`.
    fn unmask(self, port: u32) {
        lock();
        if self.mask().test_and_clear(port) && self.pending().test(port) {
            self.select(port, self.notified().load(Relaxed));
        }
        lock();
    }

    /// `EVTCHNOP_bind_vcpu`.
    fn bind_vcpu(self, vcpu: u32) {
        lock();
        self.notified().store(vcpu, Relaxed);
        lock();
    }
}

impl Default for Xen {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: the commands below do what Xen does, and others succeed without an effect on memory.
unsafe impl Hypercall for Xen {
    unsafe fn call5(
        &self,
        hypercall: u32,
        a: usize,
        b: usize,
        c: usize,
        _: usize,
        _: usize,
    ) -> isize {
        /// Returns the argument at an address.
        fn argument<T: Copy>(address: usize) -> T {
            // SAFETY: the hypercall's argument is of the type of its command.
            unsafe { std::ptr::with_exposed_provenance::<T>(address).read() }
        }
        fn is<C: Command>(_: C, hypercall: u32, number: usize) -> bool {
            (C::HYPERCALL, C::NUMBER as usize) == (hypercall, number)
        }
        if is(command::Unmask, hypercall, a) {
            self.unmask(argument::<EvtchnUnmask>(b).port);
        } else if is(command::BindVcpu, hypercall, a) {
            self.bind_vcpu(argument::<EvtchnBindVcpu>(b).vcpu);
        } else if is(AddToPhysmap, hypercall, a) {
            // The page of the grant table that Xen maps holds no grant. That it is there is a write
            // that nothing orders.
            MAPPINGS.set(MAPPINGS.get() + 1);
            let frame = argument::<XenAddToPhysmap>(b).gpfn as usize;
            let flags = std::ptr::with_exposed_provenance_mut(FRAMES.with_borrow(|all| all[frame]));
            // SAFETY: the first entry of a page that the scenario leaks.
            unsafe { AtomicU16::from_ptr(flags) }.store(0, Relaxed);
        } else if is(RegisterVcpuInfo, hypercall, a) {
            check(b == 1 && c != 0, "an area is registered for another vCPU than before");
        }
        0
    }
}

thread_local! {
    /// How many pages of grant tables Xen has mapped.
    static MAPPINGS: Cell<usize> = const { Cell::new(0) };
    /// The page of each frame.
    static FRAMES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Returns how many pages of grant tables Xen has mapped since the last call.
pub fn take_mappings() -> usize {
    MAPPINGS.take()
}

/// An address space with a frame for each page that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Space;

// SAFETY: Xen's half uses the same frames.
unsafe impl AddressSpace for Space {
    fn frame_of(&self, page: NonNull<u8>) -> Option<Frame> {
        let address = page.expose_provenance().get();
        FRAMES.with_borrow_mut(|frames| {
            let known = frames.iter().position(|known| *known == address);
            let frame = known.unwrap_or(frames.len());
            if known.is_none() {
                frames.push(address);
            }
            Some(Frame(frame as u64))
        })
    }
}

/// A grant entry of version 1: its two words.
#[derive(Clone, Copy)]
pub struct Entry(pub *mut u32);

/// The flags of an entry whose page the peer has mapped for reading and writing.
const IN_USE: u32 = 1 << 3 | 1 << 4;

impl Entry {
    /// Maps the page for a domain, for writing. Returns the frame.
    #[must_use]
    pub fn map(self, domain: u32) -> Option<u32> {
        // SAFETY: the entry's first word, of a table that the scenario leaks.
        let header = unsafe { AtomicU32::from_ptr(self.0) };
        lock();
        let mut seen = header.load(Relaxed);
        for _ in 0..2 {
            let (permits, read_only) = (seen & 3 == 1, seen & 4 != 0);
            if !permits || read_only || seen >> 16 != domain {
                return None;
            }
            fence(SeqCst);
            let exchanged = header.compare_exchange(seen, seen | IN_USE, Relaxed, Relaxed);
            fence(SeqCst);
            match exchanged {
                // SAFETY: the entry's second word.
                Ok(_) => return Some(unsafe { AtomicU32::from_ptr(self.0.add(1)) }.load(Relaxed)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Unmaps the page: a barrier completes the flush of the TLB, then the flags are cleared.
    pub fn unmap(self) {
        fence(SeqCst);
        // SAFETY: the flags are the entry's first 16 bits.
        let flags = unsafe { AtomicU16::from_ptr(self.0.cast()) };
        flags.fetch_and(!(IN_USE as u16), Relaxed);
    }
}

/// Writes a time block whose fields are all `value`: `version` is odd meanwhile.
pub(crate) fn write_time(block: *mut raw::VcpuTimeInfo, version: u32, value: u64) {
    // SAFETY: the fields are within a block that the scenario leaks.
    let (counter, stamp, time) = unsafe {
        let counter = AtomicU32::from_ptr(&raw mut (*block).version);
        let stamp = AtomicU64::from_ptr(&raw mut (*block).tsc_timestamp);
        (counter, stamp, AtomicU64::from_ptr(&raw mut (*block).system_time))
    };
    counter.store(version | 1, Relaxed);
    fence(Release);
    stamp.store(value, Relaxed);
    time.store(value, Relaxed);
    fence(Release);
    counter.store((version | 1) + 1, Relaxed);
}

/// Writes a runstate area as `VMASST_TYPE_runstate_update_flag` requests: the entry time is marked
/// meanwhile.
pub(crate) fn write_runstate(block: *mut VcpuRunstateInfo, value: u64) {
    const MARK: u64 = 1 << 63;
    // SAFETY: the fields are within an area that the scenario leaks.
    let (entry, spent) = unsafe {
        let entry = AtomicU64::from_ptr(&raw mut (*block).state_entry_time);
        (entry, AtomicU64::from_ptr((&raw mut (*block).time).cast()))
    };
    entry.store(value | MARK, Relaxed);
    fence(Release);
    spent.store(value, Relaxed);
    fence(Release);
    entry.store(value, Relaxed);
}

/// The console's backend: publishes one byte of input, and overwrites it once it is consumed.
pub(crate) fn produce_input(index: *mut u32, consumed: *mut u32, byte: *mut u8) {
    // SAFETY: the fields are those of a ring that the scenario leaks.
    let (index, consumed, byte) = unsafe {
        (AtomicU32::from_ptr(index), AtomicU32::from_ptr(consumed), AtomicU8::from_ptr(byte))
    };
    byte.store(b'1', Relaxed);
    fence(SeqCst);
    index.store(1, Relaxed);
    let taken = consumed.load(Relaxed);
    fence(SeqCst);
    if taken == 1 {
        byte.store(b'2', Relaxed);
    }
}
