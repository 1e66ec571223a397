//! Masking and unmasking.

use std::sync::atomic::Ordering::SeqCst;

use xen_hal::event::{AllPorts, Port, PortFilter, PortSet, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_pac::base::XenUlong;

use super::{BITS, Domain, with_domain};

const PORT: Port = Port(2 * BITS + 5);

/// A domain in which `PORT` is an IPI of `vcpu`.
fn with_port(vcpu: u32, test: impl FnOnce(&Domain) + Send + 'static) {
    with_domain(move |domain| {
        domain.bind_ipis(PORT.0, |_| vcpu);
        test(domain);
    });
}

#[test]
fn a_quiet_port_of_ones_own_is_unmasked_without_a_hypercall() {
    with_port(0, |domain| {
        let bitmaps = domain.bitmaps();
        assert!(!bitmaps.mask(PORT) && bitmaps.mask(PORT) && bitmaps.is_masked(PORT));
        let (before, own) = (domain.guest.hypercalls(), PortSet::new());
        assert_eq!(bitmaps.unmask(domain.xen.events(), PORT, AllPorts), Ok(()));
        assert!(!bitmaps.is_masked(PORT) && !bitmaps.mask(PORT) && own.insert(PORT));
        assert_eq!(bitmaps.unmask(domain.xen.events(), PORT, &own), Ok(()));
        assert!(!bitmaps.is_masked(PORT));
        assert_eq!(domain.guest.hypercalls(), before);
    });
}

#[test]
fn a_pending_port_gives_its_upcall_when_it_is_unmasked() {
    with_port(0, |domain| {
        let bitmaps = domain.bitmaps();
        bitmaps.mask(PORT);
        domain.raise(PORT);
        assert!(bitmaps.is_pending(PORT) && !domain.upcall_pending(0));
        // Xen raises the port only if it finds it masked, and leaves it unmasked.
        bitmaps.unmask(domain.xen.events(), PORT, AllPorts).unwrap();
        assert!(domain.upcall_pending(0) && domain.selector(0) == 4 && !bitmaps.is_masked(PORT));
        assert!(bitmaps.clear(PORT) && !bitmaps.clear(PORT));
    });
}

#[test]
fn a_masked_event_is_kept_for_its_unmasking() {
    with_port(0, |domain| {
        let handled = || {
            let mut ports = Vec::new();
            let _ = domain.bitmaps().dispatch(domain.vcpu(0), AllPorts, |port| ports.push(port));
            ports
        };
        domain.raise(Port(5));
        domain.raise(Port(6));
        domain.bitmaps().mask(Port(5));
        assert_eq!(handled(), [Port(6)]);
        assert!(domain.bitmaps().is_pending(Port(5)) && !domain.upcall_pending(0));
        domain.bitmaps().unmask(domain.xen.events(), Port(5), AllPorts).unwrap();
        assert!(domain.upcall_pending(0));
        assert_eq!(handled(), [Port(5)]);
    });
}

#[test]
fn anothers_port_is_unmasked_by_xen_even_if_it_is_not_masked() {
    with_port(1, |domain| {
        let own = PortSet::new();
        own.insert(Port(PORT.0 + 1));
        // An event that its vCPU passed over because the port was not yet in its set: Xen has
        // raised it and will not again.
        domain.raise(PORT);
        let _ = domain.vcpu(1).evtchn_pending_sel().swap(0, SeqCst);
        let _ = domain.vcpu(1).evtchn_upcall_pending().swap(0, SeqCst);
        let before = domain.guest.hypercalls();
        domain.bitmaps().unmask(domain.xen.events(), PORT, &own).unwrap();
        assert!(domain.upcall_pending(1) && !domain.upcall_pending(0));
        assert_eq!(domain.guest.hypercalls() - before, 1);
    });
}

#[test]
fn a_quiet_port_of_anothers_is_unmasked_by_xen() {
    // Clearing the mask here and masking again could undo the mask of the port's own handler.
    with_port(1, |domain| {
        domain.bitmaps().mask(PORT);
        let before = domain.guest.hypercalls();
        domain.bitmaps().unmask(domain.xen.events(), PORT, PortSet::new()).unwrap();
        assert!(!domain.bitmaps().is_masked(PORT));
        assert_eq!(domain.guest.hypercalls() - before, 1);
    });
}

#[test]
fn a_port_beyond_the_bitmaps_has_no_bits() {
    with_domain(|domain| {
        let bitmaps = domain.bitmaps();
        for beyond in [Port(TwoLevel::PORTS), Port(u32::MAX)] {
            assert!(!bitmaps.mask(beyond) && !bitmaps.is_masked(beyond));
            assert!(!bitmaps.is_pending(beyond) && !bitmaps.clear(beyond));
            let unmasked = bitmaps.unmask(domain.xen.events(), beyond, AllPorts);
            assert_eq!(unmasked, Err(Errno::EINVAL));
        }
    });
}

#[test]
fn all_ports_can_be_masked_at_once() {
    with_port(0, |domain| {
        domain.bitmaps().mask_all();
        assert!((0..TwoLevel::PORTS).all(|port| domain.bitmaps().is_masked(Port(port))));
        domain.raise(PORT);
        assert!(domain.bitmaps().is_pending(PORT) && !domain.upcall_pending(0));
    });
}

/// A set that raises an event at the last moment before the mask is cleared.
struct Raising<'a>(&'a Domain);

impl PortFilter for &Raising<'_> {
    fn word(&self, _: usize) -> XenUlong {
        self.0.raise(PORT);
        XenUlong::MAX
    }
}

#[test]
fn an_event_just_before_the_unmasking_gives_its_upcall() {
    with_port(0, |domain| {
        domain.bitmaps().mask(PORT);
        assert!(!domain.bitmaps().is_pending(PORT));
        domain.bitmaps().unmask(domain.xen.events(), PORT, &Raising(domain)).unwrap();
        assert!(domain.upcall_pending(0) && !domain.bitmaps().is_masked(PORT));
    });
}
