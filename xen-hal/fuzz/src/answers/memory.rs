//! Memory: sizes, the memory map, single pages, batches of them, reservations.

use xen_hal::hypercall::{Errno, check};
use xen_hal::memory::{
    BatchEntry, Extent, MapEntry, MapSpace, MemoryError, PartialReservation, WidthLatch,
};
use xen_hal::platform::Frame;
use xen_pac::memory::command;

use super::hostile::{Hostile, values};
use super::{Operation, debug, display, good};
use crate::fake::{Identity, page};
use crate::input::Input;

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, _| _ = good(xen.hal().memory().maximum_frame()).map(|frame| debug(&frame.address())),
    |xen, _| _ = good(xen.hal().memory().current_reservation()),
    |xen, _| _ = good(xen.hal().memory().maximum_reservation()),
    |xen, _| _ = good(xen.hal().memory().machine_maximum_frame()),
    map,
    map,
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe {
            xen.hal().memory().add_to_physmap(MapSpace::GrantStatus, 1, Frame(input.number()))
        })
    },
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe { xen.hal().memory().move_frames(Frame(1), 2, Frame(input.number())) })
    },
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe { xen.hal().memory().remove_from_physmap(Frame(input.number())) })
    },
    |xen, _| {
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(&xen.fake) };
        // SAFETY: the handle is not used.
        good(unsafe { latch.map_shared_info(&Identity, page(0)) });
    },
    |xen, _| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe { xen.hal().memory().map_grant_frames(&Identity, page(0), 5, 2) })
    },
    populate,
    decrease,
    increase,
];

/// A map is a part of the buffer, and never all of it.
fn map(xen: &Hostile<'_>, input: &Input) {
    let mut buffer = vec![MapEntry::EMPTY; input.below(12)];
    let (room, first) = (buffer.len(), buffer.as_ptr());
    if let Some(map) = good(xen.hal().memory().memory_map(&mut buffer)) {
        assert!(map.len() < room && map.as_ptr() == first);
        map.iter()
            .for_each(|range| debug(&(range.address(), range.length(), range.end(), range.kind())));
        map.iter().for_each(|range| display(&range.kind()));
    }
}

fn frames(input: &Input) -> impl Iterator<Item = Frame> + use<> {
    (100..100 + u64::from(input.byte() % 100)).map(Frame)
}

fn populate(xen: &Hostile<'_>, input: &Input) {
    let frames = frames(input);
    let asked = frames.size_hint().0;
    // SAFETY: no hypervisor touches the frames.
    let result = unsafe { xen.hal().memory().populate_physmap(frames, Extent::PAGE) };
    reserved(result, asked, xen.calls(command::PopulatePhysmap).iter().map(|call| call.answer));
}

fn decrease(xen: &Hostile<'_>, input: &Input) {
    let frames = frames(input);
    let asked = frames.size_hint().0;
    // SAFETY: as above.
    let result = unsafe { xen.hal().memory().decrease_reservation(frames, Extent::PAGE) };
    reserved(result, asked, xen.calls(command::DecreaseReservation).iter().map(|call| call.answer));
}

fn increase(xen: &Hostile<'_>, input: &Input) {
    let asked = usize::from(input.byte());
    let result =
        xen.hal().memory().increase_reservation(asked, Extent::of_order(input.number() as u32));
    if let Err(short) = result {
        assert!(short.done < asked.max(1));
    }
    good(result);
}

/// So much was done as Xen said, in lists of 32; never more than was asked for.
fn reserved(
    result: Result<(), PartialReservation>,
    asked: usize,
    answers: impl Iterator<Item = isize>,
) {
    let mut done = 0;
    for answer in answers {
        let list = (asked - done).min(32);
        let told = check(answer).unwrap_or(0);
        done += told.min(list);
        assert!(done <= asked);
        if told < list {
            break;
        }
    }
    match result {
        Ok(()) => assert_eq!(done, asked),
        Err(short) => {
            assert!(short.done == done && done < asked, "{short}: of {asked}, {done} were done")
        }
    }
    good(result);
}

/// What Xen says of an entry: unknown numbers say nothing.
fn meaning(told: i32) -> Option<Result<(), Errno>> {
    match told {
        0 => Some(Ok(())),
        -4095..0 => Some(Err(Errno::new(told.unsigned_abs() as u16)?)),
        _ => None,
    }
}

/// The results of the entries agree with the error of the whole.
pub(super) fn batch(xen: &Hostile<'_>, input: &Input) {
    let mut entries = vec![BatchEntry::new(1, Frame(2)); input.below(100)];
    // SAFETY: no hypervisor touches the frames.
    let result =
        unsafe { xen.hal().memory().add_to_physmap_batch(MapSpace::GrantTable, &mut entries) };
    let calls = xen.calls(command::AddToPhysmapBatch);
    let told: Vec<i32> = calls.iter().flat_map(|call| values::<i32>(&call.lists[0])).collect();
    debug(&entries);
    for (index, entry) in entries.iter().enumerate() {
        let told = told.get(index).and_then(|told| meaning(*told));
        assert_eq!(entry.result, told, "entry {index}");
    }
    let first = entries.iter().position(|entry| entry.result != Some(Ok(())));
    match result {
        Ok(()) => assert_eq!(first, None, "the batch succeeded, and this entry was not mapped"),
        Err(error) => {
            let MemoryError::Batch { first, .. } = error else { panic!("{error}") };
            let entry = entries.get(first).expect("the index of an entry");
            assert_ne!(entry.result, Some(Ok(())), "{error}");
        }
    }
    good(result);
}
