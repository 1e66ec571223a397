//! The table against ordinary memory, and revoking against a peer that maps and unmaps.

extern crate std;

mod race;

use core::ptr::NonNull;
use std::boxed::Box;
use std::vec::Vec;

use xen_pac::grant_table::{GrantStatus, grant_entry_flags, raw};
use xen_pac::memory::{MapSpace, command as memory_command};

use super::page::tests::{Everywhere, page};
use super::*;
use crate::memory::PageError;
use crate::testing::{Script, errno};
use core::sync::atomic::AtomicU32;

/// Memory for the pages of a table.
#[repr(align(4096))]
struct Frames<const N: usize>([raw::GrantTableV1Page; N]);

/// Pages full of free entries, which stay for ever.
pub(super) fn frames<const N: usize>() -> NonNull<raw::GrantTableV1Page> {
    NonNull::from(Box::leak(Box::new(Frames([raw::GrantTableV1Page::ZEROED; N])))).cast()
}

pub(super) fn storage(pages: u32) -> Vec<AtomicU32> {
    (0..GrantTable::words(pages)).map(|_| AtomicU32::new(0)).collect()
}

/// An entry as it is in memory.
fn entry(pages: NonNull<raw::GrantTableV1Page>, reference: GrantRef) -> (u16, u16, u32) {
    let page = NonNull::new(pages.as_ptr().wrapping_add(reference as usize / 512)).unwrap();
    // SAFETY: the pages were made by `frames`, and are touched by handles only.
    let page = unsafe { xen_pac::grant_table::GrantTableV1Page::from_ptr(page) };
    let entry = page.entries(reference as usize % 512).unwrap();
    (
        entry.flags().load(core::sync::atomic::Ordering::Relaxed),
        entry.domid().get(),
        entry.frame().get(),
    )
}

/// Expects a question for the version, and tells it.
fn version_is(xen: Script<'_>, version: u32) -> Script<'_> {
    xen.array(command::GetVersion, move |asked| {
        assert_eq!(asked[0].dom, Domid::SELF);
        asked[0].version = version;
        0
    })
}

/// Expects that a page of the table is mapped.
fn maps(xen: Script<'_>, page: u64, answer: isize) -> Script<'_> {
    xen.argument(memory_command::AddToPhysmap, move |asked| {
        assert_eq!(
            (asked.domid, asked.space, asked.idx, asked.gpfn),
            (Domid::SELF, MapSpace::GRANT_TABLE, page, 5)
        );
        answer
    })
}

#[test]
fn a_page_is_lent_and_taken_back() {
    let (pages, mut storage) = (frames::<1>(), storage(1));
    // SAFETY: one page is there for good.
    let table = unsafe { GrantTable::mapped(pages, 1, &mut storage, 1) };
    let grant = table.lend(page(0x1234), Domid(7), Access::ReadWrite).unwrap();
    assert_eq!(grant.reference(), 8);
    assert_eq!(entry(pages, 8), (1, 7, 0x1234));
    assert_eq!(grant.usage(), Usage { reading: false, writing: false });
    let (slot, back) = grant.revoke().unwrap();
    assert_eq!((entry(pages, 8).0, back.frame().0), (0, 0x1234));
    let grant = slot.lend(back, Domid(9), Access::ReadOnly);
    assert_eq!(entry(pages, 8), (5, 9, 0x1234));
    assert_eq!(table.available(), 512 - 9);
    drop(grant);
    assert_eq!((entry(pages, 8).0, table.available()), (0, 512 - 8));
}

#[test]
fn a_page_in_use_is_not_given_back() {
    let (pages, mut storage) = (frames::<1>(), storage(1));
    // SAFETY: one page is there for good.
    let table = unsafe { GrantTable::mapped(pages, 1, &mut storage, 1) };
    for used in [grant_entry_flags::READING, grant_entry_flags::WRITING] {
        let grant = table.lend(page(0x1234), Domid(7), Access::ReadWrite).unwrap();
        let reference = grant.reference();
        // SAFETY: the page is there for good.
        let theirs = unsafe { xen_pac::grant_table::GrantTableV1Page::from_ptr(pages) }
            .entries(reference as usize)
            .unwrap();
        theirs.flags().fetch_or(used.val(1).value, core::sync::atomic::Ordering::Relaxed);
        let StillInUse(grant) = grant.revoke().unwrap_err();
        assert_eq!(grant.page().frame().0, 0x1234);
        assert!(grant.usage().reading != grant.usage().writing);
        assert_eq!(entry(pages, reference), (1 | used.val(1).value, 7, 0x1234));
        let free = table.available();
        drop(grant);
        assert_eq!(table.available(), free, "the reference of a page in use became free");
    }
}

#[test]
fn a_grant_of_a_table_that_was_replaced_comes_back() {
    let (pages, mut storage) = (frames::<1>(), storage(1));
    // SAFETY: one page is there for good.
    let table = unsafe { GrantTable::mapped(pages, 1, &mut storage, 1) };
    let grant = table.lend(page(0x1234), Domid(7), Access::ReadWrite).unwrap();
    // SAFETY: the page is there for good.
    let wiped =
        unsafe { xen_pac::grant_table::GrantTableV1Page::from_ptr(pages) }.entries(8).unwrap();
    assert_eq!(wiped.flags().swap(0, core::sync::atomic::Ordering::Relaxed), 1);
    drop(grant.revoke().unwrap());
    assert_eq!(table.available(), 512 - 8);
}

#[test]
fn only_free_entries_are_handed_out() {
    let (pages, mut storage) = (frames::<1>(), storage(1));
    // SAFETY: the page is there for good.
    let kernel_before =
        unsafe { xen_pac::grant_table::GrantTableV1Page::from_ptr(pages) }.entries(9).unwrap();
    kernel_before.flags().fetch_or(1, core::sync::atomic::Ordering::Relaxed);
    // SAFETY: one page is there for good.
    let table = unsafe { GrantTable::mapped(pages, 1, &mut storage, 1) };
    let mut grants: Vec<_> =
        core::iter::from_fn(|| table.lend(page(1), Domid(7), Access::ReadOnly).ok()).collect();
    let lent: Vec<_> = grants.iter().map(Grant::reference).collect();
    assert_eq!(lent, core::iter::once(8).chain(10..512).collect::<Vec<_>>());
    assert_eq!(table.lend(page(3), Domid(7), Access::ReadOnly).unwrap_err().0.frame().0, 3);
    let (slot, _) = grants.pop().unwrap().revoke().unwrap();
    drop(slot);
    assert_eq!(table.slot().unwrap().reference(), 511);
}

#[test]
fn the_table_is_mapped_and_grows() {
    let (pages, mut storage) = (frames::<3>(), storage(3));
    let xen = maps(maps(version_is(Script::new(), 1), 0, 0), 1, 0);
    // SAFETY: three pages are there for good.
    let table =
        unsafe { GrantTable::map(&xen, &Everywhere(5), pages, 3, &mut storage, 2) }.unwrap();
    xen.done();
    assert_eq!((table.frames(), table.available()), (2, 1024 - 8));
    table.grow(&xen, &Everywhere(5), 2).unwrap();
    let full = maps(Script::new(), 2, errno(Errno::EINVAL));
    assert!(
        matches!(table.grow(&full, &Everywhere(5), 3), Err(TableError::Page(PageError::Refused(error))) if error.errno == Errno::EINVAL)
    );
    assert_eq!(table.frames(), 2);
    let more = maps(Script::new(), 2, 0);
    table.grow(&more, &Everywhere(5), 3).unwrap();
    assert_eq!((table.frames(), table.available()), (3, 1536 - 8));
    assert_eq!(
        table.grow(&xen, &Everywhere(5), 4),
        Err(TableError::Capacity { asked: 4, capacity: 3 })
    );
    let slots: Vec<_> = core::iter::from_fn(|| table.slot()).collect();
    assert_eq!(slots.len(), 1536 - 8);
    slots.into_iter().last().unwrap().lend(page(6), Domid(2), Access::ReadWrite).revoke().unwrap();
    assert_eq!(entry(pages, 1535), (0, 2, 6));
}

#[test]
fn a_table_that_cannot_be_used_is_refused() {
    let (pages, mut short) = (frames::<1>(), storage(1));
    let xen = version_is(Script::new(), 2);
    // SAFETY: one page is there for good.
    let newer = unsafe { GrantTable::map(&xen, &Everywhere(5), pages, 1, &mut short, 1) };
    assert_eq!(newer.unwrap_err(), TableError::Version(2));
    let xen = version_is(Script::new(), 1);
    // SAFETY: one page is there for good, and no second is mapped.
    let long = unsafe { GrantTable::map(&xen, &Everywhere(5), pages, 2, &mut short, 2) };
    assert_eq!(long.unwrap_err(), TableError::Storage { words: 16, needed: 32 });
}

#[test]
fn one_vcpu_at_a_time_makes_the_table_grow() {
    let (pages, mut storage) = (frames::<2>(), storage(2));
    // SAFETY: two pages are there for good.
    let table = unsafe { GrantTable::mapped(pages, 2, &mut storage, 1) };
    let xen = Script::new().argument(memory_command::AddToPhysmap, |_| {
        assert_eq!(table.grow(Script::new(), &Everywhere(5), 2), Err(TableError::Growing));
        0
    });
    assert_eq!(table.grow(&xen, &Everywhere(5), 2), Ok(()));
}

#[test]
fn sizes_and_versions_are_asked_for() {
    let xen = Script::new()
        .array(command::QuerySize, |asked| {
            assert_eq!((asked.len(), asked[0].dom), (1, Domid::SELF));
            (asked[0].nr_frames, asked[0].max_nr_frames, asked[0].status) =
                (1, 64, GrantStatus::OKAY);
            0
        })
        .array(command::QuerySize, |asked| {
            asked[0].status = GrantStatus::BAD_DOMAIN;
            0
        })
        .array(command::GetVersion, |_| errno(Errno::ESRCH));
    let grants = Grants::new(&xen);
    assert_eq!(grants.query_size(Domid::SELF), Ok(TableSize { frames: 1, maximum: 64 }));
    assert_eq!(grants.query_size(Domid(99)), Err(Error::noticed(GrantStatus::BAD_DOMAIN)));
    assert_eq!(grants.version(Domid(99)), Err(Errno::ESRCH));
}

#[test]
fn the_version_in_force_is_told() {
    let xen = Script::new()
        .array(command::SetVersion, |asked| {
            assert_eq!(asked[0].version, 2);
            asked[0].version = 1;
            errno(Errno::ENOSYS)
        })
        .array(command::SetVersion, |_| 0);
    let grants = Grants::new(&xen);
    // SAFETY: there is no table.
    let refused = unsafe { grants.set_version(2) }.unwrap_err();
    assert_eq!((refused.errno, refused.in_force), (Errno::ENOSYS, Some(1)));
    // SAFETY: there is no table.
    assert_eq!(unsafe { grants.set_version(1) }, Ok(1));
}

#[test]
fn setup_writes_as_many_frames_as_there_is_room_for() {
    let xen = Script::new()
        .array(command::SetupTable, |asked| {
            assert_eq!((asked[0].dom, asked[0].nr_frames), (Domid::SELF, 3));
            // SAFETY: the call under test passed a list of three.
            (0..3).for_each(|index| unsafe {
                asked[0].frame_list.as_ptr().wrapping_add(index).write(40 + index as XenPfn)
            });
            asked[0].status = GrantStatus::OKAY;
            0
        })
        .array(command::SetupTable, |asked| {
            asked[0].status = GrantStatus::GENERAL_ERROR;
            0
        });
    let mut list = [0; 3];
    assert_eq!(Grants::new(&xen).setup_table(&mut list), Ok(()));
    assert_eq!(list, [40, 41, 42]);
    assert_eq!(
        Grants::new(&xen).setup_table(&mut list),
        Err(Error::noticed(GrantStatus::GENERAL_ERROR))
    );
}
