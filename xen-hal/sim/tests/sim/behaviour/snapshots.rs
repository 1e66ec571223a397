//! Tests that a snapshot holds the state of the machine.

use xen_hal::Xen;

use crate::support::prelude::*;

fn looks(guest: Guest) {
    let events = Xen::new(guest.xen()).events();
    // A snapshot reads the shared page. The scheduler must not preempt the vCPU at these accesses.
    for _ in 0..100 {
        let before = guest.snapshot();
        let channel = events.alloc_unbound(Domid(7)).expect("a port is free");
        let port = format!("+ domain 1: port 1: Unbound {{ remote: {:?} }}, vCPU 0", Domid(7));
        assert_eq!(before.difference(&guest.snapshot()), [port]);
        drop(channel);
        assert_eq!(before.difference(&guest.snapshot()), Vec::<String>::new());
    }
}

#[test]
fn differences_show_what_was_made_and_vanish_with_it() {
    for rates in [FaultRates::none(), FaultRates { spurious_upcalls: 0, ..FaultRates::storm() }] {
        let mut machine =
            Machine::new(Profile::DOMU, 1).expect("the host has memory").fault_rates(rates);
        machine.domain(DomainConfig::new(), looks).expect("the machine has memory");
        machine.run().expect("the differences are as expected");
    }
}
