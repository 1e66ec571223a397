//! Grants, rings, and the blocks that Xen updates.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use xen_hal::grant::{
    Access, DeferredGrant, Grant, GrantError, GrantRefAllocator, GrantTable, Page, PageMemory,
};
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{AddressSpace, VcpuId};
use xen_hal::ring::{
    BackRing, ByteConsumer, ByteProducer, ByteRing, FrontRing, Protocol, RingPage,
};
use xen_hal::vcpu::{Area, UpdateFlag, Vcpu};
use xen_pac::access::atomic::{
    AtomicU8, AtomicU16, AtomicU32,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use xen_pac::base::Domid;
use xen_pac::console_ring::{XenconsInterface, raw as console};
use xen_pac::grant_table::raw::GrantTableV1Page;
use xen_pac::shared_info::{VcpuTimeInfo, raw};

use super::{BOUNDS, Run, leak};
use crate::explore::{Scenario, check};
use crate::machine::Bounds;
use crate::xen::{Entry, Space, Xen, produce_input, take_mappings, write_runstate, write_time};

type Table = GrantTable<'static, Xen, Space>;

/// The first reference that is allocated, and the first one of the second page.
const FIRST: usize = 8;
const SECOND_PAGE: usize = 512;

/// Two pages, aligned.
#[repr(C, align(4096))]
struct Pages([GrantTableV1Page; 2]);

/// A domain with a grant table, and a page that it grants.
struct Lender {
    xen: Xen,
    pages: NonNull<Pages>,
    refs: NonNull<GrantRefAllocator<2>>,
    page: NonNull<PageMemory>,
    table: Cell<Option<Table>>,
    grant: Cell<Option<Grant<'static>>>,
}

impl Lender {
    fn new() -> Self {
        Self {
            xen: Xen::new(),
            pages: NonNull::from(leak(Pages([GrantTableV1Page::ZEROED; 2]))),
            refs: NonNull::from(leak(GrantRefAllocator::new())),
            page: NonNull::from(leak(PageMemory::new())),
            table: Cell::new(None),
            grant: Cell::new(None),
        }
    }

    /// Creates a table of `frames` pages. The entries of a page that is not mapped read as ones.
    fn reset(&self, frames: u32) {
        std::mem::forget(self.grant.take());
        // SAFETY: the memory is leaked, and no thread of a scenario runs.
        unsafe { self.pages.write(Pages([GrantTableV1Page::ZEROED; 2])) };
        // SAFETY: as above.
        unsafe { self.refs.write(GrantRefAllocator::new()) };
        // SAFETY: as above.
        unsafe { self.page.write(PageMemory::new()) };
        self.map(frames);
        for unmapped in frames as usize..2 {
            self.flags(unmapped * SECOND_PAGE).store(u16::MAX, Relaxed);
        }
    }

    fn refs(&self) -> &'static GrantRefAllocator<2> {
        // SAFETY: the memory is leaked; the allocator consists of atomics.
        unsafe { self.refs.as_ref() }
    }

    /// Maps pages of the table.
    fn map(&self, frames: u32) {
        // SAFETY: the pages are the table's for ever.
        let table =
            unsafe { GrantTable::mapped(self.xen, Space, self.pages.cast(), self.refs(), frames) };
        self.table.set(Some(table.expect("the table has room for the pages")));
    }

    fn table(&self) -> Table {
        self.table.get().expect("the table is mapped")
    }

    fn page(&self) -> Page {
        // SAFETY: a scenario uses the page through one `Page` at a time, or the peer does.
        unsafe { Page::from_raw(&Space, self.page) }.expect("the page is aligned")
    }

    fn lend(&self) -> Grant<'static> {
        let lent = self.table().lend(self.page(), Domid(1), Access::ReadWrite);
        lent.expect("a reference is free")
    }

    fn entry(&self, reference: usize) -> Entry {
        // SAFETY: the reference is one of the two pages.
        Entry(unsafe { self.pages.as_ptr().cast::<u32>().add(2 * reference) })
    }

    /// The flags of an entry.
    fn flags(&self, reference: usize) -> &'static AtomicU16 {
        // SAFETY: the entry is within the pages, which are leaked.
        unsafe { AtomicU16::from_ptr(self.entry(reference).0.cast()) }
    }

    /// The first word of the page, as the peer sees it.
    fn word(&self) -> &'static AtomicU32 {
        // SAFETY: the page is leaked.
        unsafe { AtomicU32::from_ptr(self.page.as_ptr().cast()) }
    }

    /// Leaves no free reference.
    fn exhaust(&self) {
        while let Ok(slot) = self.table().slot() {
            std::mem::forget(slot);
        }
    }
}

/// A page is granted, and the peer maps it.
pub(super) fn lend(run: Run<'_>) {
    let lender = Lender::new();
    run(&Scenario {
        reset: &|| lender.reset(1),
        threads: &[
            &|| {
                lender.word().store(5, Relaxed);
                std::mem::forget(lender.lend());
            },
            &|| {
                if let Some(frame) = lender.entry(FIRST).map(1) {
                    let granted = Space.frame_of(lender.page.cast()).map(|frame| frame.0);
                    check(
                        granted == Some(frame.into()),
                        "Xen reads another frame than was granted",
                    );
                    check(lender.word().load(Relaxed) == 5, "the peer misses the page's content");
                }
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}

/// A grant is revoked while the peer maps the page, writes to it and unmaps it.
pub(super) fn revoke(run: Run<'_>) {
    let lender = Lender::new();
    let (revoked, mapped, read) = (Cell::new(false), Cell::new(false), Cell::new(0));
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            lender.grant.set(Some(lender.lend()));
            revoked.set(false);
            mapped.set(false);
        },
        threads: &[
            &|| match lender.grant.take().map(Grant::revoke) {
                Some(Ok((slot, _))) => {
                    std::mem::forget(slot);
                    revoked.set(true);
                    read.set(lender.word().load(Relaxed));
                    lender.word().store(9, Relaxed);
                }
                in_use => std::mem::forget(in_use),
            },
            &|| {
                if lender.entry(FIRST).map(1).is_some() {
                    mapped.set(true);
                    let word = lender.word();
                    check(word.load(Relaxed) != 9, "the peer sees what was written afterwards");
                    word.store(7, Relaxed);
                    lender.entry(FIRST).unmap();
                }
            },
        ],
        end: &|| {
            if revoked.get() {
                let expected = if mapped.get() { 7 } else { 0 };
                check(read.get() == expected, "what the peer wrote is not seen afterwards");
                check(lender.word().load(Relaxed) == 9, "the peer writes afterwards");
            }
        },
        bounds: BOUNDS,
    });
}

/// A reference that one vCPU frees is allocated on another.
pub(super) fn reference(run: Run<'_>) {
    let (lender, allocated) = (Lender::new(), Cell::new(false));
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            lender.grant.set(Some(lender.lend()));
            lender.exhaust();
            allocated.set(false);
        },
        threads: &[&|| drop(lender.grant.take().map(|grant| grant.revoke().unwrap())), &|| {
            if let Ok(slot) = lender.table().slot() {
                allocated.set(true);
                std::mem::forget(slot.lend(lender.page(), Domid(2), Access::ReadOnly));
            }
        }],
        end: &|| {
            let lost = !allocated.get() && lender.table().available() != 1;
            check(!lost, "a reference is lost");
            let expected = if allocated.get() { Access::ReadOnly as u16 } else { 0 };
            let flags = lender.flags(FIRST).load(Relaxed);
            check(flags == expected, "the flags of the revocation come after those of the grant");
        },
        bounds: BOUNDS,
    });
}

/// A grant that one vCPU defers is reclaimed on another, which grants again.
pub(super) fn defer(run: Run<'_>) {
    let (lender, allocated) = (Lender::new(), Cell::new(false));
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            lender.grant.set(None);
            let slot = lender.table().slot().unwrap();
            lender.exhaust();
            drop(slot);
            // The next search begins at its word.
            drop(lender.table().slot());
            allocated.set(false);
        },
        threads: &[
            &|| {
                drop(
                    lender
                        .table()
                        .lend(lender.page(), Domid(1), Access::ReadWrite)
                        .ok()
                        .map(Grant::defer),
                )
            },
            &|| {
                let slot = (lender.table().reclaim() == 1).then(|| lender.table().slot());
                if let Some(Ok(slot)) = slot {
                    allocated.set(true);
                    std::mem::forget(slot.lend(lender.page(), Domid(2), Access::ReadOnly));
                }
            },
        ],
        end: &|| {
            let expected = if allocated.get() { Access::ReadOnly } else { Access::ReadWrite };
            let flags = lender.flags(FIRST).load(Relaxed);
            check(flags == expected as u16, "an entry is reclaimed before it is published");
            let domain = lender.word_of(FIRST) >> 16;
            check(domain == if allocated.get() { 2 } else { 1 }, "an entry is overwritten");
        },
        bounds: BOUNDS,
    });
}

impl Lender {
    /// The first word of an entry.
    fn word_of(&self, reference: usize) -> u32 {
        // SAFETY: the entry is within the pages, which are leaked.
        unsafe { AtomicU32::from_ptr(self.entry(reference).0) }.load(Relaxed)
    }
}

/// A grant that one vCPU defers is reclaimed on another, and its reference is allocated again.
pub(super) fn reclaim(run: Run<'_>) {
    let (lender, allocated) = (Lender::new(), Cell::new(false));
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            let grant = lender.lend();
            lender.exhaust();
            let slot = grant.revoke().unwrap().0;
            drop(slot);
            // The next search begins at its word.
            lender.grant.set(Some(lender.lend()));
            allocated.set(false);
        },
        threads: &[
            &|| {
                drop(lender.grant.take().map(Grant::defer));
                if let Ok(slot) = lender.table().slot() {
                    allocated.set(true);
                    std::mem::forget(slot);
                }
            },
            &|| {
                lender.table().reclaim();
            },
        ],
        end: &|| {
            let left = lender.table().reclaim() + lender.table().available();
            check(left == u32::from(!allocated.get()), "a reference is lost");
        },
        bounds: Bounds { preemptions: 2, ..BOUNDS },
    });
}

/// A table grows on one vCPU, and another one allocates from the new page.
pub(super) fn grow(run: Run<'_>) {
    let lender = Lender::new();
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            lender.exhaust();
        },
        threads: &[&|| check(lender.table().grow(2).is_ok(), "the table does not grow"), &|| {
            let slot = lender.table().slot();
            let lost = matches!(slot, Err(GrantError::TableLost));
            check(!lost, "a reference is free before its page is mapped");
            std::mem::forget(slot);
        }],
        end: &|| {},
        bounds: Bounds { preemptions: 1, accesses: [99, 5, 0, 0], ..BOUNDS },
    });
}

/// Two vCPUs grow the table, each page once.
pub(super) fn growers(run: Run<'_>) {
    let lender = Lender::new();
    let grow = || {
        let grown = lender.table().grow(2);
        check(matches!(grown, Ok(()) | Err(GrantError::Growing)), "the table does not grow");
    };
    run(&Scenario {
        reset: &|| {
            lender.reset(1);
            take_mappings();
        },
        threads: &[&grow, &grow],
        end: &|| check(take_mappings() == 1, "a page is mapped twice"),
        bounds: Bounds { preemptions: 2, ..BOUNDS },
    });
}

/// After a restore, one vCPU maps the table again, and another one recovers a page.
pub(super) fn restore(run: Run<'_>) {
    let lender = Lender::new();
    let deferred: RefCell<Option<DeferredGrant>> = RefCell::new(None);
    run(&Scenario {
        reset: &|| {
            std::mem::forget(deferred.borrow_mut().take());
            lender.reset(2);
            lender.exhaust();
            let slot = lender.reserve_second_page();
            *deferred.borrow_mut() = Some(slot.defer());
            // SAFETY: the scenario models a restore; the table is mapped again before its use.
            unsafe { lender.refs().table_lost() };
            lender.flags(SECOND_PAGE).store(u16::MAX, Relaxed);
            lender.map(1);
        },
        threads: &[&|| check(lender.table().grow(2).is_ok(), "the table does not grow"), &|| {
            let mine = deferred.borrow_mut().take();
            if let Some(mine) = mine.filter(|_| lender.table().frames() == 2) {
                let recovered = lender.table().recover(mine);
                check(recovered.is_ok(), "an entry is used before its page is mapped");
                std::mem::forget(recovered);
            }
        }],
        end: &|| {},
        bounds: Bounds { preemptions: 2, ..BOUNDS },
    });
}

impl Lender {
    /// Grants the page in the first entry of the second page, in a table without other references.
    fn reserve_second_page(&self) -> Grant<'static> {
        // SAFETY: no value made from the table is used afterwards.
        unsafe { self.refs.write(GrantRefAllocator::new()) };
        self.map(2);
        loop {
            let slot = self.table().slot().expect("the second page has entries");
            if slot.reference().0 as usize == SECOND_PAGE {
                return slot.lend(self.page(), Domid(1), Access::ReadWrite);
            }
            std::mem::forget(slot);
        }
    }
}

/// A peer writes data, then a word by which the data is published.
fn bytes(run: Run<'_>, publish: &dyn Fn(&Page) -> bool, take: &dyn Fn(&Page) -> bool) {
    let lender = Lender::new();
    run(&Scenario {
        reset: &|| lender.reset(1),
        threads: &[
            &|| {
                let page = lender.page();
                let taken = {
                    page.copy_from(8, &[1; 8]).unwrap();
                    publish(&page)
                };
                check(taken, "nothing else is published");
            },
            &|| {
                let page = lender.page();
                if take(&page) {
                    let mut data = [0; 8];
                    page.copy_to(8, &mut data).unwrap();
                    check(data == [1; 8], "the data is read before it is published");
                }
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}

/// By a store and a load.
pub(super) fn bytes_store(run: Run<'_>) {
    bytes(run, &|page| page.store(0, 1_u32).is_ok(), &|page| page.load(0) == Ok(1_u32));
}

/// By swaps.
pub(super) fn bytes_swap(run: Run<'_>) {
    bytes(run, &|page| page.swap(0, 1_u32).is_ok(), &|page| page.swap(0, 2_u32) == Ok(1));
}

/// By exchanges.
pub(super) fn bytes_exchange(run: Run<'_>) {
    bytes(run, &|page| page.compare_exchange(0, 0_u32, 1).is_ok(), &|page| {
        page.compare_exchange(0, 1_u32, 3) == Ok(Ok(1))
    });
}

/// By exchanges, of which the second one fails.
pub(super) fn bytes_exchange_fails(run: Run<'_>) {
    bytes(run, &|page| page.compare_exchange(0, 0_u32, 1).is_ok(), &|page| {
        page.compare_exchange(0, 2_u32, 3) == Ok(Err(1))
    });
}

/// A page for both ends of a ring.
#[derive(Clone, Copy)]
struct Place(NonNull<PageMemory>);

// SAFETY: the page is leaked, and only the two ends of a ring use it.
unsafe impl RingPage for Place {
    fn page(&self) -> NonNull<PageMemory> {
        self.0
    }
}

struct Words;

impl Protocol for Words {
    type Request = u64;
    type Response = u64;
}

/// Creates a ring whose first request was popped, so that the event index is behind.
fn one_request(place: Place) -> (FrontRing<Place, Words>, BackRing<Place, Words>) {
    let (mut front, mut back) = (FrontRing::new(place), BackRing::new(place));
    front.push(&7).unwrap();
    let _ = front.publish();
    check(back.pop() == Some(7), "the ring works");
    (front, back)
}

/// The frontend pushes a request while the backend prepares to sleep.
pub(super) fn requests(run: Run<'_>) {
    let place = Place(NonNull::from(leak(PageMemory::new())));
    let (front, back) = (RefCell::new(None), RefCell::new(None));
    let (notified, asleep) = (Cell::new(false), Cell::new(false));
    run(&Scenario {
        reset: &|| {
            let (new, other) = one_request(place);
            *front.borrow_mut() = Some(new);
            *back.borrow_mut() = Some(other);
        },
        threads: &[
            &|| {
                let mut front = front.borrow_mut();
                let front = front.as_mut().expect("the scenario is reset");
                front.push(&8).unwrap();
                notified.set(front.publish());
            },
            &|| {
                let mut back = back.borrow_mut();
                let back = back.as_mut().expect("the scenario is reset");
                asleep.set(!back.rearm());
                if let Some(request) = back.pop() {
                    check(request == 8, "a request is read before it is written");
                }
            },
        ],
        end: &|| {
            check(notified.get() || !asleep.get(), "the backend sleeps without a notification")
        },
        bounds: BOUNDS,
    });
}

/// The backend pushes a response while the frontend prepares to sleep.
pub(super) fn responses(run: Run<'_>) {
    let place = Place(NonNull::from(leak(PageMemory::new())));
    let (front, back) = (RefCell::new(None), RefCell::new(None));
    let (notified, asleep) = (Cell::new(false), Cell::new(false));
    run(&Scenario {
        reset: &|| {
            // A first response is there, and the event index behind it.
            let (mut new, mut other) = one_request(place);
            new.push(&8).unwrap();
            let _ = new.publish();
            other.push(&7).unwrap();
            let _ = other.publish();
            check(new.pop() == Some(7) && other.pop() == Some(8), "the ring works");
            *front.borrow_mut() = Some(new);
            *back.borrow_mut() = Some(other);
        },
        threads: &[
            &|| {
                let mut back = back.borrow_mut();
                let back = back.as_mut().expect("the scenario is reset");
                back.push(&9).unwrap();
                notified.set(back.publish());
            },
            &|| {
                let mut front = front.borrow_mut();
                let front = front.as_mut().expect("the scenario is reset");
                asleep.set(!front.rearm());
                if let Some(response) = front.pop() {
                    check(response == 9, "a response is read before it is written");
                }
            },
        ],
        end: &|| check(notified.get() || !asleep.get(), "the frontend sleeps without an event"),
        bounds: BOUNDS,
    });
}

/// The ring of the console.
struct Console(NonNull<console::XenconsInterface>);

impl Console {
    fn new() -> Self {
        Self(NonNull::from(leak(console::XenconsInterface::ZEROED)))
    }

    fn reset(&self) {
        // SAFETY: the memory is leaked, and no thread of a scenario runs.
        unsafe { self.0.write(console::XenconsInterface::ZEROED) };
    }

    fn ring(&self) -> XenconsInterface<'static> {
        // SAFETY: the memory is leaked, and used as a ring alone.
        unsafe { XenconsInterface::from_ptr(self.0) }
    }
}

/// The guest writes to the console, and the backend reads.
pub(super) fn output(run: Run<'_>) {
    let console = Console::new();
    let page = console.0.as_ptr();
    run(&Scenario {
        reset: &|| console.reset(),
        threads: &[
            &|| {
                let ring = console.ring();
                let (producer, consumer) = (ring.out_prod(), ring.out_cons());
                let ring = ByteRing { buffer: ring.output(), producer, consumer };
                check(ByteProducer::new(ring).write(ring, b"x") == 1, "the ring is full");
            },
            &|| {
                // SAFETY: the fields are within the ring.
                let (produced, byte) = unsafe {
                    let produced = AtomicU32::from_ptr(&raw mut (*page).out_prod);
                    (produced, AtomicU8::from_ptr((&raw mut (*page).output).cast()))
                };
                let produced = produced.load(Relaxed);
                fence(SeqCst);
                if produced == 1 {
                    check(byte.load(Relaxed) == b'x', "a byte is published before it is written");
                }
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}

/// The guest reads from the console, and the backend reuses the place.
pub(super) fn input(run: Run<'_>) {
    let console = Console::new();
    let page = console.0.as_ptr();
    run(&Scenario {
        reset: &|| console.reset(),
        threads: &[
            &|| {
                let ring = console.ring();
                let (producer, consumer) = (ring.in_prod(), ring.in_cons());
                let ring = ByteRing { buffer: ring.input(), producer, consumer };
                let mut byte = [0];
                if ByteConsumer::new(ring).read(ring, &mut byte) == 1 {
                    check(byte == *b"1", "a byte is read too early or too late");
                }
            },
            &|| {
                // SAFETY: the fields are within the ring.
                let (produced, consumed, byte) = unsafe {
                    (&raw mut (*page).in_prod, &raw mut (*page).in_cons, &raw mut (*page).input)
                };
                produce_input(produced, consumed, byte.cast());
            },
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}

/// Xen updates the time while a vCPU reads it.
pub(super) fn time(run: Run<'_>) {
    let block = NonNull::from(leak(raw::VcpuTimeInfo::ZEROED));
    run(&Scenario {
        // SAFETY: the memory is leaked, and no thread of a scenario runs.
        reset: &|| unsafe { block.write(raw::VcpuTimeInfo::ZEROED) },
        threads: &[
            &|| {
                // SAFETY: the memory is leaked.
                let time = unsafe { VcpuTimeInfo::from_ptr(block) }.snapshot();
                let whole = time.tsc_timestamp == time.system_time;
                check(whole, "a snapshot mixes two updates");
            },
            &|| {
                write_time(block.as_ptr(), 0, 5);
                write_time(block.as_ptr(), 2, 6);
            },
        ],
        end: &|| {},
        bounds: Bounds { preemptions: 2, repeats: 2, ..BOUNDS },
    });
}

/// Xen updates the run times of a vCPU while another one reads them.
pub(super) fn runstate(run: Run<'_>) {
    let xen: &'static Xen = leak(Xen::new());
    let area: &'static Area<xen_pac::vcpu::raw::VcpuRunstateInfo> = leak(Area::new());
    let block = NonNull::from(area).cast::<xen_pac::vcpu::raw::VcpuRunstateInfo>().as_ptr();
    run(&Scenario {
        reset: &|| {
            if !area.is_taken() {
                // SAFETY: this models Arm, which latches nothing.
                let latch = unsafe { WidthLatch::assume(xen) };
                // SAFETY: the area is mapped for ever.
                unsafe { Vcpu::new(xen, VcpuId(0)).register_runstate(latch, area) }.unwrap();
            }
            // SAFETY: the memory is leaked, and no thread of a scenario runs.
            unsafe { block.write(xen_pac::vcpu::raw::VcpuRunstateInfo::ZEROED) };
        },
        threads: &[
            &|| {
                let flag = UpdateFlag::request(xen).unwrap();
                let times = area.runstate().expect("the area is registered").read(flag);
                let spent = times.spent_in(xen_pac::vcpu::Runstate(0)).map(|time| time.as_nanos());
                check(
                    spent == Some(times.since.as_nanos() as u128),
                    "the run times mix two updates",
                );
            },
            &|| {
                write_runstate(block, 5);
                write_runstate(block, 6);
            },
        ],
        end: &|| {},
        bounds: Bounds { preemptions: 2, repeats: 2, ..BOUNDS },
    });
}

/// One vCPU registers an area, and another one registers it again.
pub(super) fn area(run: Run<'_>) {
    let xen: &'static Xen = leak(Xen::new());
    let area = NonNull::from(leak(Area::<raw::VcpuInfo>::new()));
    // SAFETY: the memory is leaked.
    let area = || -> &'static Area<raw::VcpuInfo> { unsafe { area.as_ref() } };
    // SAFETY: this models Arm, which latches nothing.
    let latch = unsafe { WidthLatch::assume(xen) };
    run(&Scenario {
        reset: &|| {
            let place = std::ptr::from_ref(area()).cast_mut();
            // SAFETY: the memory is leaked, and no thread of a scenario runs.
            unsafe { place.write(Area::new()) };
        },
        threads: &[
            &|| {
                let vcpu = Vcpu::new(xen, VcpuId(1));
                vcpu.register_vcpu_info(&Space, latch, area()).map(|_| ()).unwrap();
            },
            &|| check(area().reregister(&Space, latch).is_ok(), "an area is not registered"),
        ],
        end: &|| {},
        bounds: BOUNDS,
    });
}
