//! The rings of the console and of xenstore, with each side hostile in turn: it writes anything to
//! the pages, between any two accesses of the other side.

use std::error::Error;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use xen_hal::Xen;
use xen_hal::console::{Console, ConsoleError};
use xen_hal::grant::{Access, Bytes, ForeignGrant, GrantRef, MapRequest, MapTarget, Mapping};
use xen_hal::hvm::parameter;
use xen_hal::memory::Extent;
use xen_hal::platform::AddressSpace;
use xen_hal::ring::YieldWait;
use xen_hal::xenbus::{Frontend, ShutdownControl};
use xen_hal::xenstore::{Store, StoreError, Tree};
use xen_pac::base::Domid;
use xen_pac::console_ring::XenconsInterface;
use xen_pac::grant_table::GrantReservedRef;
use xen_pac::sched::ShutdownReason;
use xen_pac::xenstore::XenstoreDomainInterface;
use xen_sim::backend::Dom0;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile, for_each_seed};

use super::{kernel, operator};

/// Writes anything to some words of a page: often an index that is possible, or a small number, as
/// in the header of a message.
///
/// # Safety
///
/// The page must be mapped for reading and writing, and all must access it by atomics.
unsafe fn scribble(guest: Guest, page: NonNull<AtomicU32>) {
    let word = |index: u64| {
        // SAFETY: the word is within the page.
        let place = unsafe { page.add(index as usize % 1024) };
        // SAFETY: the caller guarantees that the page is mapped and accessed by atomics.
        unsafe { place.as_ref() }
    };
    // The indices of xenstore's rings, and those of the console.
    let index = || [512, 768][guest.random() as usize % 2] + guest.random() % 4;
    for _ in 0..guest.random() % 12 {
        let small = guest.random() as u32 % 40;
        let near = word(index()).load(Ordering::Relaxed);
        let value = match guest.random() % 8 {
            0 | 1 => near.wrapping_add(small),
            2 | 3 => near.wrapping_sub(small),
            4..=6 => small,
            _ => [4096, 4097, 1 << 31, guest.random() as u32][small as usize % 4],
        };
        let place = match guest.random() % 4 {
            0 => index(),
            // The start of a ring, where the next message can be, or what follows the indices.
            1 => [0, 256, 516][small as usize % 3] + guest.random() % 8,
            _ => guest.random(),
        };
        word(place).store(value, Ordering::Relaxed);
    }
}

/// Attacks the control domain with the guest's own rings.
fn attack(guest: Guest) -> Result<(), Box<dyn Error>> {
    let xen = Xen::new(guest.xen());
    let hvm = xen.hvm();
    let rings = [
        (hvm.get(parameter::CONSOLE_PFN)?, hvm.get(parameter::CONSOLE_EVTCHN)?),
        (hvm.get(parameter::STORE_PFN)?, hvm.get(parameter::STORE_EVTCHN)?),
    ];
    for _ in 0..400 {
        let (frame, port) = rings[guest.random() as usize % rings.len()];
        let (frame, port) = frame.zip(port).ok_or("the domain has both rings")?;
        let page = guest.frame(frame).ok_or("the frame is mapped")?;
        // SAFETY: the page exists as long as the machine runs.
        unsafe { scribble(guest, page) };
        // The backend may have closed its end.
        let _ = xen.events().send(port);
        xen.sched().yield_now()?;
    }
    Ok(())
}

#[test]
fn a_hostile_guest_does_not_disturb_another() {
    for_each_seed(12, |seed| {
        let (dom0, rates) =
            (Dom0::new(), FaultRates { cancelled_suspends: 0, ..FaultRates::new() });
        let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
        machine.domain(DomainConfig::dom0(), dom0.program())?;
        machine.domain(DomainConfig::domu(), attack)?;
        let domu = machine.domain(DomainConfig::domu(), kernel)?;
        dom0.operate(domu, operator());
        let report = machine.run()?;
        assert!(dom0.printed(domu).ends_with("\nbye\r\n"), "{}", dom0.printed(domu));
        assert_eq!(report.shutdown_reasons[&domu.0], ShutdownReason::POWEROFF);
        Ok(report)
    });
}

/// Reads what the guest printed, types some keys, and answers the oldest request, with any payload.
fn serve(guest: Guest, console: XenconsInterface<'_>, store: XenstoreDomainInterface<'_>) {
    let length = guest.random() as u32 % 40;
    console.out_cons().other_side().publish(console.out_prod().load());
    console.in_prod().other_side().publish(console.in_cons().load().wrapping_add(length));
    let (mut header, answer) = ([0; 16], store.rsp_prod().other_side());
    let asked = store.req().copy_to_wrapping(store.req_cons().load(), &mut header);
    header[12..].copy_from_slice(&length.to_ne_bytes());
    let answered = store.rsp().copy_from_wrapping(answer.load(), &header);
    assert!(asked.is_ok() && answered.is_ok());
    answer.publish(answer.load().wrapping_add(16 + length));
    store.req_cons().other_side().publish(store.req_prod().load());
}

const GUEST: Domid = Domid(1);

/// Attacks the guest's rings from the control domain, until the guest ends.
fn control_domain(guest: Guest) -> Result<(), Box<dyn Error>> {
    let (xen, space) = (Xen::new(guest.xen()), guest.space());
    let mut pages = Vec::new();
    for (index, reference) in
        [GrantReservedRef::CONSOLE, GrantReservedRef::XENSTORE].iter().enumerate()
    {
        let place = guest.page(index);
        let frame = space.frame_of(place).ok_or("a page has a frame")?;
        // SAFETY: nothing is kept in the page.
        let _ = unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) };
        // SAFETY: nothing else uses the page.
        let target = unsafe { MapTarget::new(&space, place.cast()) }?;
        let of = ForeignGrant { domain: GUEST, reference: GrantRef(reference.0) };
        let request = MapRequest { of, access: Access::ReadWrite, target };
        // SAFETY: the grant is another domain's.
        pages.push(unsafe { xen.grants().map(request) }?);
    }
    let page = |index: usize| {
        let bytes = pages.get(index).and_then(Mapping::bytes).ok_or("the mapping is writable");
        bytes.map(Bytes::as_ptr)
    };
    // SAFETY: the mapping lasts until the function ends.
    let console = unsafe { XenconsInterface::from_ptr(page(0)?.cast()) };
    // SAFETY: as above.
    let store = unsafe { XenstoreDomainInterface::from_ptr(page(1)?.cast()) };
    for _ in 0..6000 {
        if guest.random() % 50 == 0 {
            // SAFETY: as above.
            unsafe { scribble(guest, page(guest.random() as usize % 2)?.cast()) };
        } else {
            serve(guest, console, store);
        }
        xen.sched().yield_now()?;
    }
    Ok(())
}

/// Uses the console, xenstore and xenbus. Each operation ends.
fn victim(guest: Guest) -> Result<(), Box<dyn Error>> {
    let xen = guest.xen();
    let (mut storage, mut buffer, mut keys) = ([0; 600], [0; 4096], [0; 64]);
    let wait = || YieldWait::new(xen).attempts(20);
    // SAFETY: each ring has one owner, as long as the machine runs.
    let mut console = unsafe { Console::open(xen, |frame| guest.frame(frame)) }?.with_wait(wait());
    // SAFETY: as above.
    let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
    let mut store = store.with_wait(wait());
    for round in 0..200 {
        for written in [console.write_all(&[b'x'; 3000]), console.flush(), writeln!(console, "y")] {
            assert!(matches!(written, Ok(()) | Err(ConsoleError::Stalled)), "{written:?}");
        }
        assert!(console.try_write(&[b'z'; 3000])? <= 2048);
        assert!(console.try_read(&mut keys)? <= keys.len());
        let read = console.read(&mut keys);
        assert!(matches!(read, Ok(1..) | Err(ConsoleError::TimedOut)), "{read:?}");

        let result = match round % 10 {
            0 => store.write("data/a", "v"),
            1 => store.write("data/a", [b'v'; 1600]),
            2 => store.read("data/a", &mut buffer).map(drop),
            3 => store.directory("data", &mut buffer).map(|all| assert!(all.count() <= 4096)),
            4 => store.permissions("data", &mut buffer).map(|all| assert!(all.count() <= 4096)),
            5 => store.watch("data", "token"),
            6 => store.unwatch("data", "token").map(drop),
            7 => store.transaction(|tree| tree.write("data/a", "1")),
            8 => ShutdownControl::watch(&mut store)
                .and_then(|control| control.take(&mut store).map(drop)),
            _ => store.reconnect(),
        };
        let unrelated = matches!(result, Err(StoreError::NoStore | StoreError::Xen(_)));
        assert!(!unrelated, "{result:?}");
        let _ = Frontend::open(&mut store, "device/vbd/51712");
        for _ in 0..8 {
            let _ = store.event(&mut buffer);
        }
        if store.exists("name") == Err(StoreError::Broken) {
            // SAFETY: as for `open`.
            unsafe { store.reopen(|frame| guest.frame(frame)) }?;
        }
    }
    Ok(())
}

#[test]
fn each_operation_ends_whatever_the_control_domain_writes() {
    for rates in [FaultRates::new(), FaultRates::storm()] {
        for_each_seed(10, |seed| {
            let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
            machine.domain(DomainConfig::dom0(), control_domain)?;
            assert_eq!(machine.domain(DomainConfig::domu(), victim)?, GUEST);
            Ok(machine.run()?)
        });
    }
}
