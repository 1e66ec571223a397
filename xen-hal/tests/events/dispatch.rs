//! The scan of the bitmaps, one property at a time.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::event::{AllPorts, Drain, Port, PortFilter, PortSet, ScanCursor, TwoLevel};
use xen_pac::base::XenUlong;

use super::{BITS, Domain, LAST, with_domain};

/// Dispatches on vCPU 0, stopping after `stop` events. Returns which ports were handled.
fn stopped(domain: &Domain, cursor: &ScanCursor, stop: usize) -> (Vec<u32>, Drain) {
    let mut ports = Vec::new();
    let drain = domain.bitmaps().try_dispatch(domain.vcpu(0), AllPorts, cursor, |port| {
        ports.push(port.0);
        if ports.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (ports, drain)
}

/// Dispatches on vCPU 0. Returns which ports were handled, in order of their numbers.
fn handled(domain: &Domain) -> (Vec<u32>, Drain) {
    let mut ports = Vec::new();
    let drain = domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, |port| ports.push(port.0));
    ports.sort_unstable();
    (ports, drain)
}

/// A domain whose ports up to `last` are IPIs of vCPU 0.
fn with_ipis(last: u32, test: impl FnOnce(&Domain) + Send + 'static) {
    with_domain(move |domain| {
        domain.bind_ipis(last, |_| 0);
        test(domain);
    });
}

fn raise(domain: &Domain, ports: &[u32]) {
    ports.iter().for_each(|port| domain.raise(Port(*port)));
}

#[test]
fn each_event_reaches_its_handler_once() {
    with_ipis(LAST, |domain| {
        let ports = [1, BITS - 1, BITS, 7 * BITS + 3, LAST];
        for stop in [None, Some(0)] {
            let cursor = ScanCursor::new();
            let dispatch = || match stop {
                None => handled(domain),
                Some(stop) => stopped(domain, &cursor, stop),
            };
            raise(domain, &ports);
            domain.raise(Port(BITS));
            let (mut all, drain) = dispatch();
            all.sort_unstable();
            assert_eq!((all.as_slice(), drain), (ports.as_slice(), Drain::Finished));
            assert_eq!(dispatch(), (Vec::new(), Drain::Finished));
            assert!(!domain.upcall_pending(0) && domain.selector(0) == 0);
        }
    });
}

#[test]
fn an_upcall_without_an_event_does_nothing() {
    with_domain(|domain| {
        let _ = domain.vcpu(0).evtchn_pending_sel().swap(XenUlong::MAX, SeqCst);
        let _ = domain.vcpu(0).evtchn_upcall_pending().swap(1, SeqCst);
        assert_eq!(handled(domain), (Vec::new(), Drain::Finished));
        assert!(!domain.upcall_pending(0) && domain.selector(0) == 0);
    });
}

#[test]
fn a_selector_without_an_upcall_is_scanned_too() {
    with_ipis(9, |domain| {
        for cursor in [None, Some(ScanCursor::new())] {
            domain.raise(Port(9));
            let _ = domain.vcpu(0).evtchn_upcall_pending().swap(0, SeqCst);
            let found = match &cursor {
                None => handled(domain),
                Some(cursor) => stopped(domain, cursor, 0),
            };
            assert_eq!(found, (Vec::from([9]), Drain::Finished));
        }
    });
}

/// A set whose port is signalled, in an upcall alone, while it is looked at.
struct Upcalling<'a>(&'a Domain);

impl PortFilter for &Upcalling<'_> {
    fn word(&self, _: usize) -> XenUlong {
        let _ = self.0.vcpu(0).evtchn_upcall_pending().swap(1, SeqCst);
        XenUlong::MAX
    }
}

#[test]
fn an_upcall_that_finds_no_further_event_ends_the_dispatch() {
    with_ipis(1, |domain| {
        domain.raise(Port(1));
        let set = Upcalling(domain);
        let drain = domain.bitmaps().dispatch(domain.vcpu(0), &set, |_| ());
        assert_eq!((drain, domain.upcall_pending(0)), (Drain::Finished, false));
    });
}

#[test]
fn the_pending_bit_is_clear_when_the_handler_runs() {
    with_ipis(5, |domain| {
        for stopping in [false, true] {
            domain.raise(Port(5));
            let mut calls = 0;
            let mut handler = |port| {
                assert!(!domain.bitmaps().is_pending(port));
                assert!(!domain.upcall_pending(0) && domain.selector(0) == 0);
                calls += 1;
                if calls == 1 {
                    domain.raise(port);
                }
            };
            let drain = if stopping {
                domain.bitmaps().try_dispatch(
                    domain.vcpu(0),
                    AllPorts,
                    &ScanCursor::new(),
                    |port| {
                        handler(port);
                        ControlFlow::Continue(())
                    },
                )
            } else {
                domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, &mut handler)
            };
            // What arrives while the handler runs is an event of its own.
            assert_eq!((calls, drain), (2, Drain::Finished));
        }
    });
}

#[test]
fn what_a_handler_masks_or_takes_is_not_handled_after_it() {
    with_ipis(8, |domain| {
        raise(domain, &[5, 6, 7, 8]);
        let mut ports = Vec::new();
        let drain = domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, |port| {
            ports.push(port.0);
            // Of the others, two are masked or taken by whichever handler runs first.
            let others: Vec<_> = (5..9).filter(|other| *other != ports[0]).collect();
            domain.bitmaps().mask(Port(others[0]));
            domain.bitmaps().clear(Port(others[1]));
        });
        let others: Vec<_> = (5..9).filter(|other| *other != ports[0]).collect();
        assert_eq!((ports.as_slice(), drain), ([ports[0], others[2]].as_slice(), Drain::Finished));
        assert!(domain.bitmaps().is_pending(Port(others[0])));
    });
}

#[test]
fn nothing_is_lost_when_a_handler_stops() {
    with_ipis(LAST, |domain| {
        let ports = [3, 4, BITS - 1, BITS, 2 * BITS + 1, LAST];
        for start in [1, 4, BITS, 2 * BITS + 9, LAST] {
            let cursor = ScanCursor::new();
            domain.raise(Port(start));
            assert_eq!(stopped(domain, &cursor, 1).0, [start]);
            raise(domain, &ports);
            let mut all = Vec::new();
            for left in (0..ports.len()).rev() {
                let (one, drain) = stopped(domain, &cursor, 1);
                assert_eq!(one.len(), 1);
                all.extend(one);
                assert_eq!(drain, if left == 0 { Drain::Finished } else { Drain::Unfinished });
                let (upcall, selected) = (domain.upcall_pending(0), domain.selector(0) != 0);
                assert_eq!((upcall, selected), (left != 0, left != 0), "{left} left of {all:?}");
            }
            // The order is cyclic: words upwards, ports downwards in a word, from the start on.
            let place = |port: u32| port / BITS * BITS + (BITS - 1 - port % BITS);
            let mut expected = ports;
            expected
                .sort_by_key(|port| place(*port).wrapping_sub(place(start) + 1) % TwoLevel::PORTS);
            assert_eq!(all, expected, "from {start}");
        }
    });
}

#[test]
fn a_busy_port_does_not_starve_another() {
    // Whichever of the two comes first in the order.
    for (busy, other) in [(1, LAST), (LAST, 1), (1, 2), (2, 1)] {
        with_ipis(LAST, move |domain| {
            let (cursor, mut before) = (ScanCursor::new(), 0);
            domain.raise(Port(busy));
            for _ in 0..100 {
                let mut reached = false;
                let _ = domain.bitmaps().try_dispatch(domain.vcpu(0), AllPorts, &cursor, |port| {
                    if port == Port(busy) {
                        domain.raise(port);
                        before += 1;
                        // The other's event arrives after the scan has begun.
                        domain.raise(Port(other));
                    }
                    reached |= port == Port(other);
                    ControlFlow::Break(())
                });
                assert!(before <= 2, "port {busy} was handled {before} times");
                if reached {
                    before = 0;
                }
            }
        });
    }
}

#[test]
fn a_port_that_never_rests_does_not_keep_the_dispatcher() {
    with_ipis(2, |domain| {
        for stopping in [false, true] {
            let cursor = ScanCursor::new();
            domain.raise(Port(2));
            assert_eq!(stopped(domain, &cursor, 1), (Vec::from([2]), Drain::Finished));
            domain.raise(Port(1));
            let mut calls = 0;
            let mut handler = |port| {
                calls += 1;
                domain.raise(port);
            };
            let drain = if stopping {
                domain.bitmaps().try_dispatch(domain.vcpu(0), AllPorts, &cursor, |port| {
                    handler(port);
                    ControlFlow::Continue(())
                })
            } else {
                domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, &mut handler)
            };
            assert_eq!((calls, drain), (4, Drain::Unfinished));
            assert!(domain.upcall_pending(0) && domain.selector(0) == 1);
            assert_eq!(handled(domain), (Vec::from([1]), Drain::Finished));
        }
    });
}

#[test]
fn a_vcpu_takes_its_own_events_only() {
    with_domain(|domain| {
        let vcpu_of = |port: u32| u32::from(port == 6 || port == LAST - 1);
        domain.bind_ipis(LAST, vcpu_of);
        let own = [PortSet::new(), PortSet::new()];
        for port in [5, 6, LAST, LAST - 1] {
            own[vcpu_of(port) as usize].insert(Port(port));
            domain.raise(Port(port));
        }
        for (vcpu, expected) in [(1, [6, LAST - 1]), (0, [5, LAST])] {
            let mut ports = Vec::new();
            let (info, own) = (domain.vcpu(vcpu), &own[vcpu as usize]);
            let drain = domain.bitmaps().dispatch(info, own, |port| ports.push(port.0));
            assert_eq!((ports.as_slice(), drain), (expected.as_slice(), Drain::Finished));
        }
    });
}

/// A set that counts how often it is looked at, which is once for each look at a word.
struct Counted(Cell<u32>);

impl PortFilter for &Counted {
    fn word(&self, _: usize) -> XenUlong {
        self.0.set(self.0.get() + 1);
        XenUlong::MAX
    }
}

#[test]
fn idle_ports_cost_nothing() {
    with_ipis(9 * BITS, |domain| {
        let looks = Counted(Cell::new(0));
        raise(domain, &[3, 4, 9 * BITS]);
        let _ = domain.bitmaps().dispatch(domain.vcpu(0), &looks, |_| ());
        // One for each event, and one in each word that finds no further event.
        assert_eq!(looks.0.get(), 5);
    });
}

#[test]
fn a_dispatch_within_a_handler_disturbs_nothing() {
    with_ipis(7, |domain| {
        raise(domain, &[5, 6, 7]);
        let ports = RefCell::new(Vec::new());
        let _ = domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, |port| {
            ports.borrow_mut().push(port.0);
            domain.raise(Port(4));
            let (nested, _) = handled(domain);
            ports.borrow_mut().extend(nested);
        });
        let mut all = ports.into_inner();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, [4, 5, 6, 7]);
    });
}

/// A set of all ports that takes an event while it is looked at, as another vCPU can.
struct Taking<'a>(&'a Domain, Port);

impl PortFilter for &Taking<'_> {
    fn word(&self, _: usize) -> XenUlong {
        self.0.bitmaps().clear(self.1);
        XenUlong::MAX
    }
}

#[test]
fn an_event_that_is_gone_when_its_turn_comes_is_not_handled() {
    with_ipis(6, |domain| {
        raise(domain, &[5, 6]);
        let mut ports = Vec::new();
        let taking = Taking(domain, Port(5));
        let drain = domain.bitmaps().dispatch(domain.vcpu(0), &taking, |port| ports.push(port.0));
        assert_eq!((ports.as_slice(), drain), ([6].as_slice(), Drain::Finished));
    });
}
