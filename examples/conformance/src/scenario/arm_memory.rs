//! Shows the shared page and the grant table on Arm: where they can be, what lending to oneself
//! does, and how a mapping is ended wrongly.

use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::grant::{Access, ForeignGrant, GrantTable, MapRequest};
use xen_hal::hypercall::Commands;
use xen_hal::memory::{MapSpace, WidthLatch};
use xen_hal::platform::{AddressSpace, Frame};
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, GrantStatus, command, grant_map_flags,
};
use xen_pac::sched::ShutdownReason;

use super::{common, shared_info};
use crate::failure::Required;
use crate::transcript::Address;
use crate::{Failure, Machine, Transcript, line};

/// The shared page, and where it can be.
pub(super) fn shared<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    line!(t, "width latched by asking:", WidthLatch::new(machine.xen()).map(drop));
    let shared = machine.world().attach(machine)?;
    let info = machine.world().block(common::FIRST)?;
    let time = info.time().snapshot();
    let (time, counter, mul) = (time.system_time, time.tsc_timestamp, time.tsc_to_system_mul);
    line!(t, "time block: time", time, "counter", counter, "mul", mul);
    let wall = shared.wallclock();
    let (seconds, nanoseconds, beyond) = (wall.sec == 0, wall.nsec == 0, wall.sec_hi);
    line!(
        t,
        "wallclock: sec is zero:",
        seconds,
        "nsec is zero:",
        nanoseconds,
        "beyond 2106:",
        beyond
    );
    let pending = info.evtchn_upcall_pending().load(Ordering::SeqCst);
    let selector = info.evtchn_pending_sel().load(Ordering::SeqCst);
    line!(t, "upcall pending:", pending, "selector:", selector);
    line!(t, "vCPU 1 has a block in the page:", shared.vcpu_info(1).is_some());
    let pending = shared.evtchn_pending(0).map(|word| word.load(Ordering::SeqCst));
    let masked = shared.evtchn_mask(0).map(|word| word.load(Ordering::SeqCst));
    line!(t, "first ports pending:", pending, "masked:", masked);
    shared_info::refused(machine, t)?;
    shared_info::registered(machine, t)
}

/// Lending to oneself, mapping, unmapping, copying; a table that grows; all as on x86, and what is
/// otherwise.
pub(super) fn grant<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    let grants = xen.grants();
    let size =
        grants.query_size(Domid::SELF).required("a domain may ask for its own table's size")?;
    let (version, pages, most) = (grants.version(Domid::SELF), size.frames, size.maximum);
    line!(t, "version:", version, "pages:", pages, "of at most", most);
    let (place, refs) = (machine.page(8).cast(), common::refs::<M, 3>(machine));
    // SAFETY: pages 8, 9 and 10 are the scenario's, in a row, and nothing else maps the table.
    let table = unsafe { GrantTable::map(machine.xen(), machine.space(), place, refs, 1) };
    let table = table.required("the grant table can be mapped")?;
    line!(t, "mapped:", table.frames(), "free:", table.available());
    line!(t, "grown to 3:", table.grow(3).is_ok(), "free:", table.available());
    let size =
        grants.query_size(Domid::SELF).required("a domain may ask for its own table's size")?;
    line!(t, "pages:", size.frames, "of at most", size.maximum);
    let page = common::page(machine)?;
    page.copy_from(0, b"from the lender").required("the page is there")?;
    let grant =
        table.lend(page, machine.world().me(), Access::ReadWrite).required("an entry is free")?;
    let of = ForeignGrant { domain: machine.world().me(), reference: grant.reference() };
    line!(t, "lent as", of.reference);
    let mut seen = [0; 15];
    let fetched = grants.copy_from_grant(&machine.space(), of, 0, &mut seen);
    line!(t, "fetched:", fetched, "as it was written:", &seen == b"from the lender");
    line!(t, "stored:", grants.copy_to_grant(&machine.space(), b"from the peer", of, 100));
    let target = common::target(machine)?;
    let has = xen.memory().current_reservation()?;
    let mapping =
        match common::map::<M>(&grants, MapRequest { of, access: Access::ReadWrite, target }) {
            Ok(mapping) => mapping,
            Err(failed) => {
                line!(t, "mapped:", Err::<(), _>(failed.error));
                return Err(Failure::Broken("a page that is lent can be mapped"));
            }
        };
    line!(t, "mapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    let mut seen = [0; 13];
    mapping.copy_to(100, &mut seen).required("the page is there")?;
    line!(t, "seen through the mapping:", &seen == b"from the peer");
    if let Some(bytes) = mapping.bytes() {
        bytes.copy_from(200, b"through the window").required("the page is there")?;
    }
    let mut seen = [0; 18];
    // On x86 the lender's frame is empty now, and the page must not be touched; on Arm it stays.
    if cfg!(target_arch = "aarch64") {
        grant.bytes().copy_to(200, &mut seen).required("the page is there")?;
    }
    let target = mapping.unmap().required("a mapping can be ended")?;
    line!(t, "unmapped: read:", grant.usage().reading, "written:", grant.usage().writing);
    let reservation = xen.memory().current_reservation()?;
    line!(t, "pages that the domain has fewer:", (has - reservation) as u64);
    let fetched = grants.copy_from_grant(&machine.space(), of, 200, &mut seen);
    let same = &seen == b"through the window";
    line!(t, "fetched by the reference after that:", fetched, "as it was written:", same);
    let (slot, page) = grant.revoke().required("a page that nobody uses can be taken back")?;
    line!(t, "taken back");
    let grant = slot.lend(page, machine.world().me(), Access::ReadOnly);
    let written = common::map::<M>(&grants, MapRequest { of, access: Access::ReadWrite, target });
    let Err(refused) = written else {
        return Err(Failure::Broken(
            "a page that is lent for reading cannot be mapped for writing",
        ));
    };
    line!(t, "lent for reading, mapped for writing:", Err::<(), _>(refused.error));
    match common::map::<M>(
        &grants,
        MapRequest { of, access: Access::ReadOnly, target: refused.target },
    ) {
        Ok(mapping) => {
            let mut seen = [0; 15];
            mapping.copy_to(0, &mut seen).required("the page is there")?;
            let (same, writable) = (&seen == b"from the lender", mapping.bytes().is_some());
            line!(t, "mapped for reading: seen:", same, "to be written:", writable);
            line!(t, "unmapped:", mapping.unmap().is_ok());
        }
        Err(failed) => line!(t, "mapped for reading:", Err::<(), _>(failed.error)),
    }
    let stored = grants.copy_to_grant(&machine.space(), b"no", of, 0);
    line!(t, "stored into what is lent for reading:", stored);
    line!(t, "taken back:", grant.revoke().is_ok(), "free:", table.available());
    // SAFETY: nothing of a table's is used any more but the version.
    line!(t, "version 2:", unsafe { grants.set_version(2) }.map(u64::from));
    let mut frames = [0; 4];
    let (set_up, first, last) = (grants.setup_table(&mut frames), frames[0] != 0, frames[3] != 0);
    line!(t, "setup_table of 4:", set_up, "frames known:", first, last);
    Ok(())
}

/// Each wrong end of a mapping, with a mapping of its own.
pub(super) fn unmap<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let table = common::table(machine)?;
    let page = common::page(machine)?;
    let lent = page.frame().address().unwrap_or_default();
    let target = common::target(machine)?.frame().address().unwrap_or_default();
    let other =
        machine.space().frame_of(machine.page(7)).and_then(Frame::address).unwrap_or_default();
    let hole =
        machine.space().frame_of(machine.page(9)).and_then(Frame::address).unwrap_or_default();
    // SAFETY: nothing is kept there.
    unsafe {
        Xen::new(machine.xen())
            .memory()
            .decrease_reservation([Frame::containing(hole)], xen_hal::memory::Extent::PAGE)
    }
    .required("given back")?;
    let grant =
        table.lend(page, machine.world().me(), Access::ReadWrite).required("an entry is free")?;
    let host = grant_map_flags::HOST_MAP.val(1).value;
    for (what, address) in [
        ("other memory:", other),
        ("nothing:", hole),
        ("address 0:", 0),
        ("beyond everything:", 1 << 50),
        ("the lender's frame:", lent),
        ("the target:", target),
    ] {
        let mut map =
            GnttabMapGrantRef::new(target, host, grant.reference().0, machine.world().me());
        // SAFETY: nothing is kept at the target.
        unsafe {
            machine.xen().call_unchecked(command::MapGrantRef, core::slice::from_mut(&mut map))
        }?;
        let mut end = GnttabUnmapGrantRef::new(address, 0, map.handle);
        end.status = GrantStatus(1);
        // SAFETY: nothing is kept there.
        unsafe {
            machine.xen().call_unchecked(command::UnmapGrantRef, core::slice::from_mut(&mut end))
        }?;
        let (mapped, unmapped, read) = (map.status, end.status, grant.usage().reading);
        line!(t, "mapped:", mapped, "unmapped from", what, unmapped, "still read:", read);
        let mut end = GnttabUnmapGrantRef::new(target, 0, map.handle);
        end.status = GrantStatus(1);
        // SAFETY: nothing is kept there.
        unsafe {
            machine.xen().call_unchecked(command::UnmapGrantRef, core::slice::from_mut(&mut end))
        }?;
        line!(t, "  then from the target:", end.status, "still read:", grant.usage().reading);
    }
    Ok(())
}

/// Boundaries that the others do not show.
pub(super) fn limits<M: Machine>(machine: &M, t: &Transcript<'_>) -> Result<(), Failure> {
    let xen = Xen::new(machine.xen());
    machine.world().attach(machine)?;
    for pirq in [257, 1023, 1024, 1055, 1056, 4095, 4096] {
        line!(t, "bind_pirq", pirq, xen.events().bind_pirq(pirq, false).map(drop));
    }
    let (current, most) = (xen.memory().current_reservation(), xen.memory().maximum_reservation());
    line!(t, "pages: has", current, "may have", most);
    let greatest = xen.memory().maximum_frame().map(|frame| Address(frame.0));
    let machine_greatest = xen.memory().machine_maximum_frame().map(Address);
    line!(t, "greatest frame:", greatest, "of the machine:", machine_greatest);
    let frame = |page| common::frame(machine, page);
    // SAFETY: the page is the scenario's.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::SharedInfo, 0, frame(6)?) }
        .map_err(common::errno);
    line!(t, "shared page elsewhere:", mapped);
    // SAFETY: as above.
    line!(t, "removed:", unsafe { xen.memory().remove_from_physmap(frame(0)?) });
    // SAFETY: as above.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::SharedInfo, 0, frame(6)?) }
        .map_err(common::errno);
    line!(t, "shared page elsewhere then:", mapped);
    // SAFETY: as above.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::GrantTable, 0, frame(7)?) }
        .map_err(common::errno);
    line!(t, "grant frame 0:", mapped);
    // SAFETY: as above.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::GrantTable, 0, frame(7)?) }
        .map_err(common::errno);
    line!(t, "again there:", mapped);
    // SAFETY: as above.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::GrantTable, 0, frame(8)?) }
        .map_err(common::errno);
    line!(t, "and elsewhere:", mapped);
    // SAFETY: as above.
    let mapped = unsafe { xen.memory().add_to_physmap(MapSpace::GrantStatus, 0, frame(9)?) }
        .map_err(common::errno);
    line!(t, "status page:", mapped);
    // SAFETY: as above.
    let moved =
        unsafe { xen.memory().move_frames(frame(10)?, 1, frame(11)?) }.map_err(common::errno);
    line!(t, "move frames:", moved);
    let size = xen.grants().query_size(Domid::SELF).required("size")?;
    line!(t, "grant pages:", size.frames, "of", size.maximum);
    let mut many = [0; 65];
    line!(t, "setup_table of 65:", xen.grants().setup_table(&mut many));
    line!(t, "setup_table of 64:", xen.grants().setup_table(&mut many[..64]));
    let size = xen.grants().query_size(Domid::SELF).required("size")?;
    line!(t, "grant pages:", size.frames, "of", size.maximum);
    let mut count = 0_u32;
    while xen.events().alloc_unbound(Domid::SELF).map(|channel| channel.into_port()).is_ok() {
        count += 1;
    }
    let refusal = xen.events().alloc_unbound(Domid::SELF).map(|channel| channel.into_port());
    line!(t, "ports:", count, "then", refusal);
    let answer = xen.sched().remote_shutdown(machine.world().me(), ShutdownReason::POWEROFF);
    line!(t, "remote_shutdown of this domain:", answer);
    Ok(())
}
