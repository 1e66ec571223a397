//! Memory.

use xen_hal::memory::{BatchEntry, Extent, MapEntry, MapSpace, MemoryError, WidthLatch};
use xen_hal::platform::{AddressSpace, Frame};

use super::super::kernel::Kernel;
use super::{Leaves, Operation, single};

fn frame(kernel: &Kernel, index: usize) -> Frame {
    kernel.guest.space().frame_of(kernel.guest.page(index)).expect("a page has a frame")
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            name: "Memory::populate_physmap",
            hypercalls: 1,
            leaves: Leaves::NothingAndNoReason,
            run: |kernel, attempt| {
                let frames = [frame(kernel, 3), frame(kernel, 4)];
                // SAFETY: nothing is kept in the pages, here and below.
                unsafe { kernel.xen().memory().decrease_reservation(frames, Extent::PAGE) }
                    .expect("pages can be given back");
                // SAFETY: as above.
                attempt.during(kernel.guest, || unsafe {
                    kernel.xen().memory().populate_physmap(frames, Extent::PAGE)
                });
            },
        },
        Operation {
            name: "Memory::decrease_reservation",
            hypercalls: 1,
            leaves: Leaves::NothingAndNoReason,
            run: |kernel, attempt| {
                let frames = [frame(kernel, 3), frame(kernel, 4)];
                // SAFETY: as above.
                attempt.during(kernel.guest, || unsafe {
                    kernel.xen().memory().decrease_reservation(frames, Extent::PAGE)
                });
            },
        },
        Operation {
            name: "Memory::populate_physmap, of more frames than one hypercall names",
            hypercalls: 2,
            leaves: Leaves::SomeAndNoReason {
                from: 2,
                says: "the extents before that have their memory",
            },
            run: |kernel, attempt| {
                let frames: Vec<_> = (3..43).map(|index| frame(kernel, index)).collect();
                // SAFETY: as above.
                unsafe {
                    kernel.xen().memory().decrease_reservation(frames.iter().copied(), Extent::PAGE)
                }
                .expect("pages can be given back");
                attempt.during(kernel.guest, || {
                    // SAFETY: as above.
                    let populated = unsafe {
                        kernel.xen().memory().populate_physmap(frames.iter().copied(), Extent::PAGE)
                    };
                    populated.inspect_err(|shortfall| {
                        assert_eq!(shortfall.stopped_at, frames.get(shortfall.done).copied());
                    })
                });
            },
        },
        Operation {
            name: "Memory::add_to_physmap_batch, of more pages than one hypercall names",
            hypercalls: 2,
            leaves: Leaves::WhatWasDone {
                from: 2,
                says: "the others were mapped, and their entries say so",
            },
            run: |kernel, attempt| {
                let mut entries: Vec<_> = (3..43)
                    .map(|index| BatchEntry::new(index as u64 - 3, frame(kernel, index)))
                    .collect();
                attempt.during(kernel.guest, || {
                    // SAFETY: as above.
                    let mapped = unsafe {
                        kernel
                            .xen()
                            .memory()
                            .add_to_physmap_batch(MapSpace::GrantTable, &mut entries)
                    };
                    mapped.inspect_err(|error| {
                        let done =
                            entries.iter().filter(|entry| entry.result == Some(Ok(()))).count();
                        let MemoryError::Batch { first, .. } = *error else { panic!("{error}") };
                        assert_eq!(done, first, "each entry has its result");
                    })
                });
            },
        },
        Operation {
            name: "Memory::increase_reservation",
            hypercalls: 1,
            leaves: Leaves::NothingAndNoReason,
            run: |kernel, attempt| {
                attempt.during(kernel.guest, || {
                    kernel.xen().memory().increase_reservation(2, Extent::PAGE)
                });
            },
        },
        single("Memory::maximum_frame", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().memory().maximum_frame());
        }),
        single("Memory::current_reservation", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().memory().current_reservation());
        }),
        single("Memory::maximum_reservation", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().memory().maximum_reservation());
        }),
        single("Memory::machine_maximum_frame", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().memory().machine_maximum_frame());
        }),
        single("Memory::memory_map", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                kernel.xen().memory().memory_map(&mut [MapEntry::EMPTY; 4]).map(<[_]>::len)
            });
        }),
        single("Memory::add_to_physmap", |kernel, attempt| {
            let (from, to) = (frame(kernel, 3), frame(kernel, 4));
            // SAFETY: as above.
            attempt.during(kernel.guest, || unsafe {
                kernel.xen().memory().add_to_physmap(MapSpace::Own, from.0, to)
            });
        }),
        single("Memory::move_frames", |kernel, attempt| {
            let (from, to) = (frame(kernel, 3), frame(kernel, 5));
            // SAFETY: as above.
            attempt
                .during(kernel.guest, || unsafe { kernel.xen().memory().move_frames(from, 2, to) });
        }),
        single("Memory::add_to_physmap_batch", |kernel, attempt| {
            let mut entries =
                [3, 4].map(|index| BatchEntry::new(index as u64 - 3, frame(kernel, index)));
            // SAFETY: as above.
            attempt.during(kernel.guest, || unsafe {
                kernel.xen().memory().add_to_physmap_batch(MapSpace::GrantTable, &mut entries)
            });
        }),
        single("Memory::remove_from_physmap", |kernel, attempt| {
            let at = frame(kernel, 3);
            // SAFETY: as above.
            attempt
                .during(kernel.guest, || unsafe { kernel.xen().memory().remove_from_physmap(at) });
        }),
        single("WidthLatch::map_shared_info", |kernel, attempt| {
            let guest = kernel.guest;
            let latch = WidthLatch::new(guest.xen()).expect("the callback can be read and set");
            // SAFETY: the page that was used until now is not used any more.
            attempt.during(guest, || unsafe {
                latch.map_shared_info(&guest.space(), guest.page(3).cast())
            });
        }),
        Operation {
            name: "Memory::map_grant_frames",
            hypercalls: 2,
            leaves: Leaves::WhatWasDone { from: 2, says: "the pages before it are mapped" },
            run: |kernel, attempt| {
                let guest = kernel.guest;
                // SAFETY: as above.
                attempt.during(guest, || unsafe {
                    kernel.xen().memory().map_grant_frames(
                        &guest.space(),
                        guest.page(3).cast(),
                        0,
                        2,
                    )
                });
            },
        },
        Operation {
            name: "WidthLatch::new",
            hypercalls: 2,
            leaves: Leaves::Nothing,
            run: |kernel, attempt| {
                attempt.during(kernel.guest, || WidthLatch::new(kernel.guest.xen()));
            },
        },
    ]
}
