//! What the targets put in place of a machine: pages that the HAL shares with the other side, the
//! other side at work between two accesses to them, and a scripted hypervisor.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use xen_hal::grant::PageMemory;
use xen_hal::hypercall::Hypercall;
use xen_hal::platform::{AddressSpace, Frame, PAGE_SHIFT, PAGE_SIZE};
use xen_pac::access::before_each;

/// Consecutive pages, each of which can hold any block.
const PAGES: usize = 12;

thread_local! {
    static FIRST: NonNull<PageMemory> = {
        let pages: Box<[PageMemory]> = (0..PAGES).map(|_| PageMemory::new()).collect();
        NonNull::from(Box::leak(pages)).cast()
    };
    static OTHER: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    static RESTORES: Cell<u32> = const { Cell::new(0) };
}

/// The page at an index. It is allocated for ever; each target decides what uses it.
pub(crate) fn page<T>(index: usize) -> NonNull<T> {
    assert!(index < PAGES && size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE);
    // SAFETY: the page is one of those that were allocated.
    unsafe { FIRST.with(|first| *first).add(index) }.cast()
}

/// Makes every byte of every page zero. No reference into the pages may exist.
pub(crate) fn clear() {
    // SAFETY: the pages are allocated, and the caller ensures that they are not borrowed.
    unsafe { FIRST.with(|first| *first).write_bytes(0, PAGES) };
}

/// A hypervisor that answers each hypercall by a function of its number and arguments.
pub(crate) struct Fake<'a>(pub(crate) Box<Answer<'a>>);
type Answer<'a> = dyn Fn(u32, &[usize]) -> isize + 'a;

// SAFETY: the functions of this crate write only to what the arguments give to Xen, and to shared
// memory. Their answers lie, but name no memory: the operations that use what an answer names are
// given memory that exists.
unsafe impl Hypercall for Fake<'_> {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        (self.0)(number, &[a, b, c, d, e])
    }

    // Each thread runs a target of its own, and so has a domain of its own.
    fn restores(&self) -> u32 {
        RESTORES.get()
    }

    fn count_restore(&self) {
        RESTORES.set(RESTORES.get().wrapping_add(1));
    }
}

impl fmt::Debug for Fake<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fake")
    }
}

/// Every address is its own physical address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity;

// SAFETY: the fakes of this crate take it so as well.
unsafe impl AddressSpace for Identity {
    fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
        Some(Frame(pointer.addr().get() as u64 >> PAGE_SHIFT))
    }
}

/// Everything is at one frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) u64);

// SAFETY: no fake looks at the frame.
unsafe impl AddressSpace for At {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        Some(Frame(self.0))
    }
}

/// Runs `work`, with `other` called before each access that a register of `xen_pac` makes
/// meanwhile, except those that `other` makes.
pub(crate) fn meanwhile<T>(other: Rc<dyn Fn()>, work: impl FnOnce() -> T) -> T {
    assert!(before_each(step), "this process has another hook");
    OTHER.set(Some(other));
    let result = work();
    OTHER.set(None);
    result
}

/// Calls the other side.
pub(crate) fn step() {
    if let Some(other) = OTHER.take() {
        other();
        OTHER.set(Some(other));
    }
}
