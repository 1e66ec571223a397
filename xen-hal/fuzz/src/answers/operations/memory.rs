//! Memory: sizes, the memory map, single pages, reservations.

use xen_hal::Xen;
use xen_hal::hypercall::check;
use xen_hal::memory::{Extent, MapEntry, MapSpace, PartialReservation, WidthLatch};
use xen_hal::platform::Frame;
use xen_pac::memory::command;

use super::super::hypervisor::Hostile;
use super::super::{debug, display, good};
use super::Operation;
use crate::input::Input;
use crate::memory::{Identity, Pages};

thread_local! {
    static PAGES: Pages = Pages::leak(2);
}

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, _| _ = good(Xen::new(xen).memory().maximum_frame()).map(|frame| debug(&frame.address())),
    |xen, _| _ = good(Xen::new(xen).memory().current_reservation()),
    |xen, _| _ = good(Xen::new(xen).memory().maximum_reservation()),
    |xen, _| _ = good(Xen::new(xen).memory().machine_maximum_frame()),
    map,
    map,
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe {
            Xen::new(xen).memory().add_to_physmap(MapSpace::GrantStatus, 1, Frame(input.number()))
        })
    },
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe { Xen::new(xen).memory().move_frames(Frame(1), 2, Frame(input.number())) })
    },
    |xen, input| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe { Xen::new(xen).memory().remove_from_physmap(Frame(input.number())) })
    },
    |xen, _| {
        // SAFETY: there is no Xen whose layout could differ.
        let latch = unsafe { WidthLatch::assume(xen) };
        // SAFETY: the handle is not used.
        good(unsafe { latch.map_shared_info(&Identity, PAGES.with(|pages| pages.at(0))) });
    },
    |xen, _| {
        // SAFETY: the hypervisor is a fake, and no memory moves.
        _ = good(unsafe {
            Xen::new(xen).memory().map_grant_frames(
                &Identity,
                PAGES.with(|pages| pages.at(0)),
                5,
                2,
            )
        })
    },
    populate,
    decrease,
    increase,
];

/// A map is a part of the buffer, and never all of it.
fn map(xen: &Hostile<'_>, input: &Input) {
    let mut buffer = vec![MapEntry::EMPTY; input.below(12)];
    let (room, first) = (buffer.len(), buffer.as_ptr());
    if let Some(map) = good(Xen::new(xen).memory().memory_map(&mut buffer)) {
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
    let result = unsafe { Xen::new(xen).memory().populate_physmap(frames, Extent::PAGE) };
    reserved(result, asked, xen.calls(command::PopulatePhysmap).iter().map(|call| call.answer));
}

fn decrease(xen: &Hostile<'_>, input: &Input) {
    let frames = frames(input);
    let asked = frames.size_hint().0;
    // SAFETY: as above.
    let result = unsafe { Xen::new(xen).memory().decrease_reservation(frames, Extent::PAGE) };
    reserved(result, asked, xen.calls(command::DecreaseReservation).iter().map(|call| call.answer));
}

fn increase(xen: &Hostile<'_>, input: &Input) {
    let asked = usize::from(input.byte());
    let result =
        Xen::new(xen).memory().increase_reservation(asked, Extent::of_order(input.number() as u32));
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
