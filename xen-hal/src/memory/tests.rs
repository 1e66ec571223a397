//! Tests what the commands pass to Xen, and how they decode each answer.

use core::ptr::NonNull;
use std::format;
use std::string::ToString;
use std::vec::Vec;

use xen_pac::base::{Domid, XenPfn};
use xen_pac::memory::{self as pac, XenAddToPhysmapBatch, XenMemoryReservation, command};

use super::physmap::{BATCH, NOT_REACHED};
use super::reservation::LIST;
use super::*;
use crate::hypercall::Errno;
use crate::platform::AddressSpace;
use crate::testing::{Script, errno};

#[test]
fn questions_are_about_the_domain_itself() {
    let xen = Script::new()
        .argument(command::MaximumGpfn, |about| {
            assert_eq!(about.domid, Domid::SELF);
            0xfeff
        })
        .argument(command::CurrentReservation, |_| 0x4000)
        .argument(command::MaximumReservation, |_| errno(Errno::ESRCH))
        .bare(command::MaximumRamPage, 0x23_ffff);
    let memory = Memory::new(&xen);
    assert_eq!(memory.maximum_frame(), Ok(Frame(0xfeff)));
    assert_eq!(memory.current_reservation(), Ok(0x4000));
    assert_eq!(memory.maximum_reservation(), Err(Errno::ESRCH));
    assert_eq!(memory.machine_maximum_frame(), Ok(0x23_ffff));
}

mod physmap {
    use super::*;

    #[test]
    fn each_space_has_its_number_and_index() {
        let cases = [
            (MapSpace::SharedInfo, 0, pac::MapSpace::SHARED_INFO, 0),
            (MapSpace::GrantTable, 3, pac::MapSpace::GRANT_TABLE, 3),
            (MapSpace::GrantStatus, 3, pac::MapSpace::GRANT_TABLE, 0x8000_0003),
            (MapSpace::GrantStatus, 0x8000_0003, pac::MapSpace::GRANT_TABLE, 0x8000_0003),
            (MapSpace::Own, 77, pac::MapSpace::GMFN, 77),
            (MapSpace::DeviceMemory, 78, pac::MapSpace::DEV_MMIO, 78),
        ];
        for (space, page, number, index) in cases {
            let xen = Script::new().argument(command::AddToPhysmap, |asked| {
                assert_eq!(
                    (asked.domid, asked.size, asked.space, asked.idx, asked.gpfn),
                    (Domid::SELF, 0, number, index, 0xfee)
                );
                0
            });
            // SAFETY: the script touches no memory.
            let added = unsafe { Memory::new(&xen).add_to_physmap(space, page, Frame(0xfee)) };
            assert_eq!(added, Ok(()));
        }
    }

    #[test]
    fn an_error_names_page_and_frame() {
        let xen = Script::new().argument(command::AddToPhysmap, |_| errno(Errno::EBUSY));
        // SAFETY: the script touches no memory.
        let error = unsafe {
            Memory::new(&xen).add_to_physmap(MapSpace::GrantTable, 2, Frame(0x10)).unwrap_err()
        };
        assert_eq!(error.to_string(), "cannot map page 2 of the grant table at frame 0x10: EBUSY");
        assert_eq!(error.errno(), Some(Errno::EBUSY));
    }

    #[test]
    fn a_page_that_has_left_its_old_frame_is_reported() {
        let failed = |space, answer| {
            let xen = Script::new().argument(command::AddToPhysmap, move |_| errno(answer));
            // SAFETY: the script touches no memory.
            unsafe { Memory::new(&xen).add_to_physmap(space, 0, Frame(1 << 30)).unwrap_err() }
        };
        for space in
            [MapSpace::SharedInfo, MapSpace::GrantTable, MapSpace::GrantStatus, MapSpace::Own]
        {
            for answer in [Errno::ENOENT, Errno::EINVAL, Errno::ENOMEM] {
                assert!(failed(space, answer).may_have_unmapped(), "{space:?}, {answer}");
            }
            for answer in [Errno::EPERM, Errno::EBUSY, Errno::EXDEV, Errno::ENOSYS] {
                assert!(!failed(space, answer).may_have_unmapped(), "{space:?}, {answer}");
            }
        }
        assert!(!failed(MapSpace::DeviceMemory, Errno::EINVAL).may_have_unmapped());
        assert!(!MemoryError::NotMapped(0).may_have_unmapped());
        let (space, index, errno) = (MapSpace::Own, 0, Errno::EPERM);
        assert!(MemoryError::PageLost { space, index, errno }.may_have_unmapped());
        let batch = |space| MemoryError::Batch { space, first: 0, errno: Errno::EPERM };
        assert!(batch(MapSpace::GrantTable).may_have_unmapped());
        assert!(!batch(MapSpace::Foreign(Domid(3))).may_have_unmapped());
    }

    #[test]
    fn a_page_that_cannot_move_is_put_back_or_reported_as_lost() {
        let (space, index, from, to) = (MapSpace::GrantTable, 3, Frame(0x10), Frame(0x20));
        let physmap = |errno| Err(MemoryError::Physmap { space, index, at: to, errno });
        let lost = |errno| Err(MemoryError::PageLost { space, index, errno });
        // The answers to the calls, each of which adds or removes (`None`) the page at a frame.
        type Calls = &'static [(Option<Frame>, Option<Errno>)];
        const TO: Option<Frame> = Some(Frame(0x20));
        const FROM: Option<Frame> = Some(Frame(0x10));
        let cases: [(Calls, Result<(), MemoryError>); 8] = [
            (&[(TO, None)], Ok(())),
            (&[(TO, Some(Errno::EPERM))], physmap(Errno::EPERM)),
            (&[(TO, Some(Errno::ENOENT)), (FROM, None)], physmap(Errno::ENOENT)),
            (&[(TO, Some(Errno::ENOMEM)), (FROM, Some(Errno::ENOMEM))], lost(Errno::ENOMEM)),
            (&[(TO, Some(Errno::EBUSY)), (None, None), (TO, None)], Ok(())),
            (&[(TO, Some(Errno::EBUSY)), (None, Some(Errno::ENOENT))], physmap(Errno::ENOENT)),
            (
                &[(TO, Some(Errno::EBUSY)), (None, None), (TO, Some(Errno::EPERM)), (FROM, None)],
                physmap(Errno::EPERM),
            ),
            (
                &[
                    (TO, Some(Errno::EBUSY)),
                    (None, None),
                    (TO, Some(Errno::EPERM)),
                    (FROM, Some(Errno::ENOMEM)),
                ],
                lost(Errno::EPERM),
            ),
        ];
        for (calls, result) in cases {
            let xen = calls.iter().fold(Script::new(), |xen, (at, error)| {
                let answer = error.map_or(0, errno);
                match at {
                    Some(at) => xen.argument(command::AddToPhysmap, move |asked| {
                        assert_eq!((asked.idx, asked.gpfn), (3, at.0 as XenPfn));
                        answer
                    }),
                    None => xen.argument(command::RemoveFromPhysmap, move |asked| {
                        assert_eq!(asked.gpfn, 0x10);
                        answer
                    }),
                }
            });
            // SAFETY: the script touches no memory.
            let moved = unsafe { Memory::new(&xen).move_page(space, index, from, to) };
            assert_eq!(moved, result, "{calls:?}");
        }
    }

    #[test]
    fn a_range_has_its_length() {
        let xen = Script::new().argument(command::AddToPhysmap, |asked| {
            assert_eq!(
                (asked.size, asked.space, asked.idx, asked.gpfn),
                (9, pac::MapSpace::GMFN_RANGE, 100, 200)
            );
            errno(Errno::EOVERFLOW)
        });
        // SAFETY: the script touches no memory.
        let error = unsafe { Memory::new(&xen).move_frames(Frame(100), 9, Frame(200)) };
        let (space, index, at) = (MapSpace::Own, 100, Frame(200));
        let errno = Errno::EOVERFLOW;
        assert_eq!(error, Err(MemoryError::Physmap { space, index, at, errno }));
    }

    #[test]
    fn frames_are_emptied() {
        let xen = Script::new().argument(command::RemoveFromPhysmap, |asked| {
            assert_eq!((asked.domid, asked.gpfn), (Domid::SELF, 0x44));
            errno(Errno::ENOENT)
        });
        // SAFETY: the script touches no memory.
        let removed = unsafe { Memory::new(&xen).remove_from_physmap(Frame(0x44)) };
        assert_eq!(removed, Err(Errno::ENOENT));
    }
}

mod batch {
    use super::*;

    fn entries(count: u64) -> Vec<BatchEntry> {
        (0..count).map(|index| BatchEntry::new(index, Frame(0x1000 + index))).collect()
    }

    /// Writes the error of the entry at this position.
    fn answer(argument: &XenAddToPhysmapBatch, position: usize, error: i32) {
        assert!(position < argument.size.into());
        // SAFETY: the call under test passed lists of `size` elements.
        unsafe { argument.errs.as_ptr().wrapping_add(position).write(error) };
    }

    fn add(
        xen: &Script<'_>,
        space: MapSpace,
        entries: &mut [BatchEntry],
    ) -> Result<(), MemoryError> {
        // SAFETY: the script touches no memory.
        unsafe { Memory::new(xen).add_to_physmap_batch(space, entries) }
    }

    #[test]
    fn an_entry_that_fails_does_not_stop_the_others() {
        let xen = Script::new().argument(command::AddToPhysmapBatch, |asked| {
            assert_eq!(
                (asked.domid, asked.space, asked.size),
                (Domid::SELF, pac::MapSpace::GMFN_FOREIGN.0 as u16, 3)
            );
            assert_eq!(asked.u.foreign_domid(), Domid(5));
            // SAFETY: the call under test passed lists of three elements.
            assert_eq!(unsafe { asked.gpfns.as_ptr().wrapping_add(2).read() }, 0x1002);
            for (position, error) in [0, -22, 0].into_iter().enumerate() {
                answer(asked, position, error);
            }
            0
        });
        let mut entries = entries(3);
        let error = add(&xen, MapSpace::Foreign(Domid(5)), &mut entries);
        let space = MapSpace::Foreign(Domid(5));
        assert_eq!(error, Err(MemoryError::Batch { space, first: 1, errno: Errno::EINVAL }));
        assert_eq!(
            entries.iter().map(|entry| entry.result).collect::<Vec<_>>(),
            [Some(Ok(())), Some(Err(Errno::EINVAL)), Some(Ok(()))]
        );
    }

    #[test]
    fn every_answer_has_its_result() {
        let space = MapSpace::GrantTable;
        let failed = |first, errno| Err(MemoryError::Batch { space, first, errno });
        let cases = [
            // The answer to the hypercall, the errors of two entries, and the expected result.
            (0, [0, 0], Ok(())),
            // An entry without a result was not mapped.
            (0, [0, NOT_REACHED], failed(1, Errno::ENODATA)),
            (0, [0, 5], failed(1, Errno::ENODATA)),
            (0, [0, -5000], failed(1, Errno::ENODATA)),
            // An error of the hypercall names the entry that Xen did not reach, if there is one.
            (errno(Errno::EFAULT), [0, NOT_REACHED], failed(1, Errno::EFAULT)),
            (errno(Errno::EFAULT), [0, 0], Ok(())),
        ];
        for (whole, each, result) in cases {
            let xen = Script::new().argument(command::AddToPhysmapBatch, |asked| {
                for (position, error) in each.into_iter().enumerate() {
                    answer(asked, position, error);
                }
                whole
            });
            assert_eq!(
                add(&xen, MapSpace::GrantTable, &mut entries(2)),
                result,
                "{whole} {each:?}"
            );
        }
    }

    #[test]
    fn an_error_of_a_hypercall_leaves_the_rest_without_a_result() {
        let xen = Script::new()
            .argument(command::AddToPhysmapBatch, |asked| {
                (0..BATCH).for_each(|position| answer(asked, position, 0));
                0
            })
            .argument(command::AddToPhysmapBatch, |asked| {
                answer(asked, 0, 0);
                errno(Errno::EFAULT)
            });
        let mut entries = entries(BATCH as u64 * 3);
        let error = add(&xen, MapSpace::GrantTable, &mut entries);
        let (space, first, errno) = (MapSpace::GrantTable, BATCH + 1, Errno::EFAULT);
        assert_eq!(error, Err(MemoryError::Batch { space, first, errno }));
        assert_eq!(entries.iter().filter(|entry| entry.result == Some(Ok(()))).count(), BATCH + 1);
        assert_eq!(entries.iter().filter(|entry| entry.result.is_none()).count(), BATCH * 2 - 1);
    }
}

mod reservation {
    use super::*;

    /// Returns the frames that an argument names.
    fn named(argument: &XenMemoryReservation) -> Vec<XenPfn> {
        let first = argument.extent_start.as_ptr();
        // SAFETY: the call under test passed a list of so many frames.
        (0..argument.nr_extents as usize)
            .map(|index| unsafe { first.wrapping_add(index).read() })
            .collect()
    }

    fn populate(
        xen: &Script<'_>,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // SAFETY: the script touches no memory.
        unsafe { Memory::new(xen).populate_physmap(frames, extent) }
    }

    #[test]
    fn long_lists_take_several_hypercalls() {
        let xen = Script::new()
            .argument(command::PopulatePhysmap, |asked| {
                assert_eq!((asked.extent_order, asked.mem_flags, asked.domid), (9, 0, Domid::SELF));
                assert_eq!(named(asked), (100..100 + LIST as XenPfn).collect::<Vec<_>>());
                LIST as isize
            })
            .argument(command::PopulatePhysmap, |asked| {
                assert_eq!(named(asked), [100 + LIST as XenPfn, 101 + LIST as XenPfn]);
                2
            });
        let frames = (100..102 + LIST as u64).map(Frame);
        assert_eq!(populate(&xen, frames, Extent::of_order(9)), Ok(()));
    }

    #[test]
    fn a_partial_reservation_names_the_extent_at_which_it_stopped() {
        let xen = Script::new()
            // An answer beyond the list counts as the whole list.
            .argument(command::DecreaseReservation, |_| LIST as isize + 7)
            .argument(command::DecreaseReservation, |_| 3);
        let frames = (0..1000).map(Frame);
        // SAFETY: the script touches no memory.
        let short = unsafe { Memory::new(&xen).decrease_reservation(frames, Extent::PAGE) };
        let (done, stopped_at) = (LIST + 3, Some(Frame(LIST as u64 + 3)));
        assert_eq!(short, Err(PartialReservation { done, stopped_at, errno: None }));
    }

    #[test]
    fn no_frames_and_whole_lists_need_no_further_hypercall() {
        let xen = Script::new().argument(command::PopulatePhysmap, |_| LIST as isize);
        assert_eq!(populate(&xen, (0..LIST as u64).map(Frame), Extent::PAGE), Ok(()));
        assert_eq!(populate(&xen, [], Extent::PAGE), Ok(()));
    }

    #[test]
    fn an_error_of_the_hypercall_is_kept() {
        let xen = Script::new()
            .argument(command::PopulatePhysmap, |_| errno(Errno::EPERM))
            .argument(command::IncreaseReservation, |_| errno(Errno::EPERM));
        let (stopped_at, errno) = (Some(Frame(7)), Some(Errno::EPERM));
        assert_eq!(
            populate(&xen, [Frame(7)], Extent::PAGE),
            Err(PartialReservation { done: 0, stopped_at, errno })
        );
        let increased = Memory::new(&xen).increase_reservation(1, Extent::PAGE).unwrap_err();
        assert_eq!(MemoryError::from(increased).errno(), Some(Errno::EPERM));
        assert_eq!(increased.to_string(), "only 0 of the extents were processed: EPERM");
    }

    #[test]
    fn increasing_passes_no_list() {
        let xen = Script::new().argument(command::IncreaseReservation, |asked| {
            assert!(asked.extent_start.is_null());
            assert_eq!(asked.nr_extents, 5);
            4
        });
        assert_eq!(
            Memory::new(&xen).increase_reservation(5, Extent::PAGE),
            Err(PartialReservation { done: 4, stopped_at: None, errno: None })
        );
    }
}

mod shared_info {
    use super::*;
    use xen_pac::hvm::{HvmParam, command as hvm};
    use xen_pac::shared_info::raw;

    /// Maps the addresses below 2^20, each to its own frame.
    struct Low;

    // SAFETY: nothing is mapped in these tests.
    unsafe impl AddressSpace for Low {
        fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
            let frame = Frame::containing(pointer.addr().get() as u64);
            (frame.0 < 0x100).then_some(frame)
        }
    }

    fn at<T>(address: usize) -> NonNull<T> {
        NonNull::new(core::ptr::without_provenance_mut(address)).unwrap()
    }

    fn map(xen: &Script<'_>, address: usize) -> Result<NonNull<raw::SharedInfo>, MemoryError> {
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(xen) };
        // SAFETY: the handle is not used.
        unsafe { latch.map_shared_info(&Low, at(address)) }.map(|shared| shared.as_ptr())
    }

    #[test]
    fn the_shared_page_is_mapped_at_the_pointer() {
        let xen = Script::new().argument(command::AddToPhysmap, |asked| {
            assert_eq!((asked.space, asked.idx, asked.gpfn), (pac::MapSpace::SHARED_INFO, 0, 0x44));
            0
        });
        assert_eq!(map(&xen, 0x4_4000), Ok(at(0x4_4000)));
    }

    #[test]
    fn a_bad_pointer_is_refused_before_the_hypercall() {
        let xen = Script::new();
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(&xen) };
        xen.count_restore();
        // SAFETY: nothing is mapped.
        let stale = unsafe { latch.map_shared_info(&Low, at(0x4_4000)) }.map(drop);
        assert_eq!(stale, Err(MemoryError::StaleLatch));
        assert_eq!(map(&xen, 0x4_4008), Err(MemoryError::Misaligned(0x4_4008)));
        assert_eq!(map(&xen, 0x10_0000), Err(MemoryError::NotMapped(0x10_0000)));
    }

    #[test]
    fn grant_pages_are_mapped_in_a_row_until_one_fails() {
        let xen = Script::new()
            .argument(command::AddToPhysmap, |asked| {
                assert_eq!(
                    (asked.space, asked.idx, asked.gpfn),
                    (pac::MapSpace::GRANT_TABLE, 4, 0xfe)
                );
                0
            })
            .argument(command::AddToPhysmap, |asked| {
                assert_eq!((asked.idx, asked.gpfn), (5, 0xff));
                errno(Errno::EINVAL)
            });
        // SAFETY: nothing is mapped.
        let error = unsafe { Memory::new(&xen).map_grant_frames(&Low, at(0xf_e000), 4, 3) };
        let (space, index, at) = (MapSpace::GrantTable, 5, Frame(0xff));
        assert_eq!(error, Err(MemoryError::Physmap { space, index, at, errno: Errno::EINVAL }));
    }

    #[test]
    fn the_latch_writes_the_parameter_back_as_it_was() {
        let xen = Script::new()
            .argument(hvm::GetParam, |asked| {
                assert_eq!((asked.domid, asked.index), (Domid::SELF, HvmParam::CALLBACK_IRQ));
                asked.value = 0x0200_0000_0000_00f3;
                0
            })
            .argument(hvm::SetParam, |asked| {
                assert_eq!(
                    (asked.domid, asked.index, asked.value),
                    (Domid::SELF, HvmParam::CALLBACK_IRQ, 0x0200_0000_0000_00f3)
                );
                0
            });
        assert_eq!(format!("{:?}", WidthLatch::new(&xen)), "Ok(WidthLatch)");
    }

    #[test]
    fn nothing_is_written_that_was_not_read() {
        let xen = Script::new().argument(hvm::GetParam, |_| errno(Errno::EPERM));
        assert_eq!(WidthLatch::new(&xen).map(|_| ()), Err(Errno::EPERM));
    }

    #[test]
    fn only_arms_refusal_to_write_is_no_error() {
        let answered = |answer| {
            let xen = Script::new()
                .argument(hvm::GetParam, |_| 0)
                .argument(hvm::SetParam, move |_| errno(answer));
            WidthLatch::new(&xen).map(|_| ())
        };
        assert_eq!(answered(Errno::EPERM), Ok(()));
        assert_eq!(answered(Errno::EINVAL), Err(Errno::EINVAL));
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod e820 {
    use super::*;
    use xen_pac::memory::XenMemoryMap;
    use xen_pac::start_info::HvmMemmapType;

    const MAP: [MapEntry; 2] = [
        MapEntry::new(0, 0xa_0000, HvmMemmapType::RAM),
        MapEntry::new(u64::MAX - 1, 3, HvmMemmapType(77)),
    ];

    fn give(asked: &mut XenMemoryMap) -> isize {
        let count = MAP.len().min(asked.nr_entries as usize);
        // SAFETY: the call under test passed a buffer with so much room.
        unsafe { asked.buffer.as_ptr().cast::<MapEntry>().copy_from(MAP.as_ptr(), count) };
        asked.nr_entries = count as u32;
        0
    }

    #[test]
    fn entries_are_packed_as_in_firmware() {
        assert_eq!((size_of::<MapEntry>(), align_of::<MapEntry>()), (20, 1));
    }

    #[test]
    fn a_map_is_read() {
        let xen = Script::new().argument(command::MemoryMap, give);
        let mut buffer = [MapEntry::EMPTY; 3];
        let map = Memory::new(&xen).memory_map(&mut buffer).unwrap();
        assert_eq!(map, MAP);
        assert_eq!((map[0].end(), map[1].end()), (Some(0xa_0000), None));
        assert_eq!(
            format!("{map:?}"),
            "[MapEntry(0x0 + 0xa0000: RAM), MapEntry(0xfffffffffffffffe + 0x3: 77)]"
        );
    }

    #[test]
    fn a_map_of_1024_entries_is_read() {
        let xen = Script::new().argument(command::MemoryMap, |asked| {
            assert_eq!(asked.nr_entries, 1025);
            asked.nr_entries = 1024;
            0
        });
        let mut buffer = [MapEntry::EMPTY; MapEntry::BUFFER_LENGTH];
        assert_eq!(Memory::new(&xen).memory_map(&mut buffer).map(<[_]>::len), Ok(1024));
    }

    #[test]
    fn a_map_that_may_have_been_truncated_is_an_error() {
        for room in 0..=2 {
            let xen = Script::new().argument(command::MemoryMap, give);
            let mut buffer = [MapEntry::EMPTY; 2];
            assert_eq!(
                Memory::new(&xen).memory_map(&mut buffer[..room]),
                Err(MemoryError::BufferTooShort)
            );
        }
    }

    #[test]
    fn a_domain_without_a_map_has_an_error() {
        let xen = Script::new().argument(command::MemoryMap, |_| errno(Errno::ENOSYS));
        assert_eq!(
            Memory::new(&xen).memory_map(&mut [MapEntry::EMPTY]),
            Err(MemoryError::Errno(Errno::ENOSYS))
        );
    }
}
