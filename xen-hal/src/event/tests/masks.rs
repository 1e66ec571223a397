//! Masking and unmasking.

use core::sync::atomic::Ordering::SeqCst;
use std::cell::RefCell;
use std::vec::Vec;

use xen_pac::base::XenUlong;
use xen_pac::event_channel::{EvtchnUnmask, command};

use super::model::{BITS, Xen};
use crate::event::{AllPorts, Events, Port, PortFilter, PortSet, TwoLevel};
use crate::hypercall::Errno;
use crate::platform::VcpuId;
use crate::testing::{Fake, Script, argument_at};

const PORT: Port = Port(2 * BITS + 5);

#[test]
fn a_quiet_port_of_ones_own_is_unmasked_without_a_hypercall() {
    let xen = Xen::new();
    assert!(!xen.bitmaps().mask(PORT) && xen.bitmaps().mask(PORT) && xen.bitmaps().is_masked(PORT));
    assert_eq!(xen.bitmaps().unmask(Events::new(&xen), PORT, &AllPorts), Ok(()));
    assert!(!xen.bitmaps().is_masked(PORT));
    assert_eq!(xen.calls.load(SeqCst), 0);
}

#[test]
fn a_pending_port_is_masked_when_xen_is_asked_to_unmask_it() {
    let xen = Xen::new();
    xen.bitmaps().mask(PORT);
    xen.raise(PORT);
    assert!(xen.bitmaps().is_pending(PORT) && !xen.upcall_pending(0));
    let asked = RefCell::new(Vec::new());
    let watcher = Fake(|_, arguments: &[usize]| {
        // SAFETY: the only call is the typed one for this command.
        let port = unsafe { argument_at::<EvtchnUnmask>(arguments[1]) }.port;
        asked.borrow_mut().push((port, xen.bitmaps().is_masked(Port(port))));
        0
    });
    xen.bitmaps().unmask(Events::new(&watcher), PORT, &AllPorts).unwrap();
    assert_eq!(*asked.borrow(), [(PORT.0, true)]);

    xen.bitmaps().unmask(Events::new(&xen), PORT, &AllPorts).unwrap();
    assert!(xen.upcall_pending(0) && xen.selector(0) == 4, "and so the event gave its upcall");
    assert!(xen.bitmaps().clear(PORT) && !xen.bitmaps().clear(PORT));
}

#[test]
fn anothers_port_is_unmasked_by_xen_even_if_it_is_not_masked() {
    let (xen, own) = (Xen::new(), PortSet::new());
    own.insert(Port(PORT.0 + 1));
    xen.notify(PORT, 1);
    // An event that its vCPU passed over because the port was not yet in its set: Xen has told of
    // it and will not again.
    xen.raise(PORT);
    let _ = xen.vcpu(1).evtchn_pending_sel().swap(0, SeqCst);
    let _ = xen.vcpu(1).evtchn_upcall_pending().swap(0, SeqCst);
    xen.bitmaps().unmask(Events::new(&xen), PORT, &own).unwrap();
    assert!(xen.upcall_pending(1) && !xen.upcall_pending(0));
    assert_eq!((xen.upcalls(1), xen.calls.load(SeqCst)), (2, 1));
}

#[test]
fn a_port_beyond_the_bitmaps_has_no_bits() {
    let xen = Xen::new();
    for beyond in [Port(TwoLevel::PORTS), Port(u32::MAX)] {
        let bitmaps = xen.bitmaps();
        assert!(
            !bitmaps.mask(beyond)
                && !bitmaps.is_masked(beyond)
                && !bitmaps.is_pending(beyond)
                && !bitmaps.clear(beyond)
        );
        assert_eq!(bitmaps.unmask(Events::new(&xen), beyond, &AllPorts), Err(Errno::EINVAL));
    }
}

#[test]
fn all_ports_can_be_masked_at_once() {
    let xen = Xen::new();
    xen.bitmaps().mask_all();
    assert!((0..TwoLevel::PORTS).all(|port| xen.bitmaps().is_masked(Port(port))));
    xen.raise(Port(TwoLevel::PORTS - 1));
    assert!(!xen.upcall_pending(0));
}

#[test]
fn a_port_moves_with_its_event() {
    let (xen, from, to) = (Xen::new(), PortSet::new(), PortSet::new());
    from.insert(PORT);
    xen.raise(PORT);
    xen.bitmaps().migrate(Events::new(&xen), PORT, VcpuId(1), &from, &to).unwrap();
    assert!(!from.contains(PORT) && to.contains(PORT) && !xen.bitmaps().is_masked(PORT));
    assert!(xen.upcall_pending(1), "the old vCPU was told, but it is the new one's now");
}

#[test]
fn a_masked_port_moves_masked() {
    let (xen, from, to) = (Xen::new(), PortSet::new(), PortSet::new());
    xen.bitmaps().mask(PORT);
    xen.bitmaps().migrate(Events::new(&xen), PORT, VcpuId(1), &from, &to).unwrap();
    assert!(xen.bitmaps().is_masked(PORT) && to.contains(PORT));
}

#[test]
fn a_port_that_cannot_move_stays() {
    let (xen, from, to) = (Xen::new(), PortSet::new(), PortSet::new());
    from.insert(PORT);
    let refused = xen.bitmaps().migrate(Events::new(&xen), PORT, VcpuId(2), &from, &to);
    assert_eq!(refused, Err(Errno::ENOENT));
    assert!(from.contains(PORT) && !to.contains(PORT) && !xen.bitmaps().is_masked(PORT));
}

#[test]
fn the_move_is_made_while_the_port_is_masked() {
    let (xen, from, to) = (Xen::new(), PortSet::new(), PortSet::new());
    let bitmaps = xen.bitmaps();
    let script = Script::new()
        .argument(command::BindVcpu, |bind| {
            assert_eq!((bind.port, bind.vcpu, bitmaps.is_masked(PORT)), (PORT.0, 1, true));
            0
        })
        .argument(command::Unmask, |unmask| {
            assert_eq!(
                (unmask.port, bitmaps.is_masked(PORT), to.contains(PORT)),
                (PORT.0, true, true)
            );
            0
        });
    bitmaps.migrate(Events::new(&script), PORT, VcpuId(1), &from, &to).unwrap();
}

/// A set that raises an event at the last moment before the mask is cleared.
struct Raising<'a>(&'a Xen);

impl PortFilter for Raising<'_> {
    fn word(&self, _: usize) -> XenUlong {
        self.0.raise(PORT);
        XenUlong::MAX
    }
}

#[test]
fn an_event_at_the_last_moment_before_the_unmasking_gives_its_upcall() {
    let xen = Xen::new();
    xen.bitmaps().mask(PORT);
    assert!(!xen.bitmaps().is_pending(PORT));
    xen.bitmaps().unmask(Events::new(&xen), PORT, &Raising(&xen)).unwrap();
    assert!(xen.upcall_pending(0) && !xen.bitmaps().is_masked(PORT));
}
