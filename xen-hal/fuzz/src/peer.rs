//! What the targets of rings share: pages that a peer writes to, and a hypervisor under which the
//! peer acts at each yield.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::event::Port;
use xen_hal::grant::PageMemory;
use xen_hal::ring::{RingPage, YieldWait};
use xen_hal::xenstore::Store;
use xen_pac::hypercall::HypercallNr;
use xen_pac::xenstore::XenstoreDomainInterface;

use crate::fake::{Fake, page};
use crate::input::Input;

/// The maximum number of steps of a run. More show nothing new, and cost time.
pub(crate) const STEPS: usize = 48;
/// The number of yields after which an operation gives up.
pub(crate) const ATTEMPTS: u32 = 40;
pub(crate) const PORT: Port = Port(1);
const WORDS: usize = 1024;

/// A shared page, which the input may change at any time.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) usize);

// SAFETY: the page is allocated for ever, and used by the two ends of a ring on one thread.
unsafe impl RingPage for Shared {
    fn page(&self) -> NonNull<PageMemory> {
        page(self.0)
    }
}

impl Shared {
    pub(crate) fn word(self, index: usize) -> &'static AtomicU32 {
        // SAFETY: the index is below the number of words of a page.
        let word = unsafe { page::<AtomicU32>(self.0).add(index % WORDS) };
        // SAFETY: the page is never freed, and all of it is accessed by atomics.
        unsafe { word.as_ref() }
    }

    /// Changes some words of the page, often those at `indices`. Returns whether it changed any.
    pub(crate) fn scribble(self, input: &Input, indices: &[usize]) -> bool {
        let count = input.below(4);
        for _ in 0..count {
            let word = match input.below(4) {
                0 => usize::from(input.u16()),
                other => indices[other % indices.len()],
            };
            let near = self.word(word).load(Ordering::Relaxed).wrapping_add(input.byte().into());
            let value = if input.below(2) == 0 { near } else { input.number() as u32 };
            self.word(word).store(value, Ordering::Relaxed);
        }
        count > 0
    }
}

/// A hypervisor that answers 0 to every hypercall, and has the peer act at each yield.
pub(crate) struct Xen<'a> {
    pub(crate) fake: Fake<'a>,
    yields: Rc<Cell<u32>>,
}

impl<'a> Xen<'a> {
    pub(crate) fn new(peer: impl FnMut() + 'a) -> Self {
        let (yields, peer) = (Rc::new(Cell::new(0)), RefCell::new(peer));
        let count = yields.clone();
        let fake = Fake(Box::new(move |number, _| {
            if number == HypercallNr::SCHED_OP.0 {
                count.set(count.get() + 1);
                (peer.borrow_mut())();
            }
            0
        }));
        Self { fake, yields }
    }

    /// Returns what `work` returns, after at most as many yields as `operations` that wait.
    pub(crate) fn patiently<T>(&self, operations: u32, work: impl FnOnce() -> T) -> T {
        let before = self.yields.get();
        let result = work();
        let waited = self.yields.get() - before;
        let limit = operations * (ATTEMPTS + 1);
        assert!(waited <= limit, "{waited} yields in {operations} operations");
        result
    }

    /// Waits for a number of yields.
    pub(crate) fn wait(&self) -> YieldWait<&Fake<'a>> {
        YieldWait::new(&self.fake).attempts(ATTEMPTS)
    }

    /// Runs `work` with a store whose ring is in page 0.
    pub(crate) fn with_store(&self, storage: usize, work: impl FnOnce(&mut Store<'_, &Fake<'a>>)) {
        let mut storage = vec![0; storage];
        // SAFETY: the page is used by this store, and by the server on the same thread.
        let ring = unsafe { XenstoreDomainInterface::from_ptr(page(0)) };
        let store = Store::over_ring(&self.fake, ring, PORT, &mut storage);
        work(&mut store.with_wait(self.wait()));
    }
}
