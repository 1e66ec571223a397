//! vCPUs as threads, against others that raise events all the time.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::model::{BITS, Xen};
use crate::event::{Events, Port, PortSet, ScanCursor};

const PORTS: [Port; 4] = [Port(3), Port(BITS - 1), Port(BITS), Port(40)];
const EVENTS: u32 = 30_000;

/// What a port stands for: a counter that the peer moves on before it raises the event, and the
/// last value that the handler saw.
#[derive(Default)]
struct Ring {
    written: AtomicU32,
    seen: AtomicU32,
    handled: AtomicU32,
}

#[test]
fn no_event_is_lost_in_a_race() {
    let xen = Xen::new();
    let rings: [Ring; 4] = Default::default();
    let peers = AtomicUsize::new(2);
    let done = AtomicBool::new(false);
    let own = [PortSet::new(), PortSet::new()];
    for (index, port) in PORTS.into_iter().enumerate() {
        xen.notify(port, index as u32 % 2);
        own[index % 2].insert(port);
    }
    thread::scope(|scope| {
        for peer in 0..2 {
            let (xen, rings, peers, done) = (&xen, &rings, &peers, &done);
            scope.spawn(move || {
                for count in 0..EVENTS as usize {
                    let index = (count + peer) % PORTS.len();
                    rings[index].written.fetch_add(1, SeqCst);
                    xen.raise(PORTS[index]);
                }
                if peers.fetch_sub(1, SeqCst) == 1 {
                    done.store(true, SeqCst);
                }
            });
        }
        for vcpu in 0..2_u32 {
            let (xen, rings, own, done) = (&xen, &rings, &own[vcpu as usize], &done);
            scope.spawn(move || run(xen, vcpu, own, rings, done));
        }
    });
    for (port, ring) in PORTS.iter().zip(&rings) {
        assert_eq!(
            ring.seen.load(SeqCst),
            ring.written.load(SeqCst),
            "the last event of {port:?} was lost"
        );
        assert!(
            ring.handled.load(SeqCst) <= ring.written.load(SeqCst),
            "{port:?} had more handlers than events"
        );
    }
}

/// A vCPU: dispatches when, and only when, an upcall is due; between upcalls it masks one of its
/// ports and unmasks it again.
fn run(xen: &Xen, vcpu: u32, own: &PortSet, rings: &[Ring; 4], done: &AtomicBool) {
    let cursor = ScanCursor::new();
    let mine: [usize; 2] = [vcpu as usize, vcpu as usize + 2];
    for round in 0.. {
        // Read first: events that come before it are raised before it.
        let last = done.load(SeqCst);
        if xen.upcall_pending(vcpu) {
            let _ = xen.bitmaps().dispatch(xen.vcpu(vcpu), own, &cursor, |port| {
                let index = PORTS
                    .iter()
                    .position(|known| *known == port)
                    .expect("a port that nobody raises");
                assert!(mine.contains(&index), "{port:?} belongs to the other vCPU");
                rings[index].seen.store(rings[index].written.load(SeqCst), SeqCst);
                rings[index].handled.fetch_add(1, SeqCst);
                if round % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        } else if last {
            return;
        } else {
            let port = PORTS[mine[round % 2]];
            xen.bitmaps().mask(port);
            thread::yield_now();
            xen.bitmaps().unmask(Events::new(xen), port, own).unwrap();
        }
    }
}
