//! Shows memory that is released and populated, pages that move, and Xen's answers to bad requests.
//! The commands that release and populate memory never fail: they only process fewer extents. A
//! page whose frame is populated again or removed stays allocated to the domain, which cannot reach
//! it.

use xen_hal::Xen;
use xen_hal::hypercall::{Commands, Errno};
use xen_hal::memory::{Extent, MapSpace, Memory};
use xen_hal::platform::Frame;
use xen_pac::access::Handle;
use xen_pac::base::Domid;
use xen_pac::command::Command;
use xen_pac::hypercall::HypercallNr;
use xen_pac::memory::{XenMemoryReservation, XenRemoveFromPhysmap, command};

use super::common;
use crate::transcript::Address;
use crate::{Failure, Machine, Transcript, line};

/// The machine's pages that this scenario releases.
const PAGES: [usize; 2] = [3, 4];
/// A guest frame beyond the domain's frames.
const NO_FRAME: Frame = Frame(1 << 40);

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let memory = Xen::new(machine.xen()).memory();
    line!(t, "greatest frame:", memory.maximum_frame().map(|frame| Address(frame.0)));
    line!(t, "of the machine:", memory.machine_maximum_frame().map(Address));
    let has = memory.current_reservation()?;
    let current = Address(has as u64);
    let most = memory.maximum_reservation().map(|pages| Address(pages as u64));
    line!(t, "pages: has", current, "may have", most);
    let frames = [common::frame(machine, PAGES[0])?, common::frame(machine, PAGES[1])?];
    balloon(machine, t, memory, frames)?;
    line!(t, "pages more than at first:", memory.current_reservation()? as u64 - has as u64);
    moves(machine, t, memory, frames)?;
    refusals(machine, t)
}

/// The number of processed extents, or all.
fn done(result: Result<(), xen_hal::memory::PartialReservation>) -> Result<(), u64> {
    result.map_err(|shortfall| shortfall.done as u64)
}

fn balloon<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    memory: Memory<M::Xen>,
    frames: [Frame; 2],
) -> Result<(), Failure> {
    let has = memory.current_reservation()?;
    // SAFETY: nothing is kept in the pages, here and below.
    let decreased = done(unsafe { memory.decrease_reservation(frames, Extent::PAGE) });
    line!(t, "decrease by two pages:", decreased);
    line!(t, "has fewer:", (has - memory.current_reservation()?) as u64);
    // SAFETY: as above.
    let decreased = done(unsafe { memory.decrease_reservation(frames, Extent::PAGE) });
    line!(t, "decrease by the same again:", decreased);
    // SAFETY: as above.
    line!(t, "populate both:", done(unsafe { memory.populate_physmap(frames, Extent::PAGE) }));
    common::poke(machine, PAGES[0], 0x5a);
    line!(t, "what is written there is read:", common::peek(machine, PAGES[0]));
    // SAFETY: as above.
    let populated = done(unsafe { memory.populate_physmap([frames[0]], Extent::PAGE) });
    line!(t, "populate where there is memory:", populated);
    // SAFETY: as above.
    let populated = done(unsafe { memory.populate_physmap([frames[1], NO_FRAME], Extent::PAGE) });
    line!(t, "populate one page and one that cannot be:", populated);
    // SAFETY: nothing is there.
    let decreased = done(unsafe { memory.decrease_reservation([NO_FRAME], Extent::PAGE) });
    line!(t, "decrease by what cannot be:", decreased);
    // SAFETY: Xen refuses the size.
    let populated = done(unsafe { memory.populate_physmap([frames[0]], Extent::of_order(40)) });
    line!(t, "populate with an absurd order:", populated);
    let increased = done(memory.increase_reservation(1, Extent::of_order(40)));
    line!(t, "increase by an absurd order:", increased);
    Ok(())
}

fn moves<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    memory: Memory<M::Xen>,
    [from, to]: [Frame; 2],
) -> Result<(), Failure> {
    common::poke(machine, PAGES[0], 0x11);
    common::poke(machine, PAGES[1], 0x22);
    // SAFETY: nothing is kept in either page but what is shown here, here and below.
    let moved = unsafe { memory.add_to_physmap(MapSpace::Own, from.0, to) };
    let (moved, reads) = (moved.map_err(common::errno), common::peek(machine, PAGES[1]));
    line!(t, "a page moved onto another:", moved, "reads", reads);
    // SAFETY: as above.
    let moved = unsafe { memory.add_to_physmap(MapSpace::Own, from.0, to) }.map_err(common::errno);
    line!(t, "moved from where it was:", moved);
    let has = memory.current_reservation()?;
    // SAFETY: nothing is at the frame any more.
    line!(t, "removed from where it was:", unsafe { memory.remove_from_physmap(from) });
    // SAFETY: as above.
    line!(t, "removed from where it is:", unsafe { memory.remove_from_physmap(to) });
    line!(t, "fewer pages for that:", has as u64 - memory.current_reservation()? as u64);
    // SAFETY: as above.
    let populated = done(unsafe { memory.populate_physmap([from, to], Extent::PAGE) });
    line!(t, "populated again:", populated);
    Ok(())
}

fn refusals<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = machine.xen();
    line!(t, "an unknown command:", common::unknown(&xen, HypercallNr::MEMORY_OP));
    for (what, number) in [
        ("populate_physmap", command::PopulatePhysmap::NUMBER),
        ("decrease_reservation", command::DecreaseReservation::NUMBER),
        ("add_to_physmap", command::AddToPhysmap::NUMBER),
        ("remove_from_physmap", command::RemoveFromPhysmap::NUMBER),
    ] {
        // SAFETY: Xen finds no argument, and does nothing.
        let answer = unsafe { common::from_nowhere(&xen, HypercallNr::MEMORY_OP, number) };
        line!(t, what, "of an argument that is nowhere:", answer);
    }
    let mut request = XenRemoveFromPhysmap::new(Domid(77), 1);
    // SAFETY: there is no such domain.
    let removed: Result<(), Errno> =
        unsafe { xen.call_unchecked(command::RemoveFromPhysmap, &mut request) };
    line!(t, "remove_from_physmap in domain 77:", removed);
    let mut request = XenMemoryReservation::ZEROED;
    request.extent_start = Handle::NULL;
    request.nr_extents = 1;
    request.domid = Domid(77);
    // SAFETY: there is no such domain.
    let populated = unsafe { xen.call_unchecked(command::PopulatePhysmap, &mut request) };
    line!(t, "populate_physmap in domain 77:", populated);
    Ok(())
}
