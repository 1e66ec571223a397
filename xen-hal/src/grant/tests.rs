//! Tests what the commands pass to Xen, and how they decode each answer. Lending is tested on the
//! simulator.

use core::ptr::NonNull;
use std::boxed::Box;
use std::format;
use std::string::ToString;

use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, grant_copy_flags, grant_map_flags,
};

use super::copy::LIST;
use super::*;
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};
use crate::testing::{Script, errno};

const THEIRS: ForeignGrant = ForeignGrant { domain: Domid(3), reference: GrantRef(77) };

/// Maps every page to the frame with this number.
pub(super) struct Everywhere(pub(super) u64);

// SAFETY: the script touches no frame.
unsafe impl AddressSpace for Everywhere {
    fn frame_of(&self, _: NonNull<u8>) -> Option<Frame> {
        Some(Frame(self.0))
    }
}

/// Returns a fresh page at that frame.
pub(super) fn page(frame: u64) -> Page {
    Page::new(&Everywhere(frame), Box::leak(Box::new(PageMemory::new()))).unwrap()
}

const fn status(status: GrantStatus) -> GrantError {
    GrantError::Status(status)
}

#[test]
fn an_element_that_xen_reached_has_its_own_result() {
    let failed = Err(Errno::EFAULT);
    let cases = [
        (failed, GrantStatus::OKAY, Ok(())),
        (failed, NOT_REACHED, Err(GrantError::Errno(Errno::EFAULT))),
        (failed, GrantStatus::BAD_PAGE, Err(status(GrantStatus::BAD_PAGE))),
        (Ok(()), NOT_REACHED, Err(status(NOT_REACHED))),
        (Ok(()), GrantStatus(5), Err(status(GrantStatus(5)))),
        (Ok(()), GrantStatus(-3), Err(status(GrantStatus::BAD_GNTREF))),
    ];
    for (answer, of_element, result) in cases {
        assert_eq!(element(answer, of_element), result);
    }
    assert!(status(GrantStatus::EAGAIN).is_transient() && GrantError::Growing.is_transient());
    assert!(!status(GrantStatus::BAD_PAGE).is_transient());
}

#[test]
fn errors_read_well() {
    let cases = [
        (status(GrantStatus(-99)), "grant status -99"),
        (status(GrantStatus::BAD_PAGE), "grant status bad_page"),
        (GrantError::Errno(Errno::EBUSY), "EBUSY"),
        (
            GrantError::Memory(MemoryError::NotMapped(16)),
            "no guest frame is mapped at address 0x10",
        ),
        (
            GrantError::Capacity { asked: 4, capacity: 3 },
            "expected at most 3 pages of the grant table, found 4",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn sizes_and_versions_are_queried() {
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
    assert_eq!(grants.query_size(Domid(99)), Err(status(GrantStatus::BAD_DOMAIN)));
    assert_eq!(grants.version(Domid(99)), Err(Errno::ESRCH));
}

#[test]
fn the_version_in_force_is_returned() {
    let xen = Script::new()
        .array(command::SetVersion, |asked| {
            assert_eq!(asked[0].version, 2);
            asked[0].version = 1;
            errno(Errno::ENOSYS)
        })
        // Xen did not get as far as writing the version.
        .array(command::SetVersion, |_| errno(Errno::EBUSY))
        .array(command::SetVersion, |_| 0);
    let grants = Grants::new(&xen);
    for (errno, in_force) in [(Errno::ENOSYS, Some(1)), (Errno::EBUSY, None)] {
        // SAFETY: there is no table.
        let refused = unsafe { grants.set_version(2) };
        assert_eq!(refused, Err(GrantError::VersionRefused { errno, in_force }));
    }
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
                asked[0].frame_list.as_ptr().wrapping_add(index).write(40 + index as XenPfn);
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
    assert_eq!(Grants::new(&xen).setup_table(&mut list), Err(status(GrantStatus::GENERAL_ERROR)));
}

mod map {
    use super::*;

    fn target(frame: u64) -> Result<MapTarget<'static>, MemoryError> {
        let page = NonNull::from(Box::leak(Box::new(PageMemory::new())));
        // SAFETY: the memory is leaked, and used by the target alone.
        unsafe { MapTarget::new(&Everywhere(frame), page) }
    }

    fn request(access: Access) -> MapRequest<'static> {
        MapRequest { of: THEIRS, access, target: target(0x20).unwrap() }
    }

    fn map<H: Hypercall + Copy>(
        xen: H,
        access: Access,
    ) -> Result<Mapping<'static, H>, MapError<'static>> {
        // SAFETY: the grant is another domain's.
        unsafe { Grants::new(xen).map(request(access)) }
    }

    fn okay(asked: &mut [GnttabUnmapGrantRef]) -> isize {
        asked[0].status = GrantStatus::OKAY;
        0
    }

    fn mapped(asked: &mut [GnttabMapGrantRef]) -> isize {
        (asked[0].status, asked[0].handle) = (GrantStatus::OKAY, 9);
        0
    }

    #[test]
    fn nothing_can_be_mapped_at_address_0() {
        assert_eq!(target(0).unwrap_err(), MemoryError::OutOfReach(Frame(0)));
        assert_eq!(target(1 << 52).unwrap_err(), MemoryError::OutOfReach(Frame(1 << 52)));
        assert_eq!(target(1).unwrap().frame(), Frame(1));
    }

    #[test]
    fn a_page_is_mapped_and_unmapped() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                assert_eq!(
                    (asked.len(), asked[0].host_addr, asked[0].dom, asked[0].reference),
                    (1, 0x2_0000, Domid(3), 77)
                );
                assert_eq!(asked[0].flags, grant_map_flags::HOST_MAP.val(1).value);
                mapped(asked)
            })
            .array(command::UnmapGrantRef, |asked| {
                assert_eq!(
                    (asked.len(), asked[0].host_addr, asked[0].handle, asked[0].dev_bus_addr),
                    (1, 0x2_0000, 9, 0)
                );
                okay(asked)
            });
        let mapping = map(&xen, Access::ReadWrite).unwrap();
        assert_eq!((mapping.of(), mapping.handle()), (THEIRS, GrantHandle(9)));
        assert!(format!("{mapping:?}").ends_with("MapTarget(0x20000), access: ReadWrite }"));
        mapping.bytes().unwrap().copy_from(4095, b"x").unwrap();
        let mut byte = [0];
        mapping.copy_to(4095, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert_eq!(mapping.unmap().unwrap().frame(), Frame(0x20));
    }

    #[test]
    fn dropping_a_mapping_unmaps_the_page() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                assert_eq!(
                    asked[0].flags,
                    grant_map_flags::HOST_MAP.val(1).value | grant_map_flags::READONLY.val(1).value
                );
                mapped(asked)
            })
            .array(command::UnmapGrantRef, okay);
        let mapping = map(&xen, Access::ReadOnly).unwrap();
        assert!(mapping.bytes().is_none());
        drop(mapping);
        xen.done();
    }

    #[test]
    fn a_mapping_that_stays_is_returned() {
        let xen = Script::new()
            .array(command::MapGrantRef, mapped)
            .array(command::UnmapGrantRef, |asked| {
                asked[0].status = GrantStatus::BAD_HANDLE;
                0
            })
            .array(command::UnmapGrantRef, |_| errno(Errno::EFAULT));
        let failed = map(&xen, Access::ReadOnly).unwrap().unmap().unwrap_err();
        assert_eq!((failed.error, failed.mapping.of()), (status(GrantStatus::BAD_HANDLE), THEIRS));
        assert!(format!("{failed:?}").starts_with("UnmapError { mapping: Mapping {"));
        let text = "cannot unmap grant 77 of domain 3: grant status bad_handle";
        assert_eq!(failed.to_string(), text);
    }

    #[test]
    fn of_several_each_has_its_result_even_if_the_hypercall_fails() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                mapped(asked);
                asked[1].status = GrantStatus::NO_SPACE;
                errno(Errno::EFAULT)
            })
            .array(command::UnmapGrantRef, okay);
        let grants = Grants::new(&xen);
        let requests = [(); 3].map(|()| request(Access::ReadOnly));
        // SAFETY: the grants are another domain's, here and below.
        let [first, second, third] = unsafe { grants.map_all(requests) };
        let second = second.unwrap_err();
        assert_eq!(second.error, status(GrantStatus::NO_SPACE));
        assert!(second.to_string().starts_with("cannot map grant 77 of domain 3: grant status"));
        assert_eq!(third.unwrap_err().error, GrantError::Errno(Errno::EFAULT));
        let [target] = grants.unmap_all([first.unwrap()]);
        assert_eq!(target.unwrap().frame(), Frame(0x20));
        // SAFETY: there is nothing to map.
        assert!(unsafe { grants.map_all([]) }.is_empty());
    }
}

mod copy {
    use super::*;
    use xen_pac::base::XenPfn;

    /// Maps every page to the frame of its address, plus one.
    struct Shifted;

    // SAFETY: the script touches no frame.
    unsafe impl AddressSpace for Shifted {
        fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
            Some(Frame(Frame::containing(pointer.addr().get() as u64).0 + 1))
        }
    }

    #[test]
    fn each_copy_of_a_list_has_its_result() {
        let xen = Script::new()
            .array(command::Copy, |asked| {
                assert_eq!(asked.len(), LIST);
                asked.iter_mut().for_each(|copy| copy.status = GrantStatus::OKAY);
                asked[5].status = GrantStatus::BAD_GNTREF;
                0
            })
            .array(command::Copy, |asked| {
                assert_eq!(asked.len(), 2);
                asked[0].status = GrantStatus::OKAY;
                errno(Errno::EFAULT)
            });
        let mut copies =
            [CopyRequest::new((CopyEnd::Grant(THEIRS), 1), (CopyEnd::Own(Frame(9)), 2), 3);
                LIST + 2];
        // SAFETY: the script touches no memory.
        let failed = unsafe { Grants::new(&xen).copy(&mut copies) };
        let error = Err(status(GrantStatus::BAD_GNTREF));
        assert_eq!((failed, copies[5].result), (error, Some(error)));
        assert_eq!(copies[LIST].result, Some(Ok(())));
        assert_eq!(copies[LIST + 1].result, Some(Err(GrantError::Errno(Errno::EFAULT))));
        assert_eq!(copies.iter().filter(|copy| copy.result == Some(Ok(()))).count(), LIST);
    }

    #[test]
    fn a_buffer_over_two_pages_is_filled_by_two_copies() {
        #[repr(align(4096))]
        struct Pages([u8; 2 * PAGE_SIZE]);
        let mut pages = Box::new(Pages([0; 2 * PAGE_SIZE]));
        let first = Frame::containing(pages.0.as_ptr().addr() as u64).0 as XenPfn + 1;
        let xen = Script::new().array(command::Copy, |asked| {
            assert_eq!(asked.len(), 2);
            let copy = asked[0];
            assert_eq!(
                (copy.source.u.reference(), copy.source.domid, copy.source.offset),
                (77, Domid(3), 100)
            );
            assert_eq!(
                (copy.dest.u.gmfn(), copy.dest.domid, copy.dest.offset),
                (first, Domid::SELF, 4000)
            );
            assert_eq!((copy.len, copy.flags), (96, grant_copy_flags::SOURCE_GREF.val(1).value));
            let copy = asked[1];
            assert_eq!(
                (copy.source.offset, copy.dest.u.gmfn(), copy.dest.offset, copy.len),
                (196, first + 1, 0, 104)
            );
            asked.iter_mut().for_each(|copy| copy.status = GrantStatus::OKAY);
            0
        });
        let into = &mut pages.0[4000..4200];
        Grants::new(&xen).copy_from_grant(&Shifted, THEIRS, 100, into).unwrap();
    }

    #[test]
    fn bytes_are_copied_to_a_grant() {
        let xen = Script::new().array(command::Copy, |asked| {
            assert_eq!(
                (asked[0].source.u.gmfn(), asked[0].dest.u.reference(), asked[0].dest.offset),
                (5, 77, 4093)
            );
            assert_eq!(
                (asked[0].len, asked[0].flags),
                (3, grant_copy_flags::DEST_GREF.val(1).value)
            );
            asked[0].status = GrantStatus::PERMISSION_DENIED;
            0
        });
        let bytes = Box::new(*b"abc");
        let result = Grants::new(&xen).copy_to_grant(&Everywhere(5), &*bytes, THEIRS, 4093);
        assert_eq!(result, Err(status(GrantStatus::PERMISSION_DENIED)));
    }

    #[test]
    fn what_goes_beyond_the_page_is_not_tried() {
        let xen = Script::new();
        let grants = Grants::new(&xen);
        let copy =
            |offset, into: &mut [u8]| grants.copy_from_grant(&Everywhere(5), THEIRS, offset, into);
        let beyond = Err(status(GrantStatus::BAD_COPY_ARG));
        assert_eq!(copy(4094, &mut [0; 3]), beyond);
        assert_eq!(copy(u16::MAX, &mut [0; 1]), beyond);
        assert_eq!(copy(4096, &mut []), Ok(()));
    }
}

mod table {
    use super::*;
    use crate::hypercall::Hypercall;
    use crate::testing::Fake;
    use core::cell::OnceCell;
    use xen_pac::grant_table::raw;
    use xen_pac::memory::command as memory;

    /// Memory of one page in place of the table's, mapped without a hypercall.
    #[repr(align(4096))]
    struct Memory(#[expect(dead_code, reason = "it is used by its address")] [u8; PAGE_SIZE]);

    fn place() -> NonNull<raw::GrantTableV1Page> {
        NonNull::from(Box::leak(Box::new(Memory([0; PAGE_SIZE])))).cast()
    }

    /// On x86, unmapped memory reads as all ones. So does the table of a domain that was restored.
    #[test]
    fn a_table_that_is_not_there_costs_no_reference() {
        let (place, refs) = (place(), Box::leak(Box::new(GrantRefAllocator::<1>::new())));
        let bytes = place.cast::<u8>();
        // SAFETY: the page is there, and used by the table alone.
        let table = unsafe { GrantTable::mapped(Script::new(), Everywhere(5), place, refs, 1) };
        let table = table.unwrap();
        // SAFETY: it has a page's bytes.
        unsafe { bytes.write_bytes(0xff, PAGE_SIZE) };
        assert_eq!(table.slot().unwrap_err(), GrantError::TableLost);
        let refused = table.lend(page(7), Domid(1), Access::ReadOnly).unwrap_err();
        assert_eq!((refused.error(), refused.page.frame()), (GrantError::TableLost, Frame(7)));
        assert_eq!(refused.to_string(), GrantError::TableLost.to_string());
        assert_eq!((table.available(), table.reclaim()), (512 - 8, 0));
        // SAFETY: as above.
        unsafe { bytes.write_bytes(0, PAGE_SIZE) };
        assert_eq!(table.slot().unwrap().reference(), GrantRef(8));
    }

    fn table() -> (&'static GrantRefAllocator<1>, GrantTable<'static, Script<'static>, Everywhere>)
    {
        let refs = Box::leak(Box::new(GrantRefAllocator::new()));
        // SAFETY: the page is there, and used by the table alone.
        let table = unsafe { GrantTable::mapped(Script::new(), Everywhere(5), place(), refs, 1) };
        (refs, table.unwrap())
    }

    #[test]
    fn a_deferred_grant_is_left_to_its_own_table() {
        let ((refs, table), (_, other)) = (table(), table());
        let grant = table.lend(page(7), Domid(1), Access::ReadWrite).unwrap();
        let deferred = other.recover(grant.defer()).expect_err("it is not this table's");
        // SAFETY: the table is still there.
        unsafe { refs.table_lost() };
        drop(table.recover(deferred).expect_err("the table may be gone"));
        assert_eq!((other.reclaim(), table.reclaim(), table.available()), (0, 1, 512 - 8));
    }

    #[test]
    fn handles_read_well() {
        let (refs, table) = table();
        let lend = || table.lend(page(7), Domid(1), Access::ReadWrite).unwrap();
        let place = GrantTablePlace::new(place(), refs, 1);
        for (text, start) in [
            (format!("{}", GrantHandle(9)), "9"),
            (format!("{:?}", PageMemory::new()), "PageMemory"),
            (format!("{:?}", page(7)), "Page(frame 0x7)"),
            (format!("{:?}", *page(7)), "Bytes(0x"),
            (format!("{:?}", table.slot()), "Ok(GrantSlot(8))"),
            (format!("{:?}", lend()), "Grant { reference: GrantRef(8), "),
            (format!("{:?}", lend().defer()), "DeferredGrant { reference: GrantRef(8), "),
            (format!("{table:?}"), "GrantTable { frames: 1, capacity: 1, available: 503 }"),
            (format!("{place:?}"), "GrantTablePlace(0x"),
            (format!("{refs:?}"), "GrantRefAllocator(1 pages)"),
        ] {
            assert!(text.starts_with(start), "{text}");
        }
    }

    /// A page that is mapped twice is unmapped for a moment in between.
    #[test]
    fn one_vcpu_at_a_time_makes_the_table_grow() {
        let table: OnceCell<GrantTable<'_, &dyn Hypercall, Everywhere>> = OnceCell::new();
        let xen = Fake(|number, arguments: &[usize]| {
            use xen_pac::command::Command;
            assert_eq!(number, <memory::AddToPhysmap as Command>::HYPERCALL);
            assert_eq!(arguments[0], memory::AddToPhysmap::NUMBER as usize);
            assert_eq!(table.get().unwrap().grow(2), Err(GrantError::Growing));
            0_isize
        });
        let refs = Box::leak(Box::new(GrantRefAllocator::<2>::new()));
        // SAFETY: no page is mapped, and no entry is touched.
        let mapped =
            unsafe { GrantTable::mapped(&xen as &dyn Hypercall, Everywhere(5), place(), refs, 0) };
        let table = table.get_or_init(|| mapped.unwrap());
        assert_eq!((table.grow(2), table.frames()), (Ok(()), 2));
    }
}
