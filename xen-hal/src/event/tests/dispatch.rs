//! The dispatcher, one property at a time.

use core::cell::Cell;
use core::ops::ControlFlow;
use core::sync::atomic::Ordering::SeqCst;
use std::cell::RefCell;
use std::vec::Vec;

use xen_pac::base::XenUlong;

use super::model::{BITS, Xen};
use crate::event::{AllPorts, Drain, Events, Port, PortFilter, PortSet, ScanCursor, TwoLevel};

const LAST: u32 = TwoLevel::PORTS - 1;

/// Dispatches on vCPU 0, stopping after `stop` events, and says which ports were handled.
fn handled(xen: &Xen, cursor: &ScanCursor, stop: usize) -> (Vec<u32>, Drain) {
    let mut ports = Vec::new();
    let progress = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, cursor, |port| {
        ports.push(port.0);
        if ports.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (ports, progress)
}

fn raise(xen: &Xen, ports: &[u32]) {
    ports.iter().for_each(|port| xen.raise(Port(*port)));
}

#[test]
fn each_event_reaches_its_handler_once() {
    let (xen, cursor) = (Xen::new(), ScanCursor::new());
    let ports = [1, BITS - 1, BITS, 7 * BITS + 3, LAST];
    raise(&xen, &ports);
    xen.raise(Port(BITS));
    assert_eq!(xen.upcalls(0), 1);
    assert_eq!(handled(&xen, &cursor, 0), (ports.to_vec(), Drain::Finished));
    assert_eq!(handled(&xen, &cursor, 0), (Vec::new(), Drain::Finished));
    assert!(!xen.upcall_pending(0) && xen.selector(0) == 0);
}

#[test]
fn an_upcall_without_an_event_does_nothing() {
    let xen = Xen::new();
    let _ = xen.vcpu(0).evtchn_pending_sel().swap(XenUlong::MAX, SeqCst);
    let _ = xen.vcpu(0).evtchn_upcall_pending().swap(1, SeqCst);
    assert_eq!(handled(&xen, &ScanCursor::new(), 0), (Vec::new(), Drain::Finished));
    assert!(!xen.upcall_pending(0) && xen.selector(0) == 0);
}

#[test]
fn a_selector_without_an_upcall_is_scanned_too() {
    let xen = Xen::new();
    xen.raise(Port(9));
    let _ = xen.vcpu(0).evtchn_upcall_pending().swap(0, SeqCst);
    assert_eq!(handled(&xen, &ScanCursor::new(), 0), (Vec::from([9]), Drain::Finished));
}

#[test]
fn a_masked_event_is_kept_for_its_unmasking() {
    let (xen, cursor) = (Xen::new(), ScanCursor::new());
    xen.raise(Port(5));
    xen.raise(Port(6));
    xen.bitmaps().mask(Port(5));
    assert_eq!(handled(&xen, &cursor, 0).0, [6]);
    assert!(xen.bitmaps().is_pending(Port(5)) && !xen.upcall_pending(0));
    xen.bitmaps().unmask(Events::new(&xen), Port(5), &AllPorts).unwrap();
    assert!(xen.upcall_pending(0));
    assert_eq!(handled(&xen, &cursor, 0).0, [5]);
}

#[test]
fn the_pending_bit_is_clear_when_the_handler_runs() {
    let xen = Xen::new();
    xen.raise(Port(5));
    let mut calls = 0;
    let progress = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, &ScanCursor::new(), |port| {
        assert!(!xen.bitmaps().is_pending(port) && !xen.upcall_pending(0) && xen.selector(0) == 0);
        calls += 1;
        if calls == 1 {
            xen.raise(port);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(
        (calls, progress),
        (2, Drain::Finished),
        "what comes while the handler runs is an event of its own"
    );
}

#[test]
fn what_a_handler_masks_or_takes_is_not_handled_after_it() {
    let xen = Xen::new();
    raise(&xen, &[5, 6, 7, 8]);
    let mut ports = Vec::new();
    let progress = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, &ScanCursor::new(), |port| {
        ports.push(port.0);
        xen.bitmaps().mask(Port(6));
        xen.bitmaps().clear(Port(7));
        ControlFlow::Continue(())
    });
    assert_eq!((ports.as_slice(), progress), ([5, 8].as_slice(), Drain::Finished));
    assert!(xen.bitmaps().is_pending(Port(6)));
}

#[test]
fn nothing_is_lost_when_a_handler_stops() {
    let ports = [3, 4, BITS - 1, BITS, 2 * BITS + 1, LAST];
    for start in [0, 4, BITS, 2 * BITS + 9, LAST] {
        let (xen, cursor) = (Xen::new(), ScanCursor::new());
        xen.raise(Port(start));
        assert_eq!(handled(&xen, &cursor, 0).0, [start]);
        raise(&xen, &ports);
        let mut all = Vec::new();
        for left in (0..ports.len()).rev() {
            let (one, progress) = handled(&xen, &cursor, 1);
            assert_eq!(one.len(), 1);
            all.extend(one);
            assert_eq!(progress, if left == 0 { Drain::Finished } else { Drain::Unfinished });
            assert_eq!(
                (xen.upcall_pending(0), xen.selector(0) != 0),
                (left != 0, left != 0),
                "{left} left of {all:?}"
            );
        }
        // The first behind the start comes first.
        let mut expected = ports;
        expected.sort_by_key(|port| port.wrapping_sub(start + 1) % TwoLevel::PORTS);
        assert_eq!(all, expected);
    }
}

#[test]
fn a_busy_low_port_does_not_starve_a_high_one() {
    let (xen, cursor) = (Xen::new(), ScanCursor::new());
    xen.raise(Port(1));
    let mut before = 0;
    for _ in 0..100 {
        let mut high = false;
        let _ = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, &cursor, |port| {
            if port == Port(1) {
                xen.raise(port);
                before += 1;
                // The high port's event comes after the scan has set out.
                xen.raise(Port(LAST));
            }
            high |= port == Port(LAST);
            ControlFlow::Break(())
        });
        assert!(before <= 2, "the busy port was handled {before} times");
        if high {
            before = 0;
        }
    }
}

#[test]
fn a_port_that_never_rests_does_not_keep_the_dispatcher() {
    let (xen, cursor) = (Xen::new(), ScanCursor::new());
    xen.raise(Port(1));
    let mut calls = 0;
    let progress = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, &cursor, |port| {
        calls += 1;
        xen.raise(port);
        ControlFlow::Continue(())
    });
    assert!((2..=8).contains(&calls), "{calls}");
    assert_eq!(progress, Drain::Unfinished);
    assert!(xen.upcall_pending(0) && xen.selector(0) == 1);
    assert_eq!(handled(&xen, &cursor, 0), (Vec::from([1]), Drain::Finished));
}

#[test]
fn a_vcpu_takes_its_own_events_only() {
    let (xen, own) = (Xen::new(), [PortSet::new(), PortSet::new()]);
    for (vcpu, port) in [(0, 5), (1, 6), (0, LAST), (1, LAST - 1)] {
        xen.notify(Port(port), vcpu);
        own[vcpu as usize].insert(Port(port));
        xen.raise(Port(port));
    }
    for (vcpu, expected) in [(1, [6, LAST - 1]), (0, [5, LAST])] {
        let mut ports = Vec::new();
        let progress = xen.bitmaps().dispatch(
            xen.vcpu(vcpu),
            &own[vcpu as usize],
            &ScanCursor::new(),
            |port| {
                ports.push(port.0);
                ControlFlow::Continue(())
            },
        );
        assert_eq!((ports.as_slice(), progress), (expected.as_slice(), Drain::Finished));
    }
}

/// A set that counts how often it is looked at, which is once for each look at a word of the
/// bitmaps.
struct Counted(Cell<u32>);

impl PortFilter for Counted {
    fn word(&self, _: usize) -> XenUlong {
        self.0.set(self.0.get() + 1);
        XenUlong::MAX
    }
}

#[test]
fn idle_ports_cost_nothing() {
    let xen = Xen::new();
    let looks = Counted(Cell::new(0));
    raise(&xen, &[3, 4, 9 * BITS]);
    let _ = xen
        .bitmaps()
        .dispatch(xen.vcpu(0), &looks, &ScanCursor::new(), |_| ControlFlow::Continue(()));
    // One for each event, one that finds no further event in each of the two words, and one for the
    // part of the first word below the cursor.
    assert!(looks.0.get() <= 6, "{} looks", looks.0.get());
}

#[test]
fn a_dispatch_within_a_handler_disturbs_nothing() {
    let (xen, cursor) = (Xen::new(), ScanCursor::new());
    raise(&xen, &[5, 6, 7]);
    let ports = RefCell::new(Vec::new());
    let _ = xen.bitmaps().dispatch(xen.vcpu(0), &AllPorts, &cursor, |port| {
        ports.borrow_mut().push(port.0);
        xen.raise(Port(4));
        let (nested, _) = handled(&xen, &cursor, 0);
        ports.borrow_mut().extend(nested);
        ControlFlow::Continue(())
    });
    let mut all = ports.into_inner();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, [4, 5, 6, 7]);
}

/// A set of all ports that takes an event itself while it is looked at, as another vCPU might.
struct Taking<'a>(&'a Xen, Port);

impl PortFilter for Taking<'_> {
    fn word(&self, _: usize) -> XenUlong {
        self.0.bitmaps().clear(self.1);
        XenUlong::MAX
    }
}

#[test]
fn an_event_that_is_gone_when_it_is_to_be_handled_is_not() {
    let xen = Xen::new();
    raise(&xen, &[5, 6]);
    let mut ports = Vec::new();
    let progress =
        xen.bitmaps().dispatch(xen.vcpu(0), &Taking(&xen, Port(5)), &ScanCursor::new(), |port| {
            ports.push(port.0);
            ControlFlow::Continue(())
        });
    assert_eq!((ports.as_slice(), progress), ([6].as_slice(), Drain::Finished));
}
