//! The grant table on the simulator: what an entry holds, and what becomes of references and pages
//! that a peer uses.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::grant::{
    Access, DeferredGrant, ForeignGrant, Grant, GrantError, GrantRef, GrantRefAllocator,
    GrantTable, GrantUsage, MapRequest, MapTarget, Mapping, Page,
};
use xen_hal::hypercall::Errno;
use xen_hal::memory::{Extent, MapSpace, MemoryError};
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, GrantTableV1Page};
use xen_sim::{DomainConfig, DomainSpace, Fault, FaultRates, Guest, Hypervisor, Machine, Profile};

const LENDER: Domid = Domid(1);
const PEER: Domid = Domid(2);
/// The pages of the table, three in a row, and those that are lent.
const TABLE: usize = 1;
const LENT: usize = 4;

type Table = GrantTable<'static, Hypervisor, DomainSpace>;

fn refs<const PAGES: usize>() -> &'static GrantRefAllocator<PAGES> {
    Box::leak(Box::default())
}

/// The domain's table, over such references.
fn map<const PAGES: usize>(
    guest: Guest,
    refs: &'static GrantRefAllocator<PAGES>,
    frames: u32,
) -> Result<Table, GrantError> {
    // SAFETY: the pages are the table's alone, and nothing of it is used after the run.
    unsafe { GrantTable::map(guest.xen(), guest.space(), guest.page(TABLE).cast(), refs, frames) }
}

fn table(guest: Guest) -> Table {
    map(guest, refs::<1>(), 1).expect("a domain has a table")
}

fn page(guest: Guest, index: usize) -> Page {
    // SAFETY: the page is the value's alone.
    unsafe { Page::from_raw(&guest.space(), guest.page(index).cast()) }.expect("it is a page")
}

fn frame(guest: Guest, index: usize) -> u64 {
    guest.space().frame_of(guest.page(index)).expect("a page has a frame").0
}

/// An entry of the table.
fn entry(guest: Guest, reference: GrantRef) -> GrantEntryV1<'static> {
    let reference = reference.0 as usize;
    let page = guest.page(TABLE + reference / GrantTableV1Page::ENTRIES_COUNT);
    // SAFETY: the table is mapped there, and such handles alone touch it.
    let page = unsafe { GrantTableV1Page::from_ptr(page.cast()) };
    page.entries(reference % GrantTableV1Page::ENTRIES_COUNT).expect("it is below the count")
}

/// Flags, domain and frame of an entry.
fn contents(guest: Guest, reference: GrantRef) -> (u16, u16, u64) {
    let entry = entry(guest, reference);
    let flags = entry.flags().load(Ordering::Relaxed);
    (flags, entry.domid().get(), entry.frame().get().into())
}

/// Maps a grant of the lender in place of the peer's first page.
fn borrow(guest: Guest, reference: u64, access: Access) -> Mapping<'static, Hypervisor> {
    let (xen, space, page) = (Xen::new(guest.xen()), guest.space(), guest.page(0));
    let frame = space.frame_of(page).expect("a page has a frame");
    // It has no memory from the second time on.
    // SAFETY: nothing is kept in the page.
    let _ = unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) };
    // SAFETY: the frame is used through one target at a time, and not after the run.
    let target = unsafe { MapTarget::new(&space, page.cast()) }.expect("it is a page");
    let of = ForeignGrant { domain: LENDER, reference: GrantRef(reference as u32) };
    // SAFETY: the grant is another domain's.
    unsafe { xen.grants().map(MapRequest { of, access, target }) }.expect("the page is lent")
}

/// A domain of its own, whose hypercalls do not fail.
fn alone(program: impl FnOnce(Guest) + Send + 'static) {
    let mut machine = Machine::new(Profile::DOMU, 1).unwrap().fault_rates(FaultRates::none());
    machine.domain(DomainConfig::new(), program).unwrap();
    machine.run().unwrap();
}

/// A lender and a peer.
fn two(lender: impl FnOnce(Guest) + Send + 'static, peer: impl FnOnce(Guest) + Send + 'static) {
    let mut machine = Machine::new(Profile::DOMU, 1).unwrap();
    assert_eq!(machine.domain(DomainConfig::new(), lender).unwrap(), LENDER);
    assert_eq!(machine.domain(DomainConfig::new(), peer).unwrap(), PEER);
    machine.run().unwrap();
}

#[test]
fn a_page_is_lent_and_taken_back() {
    alone(|guest| {
        let (table, own) = (table(guest), frame(guest, LENT));
        let grant = table.lend(page(guest, LENT), Domid(7), Access::ReadWrite).unwrap();
        assert_eq!(grant.reference(), GrantRef(8));
        assert_eq!(contents(guest, GrantRef(8)), (1, 7, own));
        assert_eq!(grant.usage(), GrantUsage { reading: false, writing: false });
        let (slot, back) = grant.revoke().unwrap();
        assert_eq!((contents(guest, GrantRef(8)).0, back.frame().0), (0, own));
        // Of all that is lent, one can be stored beside the table.
        struct Driver {
            table: Table,
            grant: Grant<'static>,
        }
        let grant = slot.lend(back, Domid(9), Access::ReadOnly);
        let driver = Driver { table, grant };
        assert_eq!(contents(guest, GrantRef(8)), (5, 9, own));
        assert_eq!(driver.table.available(), 512 - 9);
        drop(driver.grant);
        assert_eq!((contents(guest, GrantRef(8)).0, table.available()), (0, 512 - 8));
    });
}

/// In turn: the peer reads the page, and reads and writes it; the grant is dropped meanwhile, or
/// deferred.
#[test]
fn a_page_in_use_is_not_returned_until_the_peer_lets_go() {
    const ROUNDS: [(Access, bool); 4] = [
        (Access::ReadOnly, false),
        (Access::ReadOnly, true),
        (Access::ReadWrite, false),
        (Access::ReadWrite, true),
    ];
    fn lender(guest: Guest) {
        let table = table(guest);
        for (round, (access, defer)) in ROUNDS.into_iter().enumerate() {
            let flags = if access == Access::ReadOnly { 8 } else { 24 };
            let own = page(guest, LENT);
            let grant = table.lend(own, PEER, Access::ReadWrite).unwrap();
            let reference = grant.reference();
            guest.publish(&format!("lent {round}"), reference.0.into());
            guest.wait_for_key(&format!("mapped {round}"));
            let in_use = grant.revoke().unwrap_err();
            assert!(in_use.to_string().contains("still in use"));
            assert!(format!("{in_use:?}").starts_with("GrantInUseError(Grant {"));
            let grant = in_use.into_grant();
            assert_eq!(grant.frame().0, frame(guest, LENT));
            let usage = GrantUsage { reading: true, writing: access == Access::ReadWrite };
            assert_eq!(grant.usage(), usage);
            let held = (1 | flags, PEER.0, frame(guest, LENT));
            assert_eq!(contents(guest, reference), held);
            let free = table.available();
            let deferred: Option<DeferredGrant> = if defer {
                Some(table.recover(grant.defer()).expect_err("the page is in use"))
            } else {
                drop(grant);
                None
            };
            assert_eq!((table.available(), table.reclaim()), (free, 0), "while it is in use");
            assert_eq!(contents(guest, reference), held);
            guest.publish(&format!("let go {round}"), 1);
            guest.wait_for_key(&format!("unmapped {round}"));
            match deferred {
                Some(deferred) => {
                    assert_eq!((deferred.reference(), table.reclaim()), (reference, 0));
                    let back = table.recover(deferred).expect("the peer has let go");
                    assert_eq!(back.frame().0, frame(guest, LENT));
                }
                None => assert_eq!(table.reclaim(), 1),
            }
            assert_eq!((table.available(), contents(guest, reference).0), (free + 1, 0));
        }
    }
    two(lender, |guest| {
        for (round, (access, _)) in ROUNDS.into_iter().enumerate() {
            let mapping = borrow(guest, guest.wait_for_key(&format!("lent {round}")), access);
            guest.publish(&format!("mapped {round}"), 1);
            guest.wait_for_key(&format!("let go {round}"));
            mapping.unmap().unwrap();
            guest.publish(&format!("unmapped {round}"), 1);
        }
    });
}

/// Without a free reference, those that were deferred are reclaimed.
#[test]
fn references_come_back_by_themselves() {
    two(
        |guest| {
            let table = table(guest);
            let used = table.lend(page(guest, LENT), PEER, Access::ReadOnly).unwrap();
            guest.publish("lent", used.reference().0.into());
            guest.wait_for_key("mapped");
            let reference = used.reference();
            drop(used);
            let slots: Vec<_> = core::iter::from_fn(|| table.slot().ok()).collect();
            assert_eq!((slots.len(), table.slot().unwrap_err()), (512 - 9, GrantError::Full));
            guest.publish("let go", 1);
            guest.wait_for_key("unmapped");
            assert_eq!(table.slot().unwrap().reference(), reference);
        },
        |guest| {
            let mapping = borrow(guest, guest.wait_for_key("lent"), Access::ReadOnly);
            guest.publish("mapped", 1);
            guest.wait_for_key("let go");
            mapping.unmap().unwrap();
            guest.publish("unmapped", 1);
        },
    );
}

#[test]
fn only_free_entries_are_handed_out() {
    alone(|guest| {
        let table = table(guest);
        // A kernel that ran before has left it.
        entry(guest, GrantRef(9)).flags().fetch_or(1, Ordering::Relaxed);
        let mut grants: Vec<_> =
            core::iter::from_fn(|| table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).ok())
                .collect();
        let lent: Vec<_> = grants.iter().map(|grant| grant.reference().0).collect();
        assert_eq!(lent, core::iter::once(8).chain(10..512).collect::<Vec<_>>());
        let full = table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).unwrap_err();
        assert_eq!((full.error(), full.page.frame().0), (GrantError::Full, frame(guest, LENT)));
        let (slot, _) = grants.pop().unwrap().revoke().unwrap();
        drop(slot);
        assert_eq!(table.slot().unwrap().reference(), GrantRef(511));
        assert_eq!(contents(guest, GrantRef(9)).0, 1, "it is left as it was");
    });
}

#[test]
fn the_table_is_mapped_and_grows() {
    alone(|guest| {
        let table = map(guest, refs::<3>(), 2).unwrap();
        assert_eq!((table.frames(), table.available()), (2, 1024 - 8));
        let calls = guest.hypercalls();
        table.grow(2).unwrap();
        assert_eq!(guest.hypercalls(), calls, "it has the pages already");
        guest.fail(Fault::Nth(1, Errno::EINVAL));
        let failed = table.grow(3);
        guest.clear_faults();
        assert!(matches!(
            failed,
            Err(GrantError::Memory(MemoryError::Physmap {
                space: MapSpace::GrantTable,
                index: 2,
                errno: Errno::EINVAL,
                ..
            }))
        ));
        assert_eq!((table.frames(), table.available()), (2, 1024 - 8));
        table.grow(3).unwrap();
        assert_eq!((table.frames(), table.available()), (3, 1536 - 8));
        assert_eq!(table.grow(4), Err(GrantError::Capacity { asked: 4, capacity: 3 }));
        let slots: Vec<_> = core::iter::from_fn(|| table.slot().ok()).collect();
        assert_eq!(slots.len(), 1536 - 8);
        let last = slots.into_iter().last().unwrap();
        last.lend(page(guest, LENT), Domid(2), Access::ReadWrite).revoke().unwrap();
        assert_eq!(contents(guest, GrantRef(1535)), (0, 2, frame(guest, LENT)));
    });
}

/// On x86 a page leaves its frame before Xen finds that it cannot be at the new one.
#[test]
fn a_page_that_cannot_move_stays_where_it_is() {
    alone(|guest| {
        let (table, memory) = (table(guest), Xen::new(guest.xen()).memory());
        let grant = table.lend(page(guest, LENT), Domid(7), Access::ReadOnly).unwrap();
        let (from, to) = (Frame(frame(guest, TABLE)), Frame(1 << 40));
        let spare = Frame(frame(guest, TABLE + 1));
        let own = MapSpace::Own;
        // SAFETY: nothing uses the table, the frames and the spare page meanwhile.
        let moved = unsafe { memory.move_page(MapSpace::GrantTable, 0, from, to) };
        assert!(matches!(moved, Err(MemoryError::Physmap { .. })), "{moved:?}");
        assert_eq!(contents(guest, grant.reference()), (5, 7, frame(guest, LENT)));
        grant.revoke().unwrap();
        // SAFETY: as above.
        let moved = unsafe { memory.move_page(own, spare.0, spare, to) };
        assert!(matches!(moved, Err(MemoryError::PageLost { .. })), "{moved:?}");
        // SAFETY: nothing is at the frame.
        unsafe { memory.populate_physmap([spare], Extent::PAGE) }.unwrap();
        page(guest, TABLE + 1).copy_from(0, &[1]).unwrap();
    });
}

/// Maps every page to a frame that no domain has.
struct Nowhere;

// SAFETY: nothing is at the frame.
unsafe impl AddressSpace for Nowhere {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        Some(Frame(1 << 38))
    }
}

/// On x86 a map of the domain's own grant takes the page from its frame, even if it fails.
#[test]
fn a_page_that_a_map_has_moved_is_populated_again() {
    alone(|guest| {
        let (table, xen) = (table(guest), Xen::new(guest.xen()));
        for fails in [false, true] {
            let own = page(guest, LENT);
            own.copy_from(0, b"own").unwrap();
            let grant = table.lend(own, guest.domain(), Access::ReadOnly).unwrap();
            let of = ForeignGrant { domain: guest.domain(), reference: grant.reference() };
            let at = guest.page(0).cast();
            let space: &dyn AddressSpace = if fails { &Nowhere } else { &DomainSpace };
            // SAFETY: the frames are used by one target at a time, and not after the run.
            let target = unsafe { MapTarget::new(space, at) };
            let request = MapRequest { of, access: Access::ReadOnly, target: target.unwrap() };
            // SAFETY: nothing uses the page until its frame has memory again.
            let mapped = unsafe { xen.grants().map(request) };
            assert_eq!(mapped.is_err(), fails);
            if let Ok(mapping) = mapped {
                let mut bytes = [0; 3];
                mapping.copy_to(0, &mut bytes).unwrap();
                assert_eq!(&bytes, b"own");
                mapping.unmap().unwrap();
            }
            let (_, own) = grant.revoke().unwrap();
            // SAFETY: nothing is at the frame.
            unsafe { xen.memory().populate_physmap([own.frame()], Extent::PAGE) }.unwrap();
            own.copy_from(0, b"new").unwrap();
        }
    });
}

#[test]
fn a_table_of_another_version_is_refused() {
    alone(|guest| {
        // SAFETY: there is no table.
        unsafe { Xen::new(guest.xen()).grants().set_version(2) }.unwrap();
        assert_eq!(map(guest, refs::<1>(), 1).unwrap_err(), GrantError::Version(2));
    });
}

/// What a kernel does whose grants are static: nothing touches them until the table is mapped
/// again.
#[test]
fn a_restored_domain_has_all_references_again() {
    alone(|guest| {
        let refs = refs::<2>();
        let table = map(guest, refs, 2).unwrap();
        let grant = table.lend(page(guest, LENT), Domid(7), Access::ReadWrite).unwrap();
        let (dropped, deferred) = (
            table.lend(page(guest, LENT + 1), Domid(7), Access::ReadWrite).unwrap(),
            table.lend(page(guest, LENT + 2), Domid(7), Access::ReadWrite).unwrap(),
        );
        // A peer that does not let go.
        for grant in [&dropped, &deferred] {
            entry(guest, grant.reference()).flags().fetch_or(8, Ordering::Relaxed);
        }
        drop(dropped);
        let deferred = deferred.defer();
        assert_eq!((table.reclaim(), table.available()), (0, 1024 - 8 - 3));
        // SAFETY: nothing uses the table until it is mapped again.
        unsafe { Xen::new(guest.xen()).sched().suspend() }.unwrap();
        // SAFETY: the domain was restored.
        unsafe { refs.table_lost() };
        let table = map(guest, refs, 1).unwrap();
        assert_eq!((table.frames(), table.available()), (2, 1024 - 8 - 2), "as many as before");
        assert_eq!(table.recover(deferred).unwrap().frame().0, frame(guest, LENT + 2));
        assert_eq!(grant.revoke().unwrap().1.frame().0, frame(guest, LENT));
        assert_eq!(table.available(), 1024 - 8);
    });
}
