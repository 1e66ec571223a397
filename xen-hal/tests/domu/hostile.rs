//! The rings of the console and of xenstore, with each side hostile in turn: it writes anything to
//! the pages, between any two accesses of the other side.

use std::collections::BTreeMap;
use std::error::Error;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

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
use xen_pac::xenstore::{XenstoreConnection, XenstoreDomainInterface, xenstore_server_features};
use xen_sim::backend::Dom0;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile, for_each_seed, runs_all_seeds};

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

/// Reads what the guest printed, and answers the oldest request: with the number 1, which is valid
/// for each kind, or with any payload. Sometimes types some keys, or carries out a reconnection.
fn serve(guest: Guest, console: XenconsInterface<'_>, store: XenstoreDomainInterface<'_>) {
    let random = guest.random() as u32;
    console.out_cons().other_side().publish(console.out_prod().load());
    if random % 8 == 0 {
        let keys = console.in_cons().load().wrapping_add(random / 8 % 40);
        console.in_prod().other_side().publish(keys);
    }
    if random % 16 == 0 {
        store.connection().swap(XenstoreConnection::CONNECTED.0, Ordering::AcqRel);
    }
    if store.req_prod().load() == store.req_cons().load() && random % 64 != 0 {
        return;
    }
    let length = if random % 4 == 1 { random / 8 % 40 } else { 2 };
    let (mut message, answer) = ([0; 18], store.rsp_prod().other_side());
    let asked = store.req().copy_to_wrapping(store.req_cons().load(), &mut message[..16]);
    message[12..16].copy_from_slice(&length.to_ne_bytes());
    message[16..].copy_from_slice(b"1\0");
    let answered = store.rsp().copy_from_wrapping(answer.load(), &message);
    assert!(asked.is_ok() && answered.is_ok());
    answer.publish(answer.load().wrapping_add(16 + length));
    store.req_cons().other_side().publish(store.req_prod().load());
}

const GUEST: Domid = Domid(1);

/// Attacks the guest's rings from the control domain, until the guest is done.
fn control_domain(guest: Guest, outcomes: &Outcomes) -> Result<(), Box<dyn Error>> {
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
    store.server_features().other_side().set(xenstore_server_features::RECONNECTION.val(1).value);
    while !outcomes.done.load(Ordering::Relaxed) {
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

/// The results of the guest's operations.
#[derive(Default)]
struct Outcomes {
    /// The number of operations of each kind that succeeded, and of those that failed.
    counts: Arc<Mutex<BTreeMap<&'static str, [u32; 2]>>>,
    /// Whether the guest attempts no further operation.
    done: AtomicBool,
}

impl Outcomes {
    fn count(&self, kind: &'static str, succeeded: bool) {
        self.counts.lock().unwrap().entry(kind).or_default()[usize::from(!succeeded)] += 1;
    }
}

/// Uses the console, xenstore and xenbus. Each operation ends.
fn victim(guest: Guest, outcomes: &Outcomes) -> Result<(), Box<dyn Error>> {
    let xen = guest.xen();
    let (mut storage, mut buffer, mut keys) = ([0; 600], [0; 4096], [0; 64]);
    let wait = || YieldWait::new(xen).attempts(20);
    // SAFETY: each ring has one owner, as long as the machine runs.
    let mut console = unsafe { Console::open(xen, |frame| guest.frame(frame)) }?.with_wait(wait());
    // SAFETY: as above.
    let store = unsafe { Store::open(xen, |frame| guest.frame(frame), &mut storage) }?;
    let mut store = store.with_wait(wait());
    for round in 0..200 {
        for (kind, written) in [
            ("write_all", console.write_all(&[b'x'; 3000])),
            ("flush", console.flush()),
            ("writeln", writeln!(console, "y")),
        ] {
            assert!(matches!(written, Ok(()) | Err(ConsoleError::Stalled)), "{written:?}");
            outcomes.count(kind, written.is_ok());
        }
        assert!(console.try_write(&[b'z'; 3000])? <= 2048);
        assert!(console.try_read(&mut keys)? <= keys.len());
        let read = console.read(&mut keys);
        assert!(matches!(read, Ok(1..) | Err(ConsoleError::TimedOut)), "{read:?}");
        outcomes.count("console read", read.is_ok());

        let (kind, result) = match round % 10 {
            0 => ("write", store.write("data/a", "v")),
            1 => ("long write", store.write("data/a", [b'v'; 1600])),
            2 => ("read", store.read("data/a", &mut buffer).map(drop)),
            3 => {
                let list = store.directory("data", &mut buffer);
                ("directory", list.map(|all| assert!(all.count() <= 4096)))
            }
            4 => {
                let list = store.permissions("data", &mut buffer);
                ("permissions", list.map(|all| assert!(all.count() <= 4096)))
            }
            5 => ("watch", store.watch("data", "token")),
            6 => ("unwatch", store.unwatch("data", "token").map(drop)),
            7 => ("transaction", store.transaction(|tree| tree.write("data/a", "1"))),
            8 => {
                let control = ShutdownControl::watch(&mut store);
                ("shutdown", control.and_then(|control| control.take(&mut store).map(drop)))
            }
            _ => ("reconnect", store.reconnect()),
        };
        outcomes.count(kind, result.is_ok());
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
    let counts = Arc::new(Mutex::default());
    for rates in [FaultRates::new(), FaultRates::storm()] {
        for_each_seed(10, |seed| {
            let outcomes = Arc::new(Outcomes { counts: Arc::clone(&counts), ..Default::default() });
            let attacked = Arc::clone(&outcomes);
            let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(rates);
            machine.domain(DomainConfig::dom0(), move |guest| control_domain(guest, &outcomes))?;
            let program = move |guest| {
                let result = victim(guest, &attacked);
                attacked.done.store(true, Ordering::Relaxed);
                result
            };
            assert_eq!(machine.domain(DomainConfig::domu(), program)?, GUEST);
            Ok(machine.run()?)
        });
    }
    if runs_all_seeds() {
        let counts = counts.lock().unwrap();
        assert_eq!(counts.len(), 14);
        assert!(counts.values().flatten().all(|count| *count > 0), "{counts:?}");
    }
}
