//! The C library of `xen-hal/capi`, called as C calls it.

#![allow(dead_code, unreachable_pub, reason = "the modules are those of another crate")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "the tests are like functions of C")]

#[path = "../../capi/src/clock.rs"]
mod clock;
#[path = "../../capi/src/console.rs"]
mod console;
#[path = "../../capi/src/events.rs"]
mod events;
#[path = "../../capi/src/grants.rs"]
mod grants;
#[path = "../../capi/src/port.rs"]
mod port;
#[path = "../../capi/src/storage.rs"]
mod storage;

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use xen_hal::event::TwoLevel;
use xen_hal::hypercall::install_custom;
use xen_hal::pac::errno::Errno;
use xen_hal::platform::{AddressSpace, Frame};
use xen_sim::VirtualCounter as Counter;
use xen_sim::{
    DomainConfig, DomainSpace, FaultRates, Guest, Hypervisor, Machine, Profile, for_each_seed,
    storm, storm_with_dom0,
};

use {clock::*, console::*, events::*, grants::*};

const VECTOR: u8 = 0xf3;
const EACCES: c_int = -Errno::EACCES.0;
const EBUSY: c_int = -Errno::EBUSY.0;
const EINVAL: c_int = -Errno::EINVAL.0;
const EPERM: c_int = -Errno::EPERM.0;

/// What the port provides.
#[unsafe(no_mangle)]
extern "C" fn xen_frame_of(address: *const c_void) -> u64 {
    let pointer = NonNull::new(address.cast_mut().cast());
    pointer.and_then(|pointer| DomainSpace.frame_of(pointer)).map_or(u64::MAX, |frame| frame.0)
}

extern "C" fn map(frame: u64) -> *mut c_void {
    let page = Guest::here().and_then(|guest| guest.frame::<c_void>(Frame(frame)));
    page.map_or(null_mut(), NonNull::as_ptr)
}

/// The console that is being opened.
static OPENING: AtomicPtr<XenConsole> = AtomicPtr::new(null_mut());

/// Maps nothing, and tries to use the console.
extern "C" fn map_nothing(_: u64) -> *mut c_void {
    let console = OPENING.load(Ordering::Relaxed);
    // SAFETY: the struct is leaked.
    unsafe {
        assert_eq!(xen_console_open(console, Some(map)), EBUSY);
        assert_eq!(xen_console_flush(console), EBUSY);
    }
    null_mut()
}

/// A struct of zeros, as a static of C is.
fn zeroed<T>() -> *mut T {
    Box::leak(Box::new(MaybeUninit::<T>::zeroed())).as_mut_ptr()
}

fn start() {
    // The first test of the process installs it.
    let _ = install_custom(&Hypervisor);
}

/// The last port with an event, and the number of events.
#[derive(Default)]
struct Seen {
    port: AtomicU32,
    count: AtomicU32,
}

unsafe extern "C" fn handler(context: *mut c_void, port: u32) {
    // SAFETY: the tests pass a leaked `Seen`.
    let seen = unsafe { &*context.cast::<Seen>() };
    seen.port.store(port, Ordering::Relaxed);
    seen.count.fetch_add(1, Ordering::Relaxed);
}

/// Maps the shared page and handles upcalls.
fn events(guest: Guest) -> (*mut XenEvents, &'static Seen) {
    start();
    let (events, seen) = (zeroed::<XenEvents>(), &*Box::leak(Box::<Seen>::default()));
    let page = guest.page(0).as_ptr().cast::<c_void>();
    // SAFETY: the struct is leaked, and nothing else uses the page.
    let init = |events, page, vector| unsafe { xen_events_init(events, page, vector) };
    assert_eq!(init(null_mut(), page, VECTOR), EINVAL);
    assert_eq!(init(events.wrapping_byte_add(8), page, VECTOR), EINVAL);
    assert_eq!(init(events, null_mut(), VECTOR), EINVAL);
    assert_eq!(init(events, page.wrapping_byte_add(64), VECTOR), EINVAL);
    assert_eq!(init(events, page, 31), EINVAL);
    assert_eq!(init(events, page, VECTOR), 0);
    assert_eq!(init(events, page, VECTOR), EBUSY);
    let (address, context) = (events.expose_provenance(), (&raw const *seen).expose_provenance());
    guest.on_interrupt(VECTOR, move || {
        let events = std::ptr::with_exposed_provenance_mut(address);
        let context = std::ptr::with_exposed_provenance_mut(context);
        // SAFETY: both are leaked. Xen raises the vector again for events that are left.
        assert!(unsafe { xen_events_dispatch(events, 0, Some(handler), context) } >= 0);
    });
    guest.enable_interrupts();
    (events, seen)
}

#[test]
fn events_arrive_once_and_wrong_states_are_refused() {
    storm(Profile::DOMU, 40, |guest| {
        let none = zeroed::<XenEvents>();
        let (events, seen) = events(guest);
        let port = &mut 0;
        for wrong in [null_mut(), none] {
            // SAFETY: each is null or such a struct.
            unsafe {
                assert_eq!(xen_events_bind_ipi(wrong, 0, port), EINVAL);
                assert_eq!(xen_events_listen(wrong, 1, 0), EINVAL);
                assert_eq!(xen_events_close(wrong, 1), EINVAL);
                assert_eq!(xen_events_mask(wrong, 1), EINVAL);
                assert_eq!(xen_events_unmask(wrong, 1, 0), EINVAL);
                assert_eq!(xen_events_dispatch(wrong, 0, Some(handler), null_mut()), EINVAL);
            }
        }
        let count = || seen.count.load(Ordering::Relaxed);
        // SAFETY: the struct holds the events of this domain.
        unsafe {
            assert_eq!(xen_events_dispatch(events, 0, None, null_mut()), EINVAL);
            assert_eq!(xen_events_bind_ipi(events, 0, null_mut()), EINVAL);
            assert_eq!(xen_events_bind_ipi(events, XEN_EVENTS_VCPUS - 1, port), -Errno::ENOENT.0);
            for beyond in [XEN_EVENTS_VCPUS, u32::MAX] {
                assert_eq!(xen_events_bind_ipi(events, beyond, port), EINVAL);
                assert_eq!(xen_events_bind_virq(events, 0, beyond, port), EINVAL);
                assert_eq!(xen_events_listen(events, 1, beyond), EINVAL);
                assert_eq!(xen_events_unmask(events, 1, beyond), EINVAL);
                assert_eq!(xen_events_dispatch(events, beyond, Some(handler), null_mut()), EINVAL);
            }
            for beyond in [TwoLevel::PORTS, u32::MAX] {
                assert_eq!(xen_events_mask(events, beyond), EINVAL);
                assert_eq!(xen_events_unmask(events, beyond, 0), EINVAL);
                assert_eq!(xen_events_listen(events, beyond, 0), EINVAL);
            }
            assert_eq!(xen_events_mask(events, TwoLevel::PORTS - 1), 1);
            assert_eq!(xen_events_bind_virq(events, 24, 0, port), EINVAL);
            assert_eq!(xen_events_listen(events, 9, 0), EINVAL);
            assert_eq!(xen_events_bind_virq(events, 24, XEN_EVENTS_VCPUS - 1, port), EINVAL);
            assert_eq!(xen_events_bind_ipi(events, 0, port), 0);
            assert_eq!(xen_events_listen(events, *port, XEN_EVENTS_VCPUS - 1), -Errno::ENOENT.0);
            assert_eq!(xen_events_unmask(events, *port, 0), 0);
            assert_eq!(xen_events_send(*port), 0);
            guest.wait_until(|| count() == 1);
            assert_eq!(seen.port.load(Ordering::Relaxed), *port);
            assert_eq!(xen_events_mask(events, *port), 0);
            assert_eq!(xen_events_mask(events, *port), 1);
            assert_eq!(xen_events_send(*port), 0);
            guest.relax();
            assert_eq!(count(), 1);
            assert_eq!(xen_events_unmask(events, *port, 0), 0);
            guest.wait_until(|| count() == 2);
            // As for a port that the toolstack made.
            assert_eq!(xen_events_mask(events, *port), 0);
            assert_eq!(xen_events_listen(events, *port, 0), 0);
            assert_eq!(xen_events_mask(events, *port), 0);
            assert_eq!(xen_events_close(events, *port), 0);
            assert_eq!(xen_events_close(events, *port), EINVAL);
            assert_eq!(xen_events_send(*port), EINVAL);
        }
    });
}

#[test]
fn the_timer_fires_at_its_time() {
    storm(Profile::DOMU, 40, |guest| {
        let (events, seen) = events(guest);
        let (clock, port) = (zeroed::<XenClock>(), &mut 0);
        // SAFETY: the structs are leaked, and hold the values of this domain.
        unsafe {
            assert_eq!(xen_clock_now(null()), EINVAL.into());
            assert_eq!(xen_clock_now(clock), EINVAL.into());
            assert_eq!(xen_timer_set(clock, 1), EINVAL);
            assert_eq!(xen_timer_stop(clock), EINVAL);
            assert_eq!(xen_clock_init(clock, null(), 0), EINVAL);
            assert_eq!(xen_clock_init(clock, events, XEN_EVENTS_VCPUS), EINVAL);
            assert_eq!(xen_clock_init(clock, events, 0), 0);
            assert_eq!(xen_clock_init(clock, events, 0), EBUSY);
            assert_eq!(xen_timer_set(clock, -1), EINVAL);
            assert_eq!(xen_events_bind_virq(events, 0, 0, port), 0);
            for round in 1..5 {
                let due = xen_clock_now(clock) + 100_000;
                assert_eq!(xen_timer_set(clock, due), 0);
                guest.wait_until(|| seen.count.load(Ordering::Relaxed) == round);
                assert!(xen_clock_now(clock) >= due);
            }
            assert_eq!(xen_timer_set(clock, i64::MAX), 0);
            assert_eq!(xen_timer_stop(clock), 0);
        }
        assert_eq!(seen.count.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn a_granted_page_is_not_the_lenders_until_the_peer_has_unmapped_it() {
    let lender = |guest: Guest| {
        start();
        let (table, grant) = (zeroed::<XenGrantTable>(), zeroed::<XenGrant>());
        let at = |page| guest.page(page).as_ptr().cast::<c_void>();
        let (page, reference) = (at(8), zeroed::<u32>());
        // SAFETY: the structs are leaked, and nothing else uses the pages.
        unsafe {
            let lend = |table, grant, page| xen_grant_lend(table, grant, page, 2, true, reference);
            assert_eq!(lend(table, grant, page), EINVAL);
            let inside = at(1).wrapping_byte_add(8);
            for (pages, count) in [(null_mut(), 1), (at(1), 0), (at(1), 5), (inside, 1)] {
                assert_eq!(xen_grant_table_map(table, pages, count), EINVAL);
            }
            assert_eq!(xen_grant_table_map(table, at(1), 1), 0);
            assert_eq!(xen_grant_table_map(table, at(1), 1), EBUSY);
            let lend = |grant, page| xen_grant_lend(table, grant, page, 2, true, reference);
            assert_eq!(lend(null_mut(), page), EINVAL);
            assert_eq!(lend(grant, null_mut()), EINVAL);
            assert_eq!(xen_grant_revoke(grant), EINVAL);
            page.cast::<u8>().copy_from(b"hello".as_ptr(), 5);
            assert_eq!(lend(grant, page), 0);
            assert_eq!(lend(grant, page), EBUSY);
            guest.publish("reference", (*reference).into());
            guest.wait_for_key("mapped");
            assert_eq!(xen_grant_revoke(grant), EBUSY);
            guest.publish("tried", 1);
            guest.wait_for_key("unmapped");
            assert_eq!(xen_grant_revoke(grant), 0);
            assert_eq!(xen_grant_revoke(grant), EINVAL);
        }
    };
    let peer = |guest: Guest| {
        start();
        let (mapping, target) = (zeroed::<XenMapping>(), guest.page(9).as_ptr().cast::<c_void>());
        let reference = guest.wait_for_key("reference") as u32;
        let mut text = [0; 5];
        let into = text.as_mut_ptr().cast::<c_void>();
        // SAFETY: the struct is leaked, and nothing else uses the page and the bytes.
        unsafe {
            assert_eq!(xen_grant_copy_from(1, reference, 0, null_mut(), 5), EINVAL);
            assert_eq!(xen_grant_copy_from(1, reference, 4092, into, 5), EINVAL);
            assert_eq!(xen_grant_copy_from(1, reference, 0, into, 5), 0);
            assert_eq!(&text, b"hello");
            assert_eq!(xen_grant_copy_to(1, reference, 0, into, 5), EACCES);
            assert_eq!(xen_grant_map(mapping, null_mut(), 1, reference, true), EINVAL);
            assert_eq!(xen_grant_unmap(mapping), EINVAL);
            assert_eq!(xen_grant_map(mapping, target, 1, reference, false), EACCES);
            assert_eq!(xen_grant_map(mapping, target, 1, reference, true), 0);
            assert_eq!(xen_grant_map(mapping, target, 1, reference, true), EBUSY);
            assert_eq!(target.cast::<[u8; 5]>().read_volatile(), *b"hello");
            guest.publish("mapped", 1);
            guest.wait_for_key("tried");
            assert_eq!(xen_grant_unmap(mapping), 0);
            assert_eq!(xen_grant_unmap(mapping), EINVAL);
            guest.publish("unmapped", 1);
        }
    };
    for_each_seed(20, |seed| {
        let mut machine = Machine::new(Profile::DOMU, seed)?.fault_rates(FaultRates::storm());
        machine.domain(DomainConfig::new(), lender)?;
        machine.domain(DomainConfig::new(), peer)?;
        Ok(machine.run()?)
    });
}

#[test]
fn the_console_prints_and_reads() {
    let prepare = |dom0: &xen_sim::backend::Dom0, guest| {
        dom0.operate(guest, |now| {
            if now.printed == "ready" {
                now.typed.extend_from_slice(b"x");
            }
        });
    };
    storm_with_dom0(10, prepare, |guest| {
        start();
        let (console, port, mut key) = (zeroed::<XenConsole>(), &mut 0, 0_u8);
        let key = (&raw mut key).cast::<c_void>();
        // SAFETY: the struct is leaked, and the ring stays mapped.
        unsafe {
            let text = b"ready".as_ptr().cast::<c_void>();
            assert_eq!(xen_console_open(null_mut(), Some(map)), EINVAL);
            assert_eq!(xen_console_open(console, None), EINVAL);
            OPENING.store(console, Ordering::Relaxed);
            assert_eq!(xen_console_open(console, Some(map_nothing)), EINVAL);
            assert_eq!(xen_console_write(console, text, 5), EINVAL);
            assert_eq!(xen_console_open(console, Some(map)), 0);
            assert_eq!(xen_console_open(console, Some(map)), EBUSY);
            assert_eq!(xen_console_port(console, null_mut()), EINVAL);
            assert_eq!(xen_console_port(console, port), 0);
            assert_ne!(*port, 0);
            assert_eq!(xen_console_read(console, null_mut(), 1), EINVAL);
            assert_eq!(xen_console_read(console, key, 1), 0);
            assert_eq!(xen_console_write(console, null(), 5), EINVAL);
            assert_eq!(xen_console_write(console, text, usize::MAX), EINVAL);
            assert_eq!(xen_console_write(console, text, 5), 0);
            assert_eq!(xen_console_flush(console), 0);
            while xen_console_read(console, key, 1) == 0 {
                guest.relax();
            }
            assert_eq!(key.cast::<u8>().read(), b'x');
        }
    });
    // A domain without a ring, which may not use Xen's console.
    storm(Profile::DOMU, 1, |_| {
        start();
        // SAFETY: the struct is leaked.
        assert_eq!(unsafe { xen_console_open(zeroed::<XenConsole>(), Some(map)) }, EPERM);
    });
}
