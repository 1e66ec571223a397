//! Who writes the time block, as the input says: step by step, between any two accesses of the one
//! who reads it.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::platform::Counter;
use xen_pac::shared_info::{VcpuTimeInfo, VcpuTimeInfoSnapshot, raw};

use crate::hook;
use crate::input::Input;
use crate::pages::Pages;

thread_local! {
    static PAGE: Pages = Pages::leak(1);
}

/// The other side, and the counter.
#[derive(Debug)]
pub(super) struct Xen {
    input: Rc<Input>,
    page: NonNull<raw::VcpuTimeInfo>,
    /// What the block holds, and what it is to hold when the update has ended that is under way.
    time: Cell<VcpuTimeInfoSnapshot>,
    next: Cell<Option<VcpuTimeInfoSnapshot>>,
    ticks: Cell<u64>,
}

impl Xen {
    pub(super) fn new(input: &Rc<Input>) -> Rc<Self> {
        let page = PAGE.with(|page| {
            page.clear();
            page.at(0)
        });
        let xen = Self {
            input: input.clone(),
            page,
            time: Cell::new(any_time(input)),
            next: Cell::new(None),
            ticks: Cell::new(0),
        };
        xen.begin(xen.time.get());
        xen.finish();
        Rc::new(xen)
    }

    pub(super) fn block(&self) -> VcpuTimeInfo<'static> {
        // SAFETY: the page stays, and this side touches it only between the accesses of the other.
        unsafe { VcpuTimeInfo::from_ptr(self.page) }
    }

    /// The values of the last update.
    pub(super) fn time(&self) -> VcpuTimeInfoSnapshot {
        self.time.get()
    }

    /// What the counter was last read as.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.get()
    }

    pub(super) fn is_writing(&self) -> bool {
        self.next.get().is_some()
    }

    /// Goes on with an update, begins one, or does neither.
    pub(super) fn act(&self) {
        if self.is_writing() {
            if self.input.byte() % 2 == 0 {
                self.finish();
            }
        } else if self.input.byte() % 8 == 7 {
            self.begin(any_time(&self.input));
        }
    }

    /// The first half of an update.
    fn begin(&self, time: VcpuTimeInfoSnapshot) {
        self.version().fetch_add(1, Ordering::SeqCst);
        // SAFETY: the block is there, and nobody is in the middle of an access.
        let block = unsafe { &mut *self.page.as_ptr() };
        (block.tsc_timestamp, block.tsc_shift, block.flags) =
            (time.tsc_timestamp, time.tsc_shift, time.flags);
        self.next.set(Some(time));
    }

    /// The second half.
    fn finish(&self) {
        let Some(time) = self.next.take() else { return };
        // SAFETY: as above.
        let block = unsafe { &mut *self.page.as_ptr() };
        (block.system_time, block.tsc_to_system_mul) = (time.system_time, time.tsc_to_system_mul);
        self.version().fetch_add(1, Ordering::SeqCst);
        self.time.set(time);
    }

    fn version(&self) -> &AtomicU32 {
        // SAFETY: the page is valid, and the version is its first word.
        unsafe { self.page.cast().as_ref() }
    }
}

/// Is read after whatever else happens in that moment.
impl Counter for Xen {
    fn read(&self) -> u64 {
        hook::step();
        self.ticks.set(self.input.number());
        self.ticks.get()
    }
}

fn any_time(input: &Input) -> VcpuTimeInfoSnapshot {
    VcpuTimeInfoSnapshot {
        tsc_timestamp: input.number(),
        system_time: input.number(),
        tsc_to_system_mul: input.number() as u32,
        tsc_shift: input.byte() as i8,
        flags: input.byte(),
    }
}

/// A counter that stands.
pub(super) struct Fixed(pub(super) u64);

impl Counter for Fixed {
    fn read(&self) -> u64 {
        self.0
    }
}
