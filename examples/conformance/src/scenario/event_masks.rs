//! Shows what becomes of events that come while their port is masked or is being closed, that an
//! upcall may bring nothing, and that what a guest leaves behind in its selector or its upcall flag
//! keeps later events from being announced.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::{AllPorts, Channel, TwoLevel};
use xen_hal::hypercall::Hypercall;
use xen_hal::platform::Interrupts;
use xen_pac::base::Domid;
use xen_pac::shared_info::SharedInfo;

use super::common::FIRST;
use crate::failure::require;
use crate::{Failure, Machine, Transcript, World, line};

pub(super) fn run<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let world = machine.world();
    let shared = world.attach(machine)?;
    machine.enable_interrupts();
    let ipi = Xen::new(machine.xen()).events().bind_ipi(FIRST)?;
    masked(machine, t, shared, &ipi)?;
    coalesced(machine, t, &ipi)?;
    leftovers(machine, t, shared, &ipi)?;
    closed(machine, t, shared)?;
    peer_closed(machine, t, shared)
}

/// Sees what the shared page says of a port.
fn look<H: Hypercall + Copy>(
    t: &Transcript<'_>,
    when: &'static str,
    shared: SharedInfo<'_>,
    world: &World,
    channel: &Channel<H>,
) {
    let (bitmaps, port) = (TwoLevel::new(shared), channel.port());
    let pending = bitmaps.is_pending(port);
    let masked = bitmaps.is_masked(port);
    let handled = world.arrived(port);
    line!(t, when, "pending:", pending, "masked:", masked, "handled:", handled);
}

fn masked<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    shared: SharedInfo<'static>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let (world, bitmaps, events) =
        (machine.world(), TwoLevel::new(shared), Xen::new(machine.xen()).events());
    look(t, "at first,", shared, world, ipi);
    line!(t, "was masked:", bitmaps.mask(ipi.port()));
    let before = world.upcalls(FIRST);
    ipi.send()?;
    look(t, "signalled while masked,", shared, world, ipi);
    line!(t, "upcalls:", world.upcalls(FIRST) - before);
    bitmaps.unmask(events, ipi.port(), AllPorts)?;
    look(t, "unmasked,", shared, world, ipi);
    line!(t, "unmasked by Xen although it is not masked:", events.unmask(ipi.port()));
    bitmaps.mask(ipi.port());
    ipi.send()?;
    let (first, again) = (bitmaps.clear(ipi.port()), bitmaps.clear(ipi.port()));
    line!(t, "taken without a handler:", first, "and again:", again);
    bitmaps.unmask(events, ipi.port(), AllPorts)?;
    look(t, "unmasked with nothing pending,", shared, world, ipi);
    Ok(())
}

/// Events that come before a port was handled are one.
fn coalesced<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let before = machine.world().arrived(ipi.port());
    machine.interrupts().without(|| (0..3).try_for_each(|_| ipi.send()))?;
    let handled = machine.world().arrived(ipi.port()) - before;
    line!(t, "three events with interrupts off are handled as:", handled);
    Ok(())
}

/// What a guest forgets to clear keeps later events from being announced.
fn leftovers<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    shared: SharedInfo<'static>,
    ipi: &Channel<M::Xen>,
) -> Result<(), Failure> {
    let world = machine.world();
    let info = world.block(FIRST)?;
    let (upcall, selector) = (info.evtchn_upcall_pending(), info.evtchn_pending_sel());
    let bitmaps = TwoLevel::new(shared);

    let before = world.upcalls(FIRST);
    let announced = machine.interrupts().without(|| {
        ipi.send()?;
        let announced = (upcall.load(Ordering::SeqCst), selector.load(Ordering::SeqCst));
        bitmaps.clear(ipi.port());
        Ok::<_, Failure>(announced)
    })?;
    line!(t, "with interrupts off: upcall pending", announced.0, "selector", announced.1);
    let upcalls = world.upcalls(FIRST) - before;
    line!(t, "an event taken before its upcall leaves upcalls:", upcalls, "that bring nothing");

    let arrived = world.arrived(ipi.port());
    selector.fetch_or(1, Ordering::SeqCst);
    let before = world.upcalls(FIRST);
    ipi.send()?;
    let (upcalls, pending) = (world.upcalls(FIRST) - before, bitmaps.is_pending(ipi.port()));
    line!(t, "with the selector's bit left behind: upcalls", upcalls, "pending:", pending);
    machine.interrupts().without(|| world.upcall(FIRST));
    line!(t, "found by looking:", world.arrived(ipi.port()) - arrived);
    require(selector.load(Ordering::SeqCst) == 0, "the dispatcher empties the selector")
}

/// A port that is closed with an event pending loses it, and the next channel with the number
/// starts without.
fn closed<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    shared: SharedInfo<'static>,
) -> Result<(), Failure> {
    let (world, bitmaps, events) =
        (machine.world(), TwoLevel::new(shared), Xen::new(machine.xen()).events());
    let ipi = events.bind_ipi(FIRST)?;
    let port = ipi.port();
    bitmaps.mask(port);
    ipi.send()?;
    look(t, "before closing,", shared, world, &ipi);
    drop(ipi);
    let again = events.bind_ipi(FIRST)?;
    line!(t, "closed, and bound again as the same port:", again.port() == port);
    look(t, "the new channel,", shared, world, &again);
    bitmaps.unmask(events, port, AllPorts)?;
    look(t, "unmasked,", shared, world, &again);
    Ok(())
}

/// An event stays when the other end closes.
fn peer_closed<M: Machine>(
    machine: &M,
    t: &Transcript<'_>,
    shared: SharedInfo<'static>,
) -> Result<(), Failure> {
    let (world, bitmaps, events) =
        (machine.world(), TwoLevel::new(shared), Xen::new(machine.xen()).events());
    let near = events.alloc_unbound(Domid::SELF)?;
    bitmaps.mask(near.port());
    let far = events.bind_interdomain(Domid::SELF, near.port())?;
    far.send()?;
    drop(far);
    look(t, "the peer has signalled and closed,", shared, world, &near);
    line!(t, "which is then:", near.status());
    bitmaps.unmask(events, near.port(), AllPorts)?;
    look(t, "unmasked,", shared, world, &near);
    Ok(())
}
