//! Memory that the HAL shares with the other side, and the other side at work between two accesses
//! to it.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use xen_hal::grant::PageMemory;
use xen_hal::platform::{AddressSpace, Frame, PAGE_SHIFT, PAGE_SIZE};
use xen_pac::access::before_each;

/// Consecutive pages, each of which can hold any block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    first: NonNull<PageMemory>,
    count: usize,
}

// SAFETY: it is an address; that nobody else uses the memory is each user's business.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    pub(crate) fn leak(count: usize) -> Self {
        let pages: Box<[PageMemory]> = (0..count).map(|_| PageMemory::new()).collect();
        Self { first: NonNull::from(Box::leak(pages)).cast(), count }
    }

    /// The page at an index.
    pub(crate) fn at<T>(self, index: usize) -> NonNull<T> {
        assert!(index < self.count && size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE);
        // SAFETY: the page is one of those that were allocated.
        unsafe { self.first.add(index) }.cast()
    }

    /// Makes every byte zero. Nobody may have a reference into the pages.
    pub(crate) fn clear(self) {
        // SAFETY: the pages are allocated, and the caller ensures that they are not
        // borrowed.
        unsafe { self.first.write_bytes(0, self.count) };
    }
}

/// Every address is its own physical address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity;

// SAFETY: the hypervisors of this crate take it so as well.
unsafe impl AddressSpace for Identity {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        Some(Frame(pointer.addr().get() as u64 >> PAGE_SHIFT))
    }
}

/// Everything is at one frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) u64);

// SAFETY: nobody looks at the frame.
unsafe impl AddressSpace for At {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        Some(Frame(self.0))
    }
}

thread_local! {
    static OTHER: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Runs `work`, with `other` called before each access that a register of `xen_pac` makes
/// meanwhile; its own are not among them.
pub(crate) fn meanwhile<T>(other: Rc<dyn Fn()>, work: impl FnOnce() -> T) -> T {
    assert!(before_each(step), "this process has another hook");
    OTHER.set(Some(other));
    let result = work();
    OTHER.set(None);
    result
}

/// Calls the other side.
pub(crate) fn step() {
    // Taken out for as long as it runs, so that what it does itself calls nobody.
    if let Some(other) = OTHER.take() {
        other();
        OTHER.set(Some(other));
    }
}
