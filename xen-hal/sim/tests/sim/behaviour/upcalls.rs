//! How ports are given out, and events on their way: pending bits, masks, selectors and upcalls.

use xen_pac::event_channel::command;

use crate::support::prelude::*;

/// A domain with three IPIs of its vCPU, the third in the second word of the bitmaps; interrupts
/// are off.
fn with_ports(program: impl Fn(&Table, SharedInfo<'static>, &Notes) + Send + Clone + 'static) {
    for profile in [Profile::DOMU, Profile::DOM0LESS] {
        let program = program.clone();
        one(profile, DomainConfig::new().vcpus(2), move |t| {
            let ((shared, interrupt), notes) = (attach_on(profile, t), Notes::default());
            notes.note(**t, interrupt, shared);
            while ipi(t, 0) != Ok(64) {}
            program(t, shared, &notes);
        });
    }
}

#[test]
fn an_event_sets_bit_selector_and_upcall_in_turn() {
    with_ports(|t, shared, notes| {
        let info = block(shared, 0);
        t.is("nothing at first", marks(info), (false, 0));
        t.is("sent", [send(t, 1), send(t, 64), send(t, 1)], [OK; 3]);
        t.is("both words are selected", marks(info), (true, 0b11));
        t.is("pending", [1, 2, 64].map(|port| is_pending(shared, port)), [true, false, true]);
        t.enable_interrupts();
        t.is("one upcall brings both", (notes.upcalls(), notes.ports()), (1, vec![1, 64]));
        t.is("nothing is left", marks(info), (false, 0));
    });
}

#[test]
fn a_masked_event_waits_and_is_announced_by_unmasking() {
    with_ports(|t, shared, notes| {
        t.enable_interrupts();
        bitmaps(shared).mask(Port(1));
        t.is("sent", send(t, 1), OK);
        t.is(
            "pending, and not told",
            (is_pending(shared, 1), marks(block(shared, 0)), notes.upcalls()),
            (true, (false, 0), 0),
        );
        t.is("unmasked by Xen", unmask(t, 1), OK);
        t.is("told", (is_masked(shared, 1), notes.ports()), (false, vec![1]));
        t.is("unmasked with nothing pending", unmask(t, 1), OK);
        t.is("not told", notes.upcalls(), 1);
        // Cleared by the guest alone, the mask lets nothing out; and Xen does not tell of what was
        // not masked.
        bitmaps(shared).mask(Port(1));
        t.is("sent", send(t, 1), OK);
        shared.evtchn_mask(0).expect("the first word").fetch_and(!0b10, SeqCst);
        t.is("unmasked by Xen, too late", unmask(t, 1), OK);
        t.is("not told", (is_pending(shared, 1), notes.upcalls()), (true, 1));
    });
}

#[test]
fn an_event_that_is_pending_already_announces_nothing() {
    with_ports(|t, shared, notes| {
        bitmaps(shared).mask(Port(1));
        t.is("sent", send(t, 1), OK);
        shared.evtchn_mask(0).expect("the first word").swap(0, SeqCst);
        t.enable_interrupts();
        t.is("sent again", send(t, 1), OK);
        t.is("not told", notes.upcalls(), 0);
    });
}

#[test]
fn what_is_left_behind_suppresses_what_comes() {
    with_ports(|t, shared, notes| {
        let info = block(shared, 0);
        t.enable_interrupts();
        info.evtchn_pending_sel().swap(0b01, SeqCst);
        t.is("in a word whose selector was left", send(t, 1), OK);
        t.is("not told", (notes.upcalls(), marks(info)), (0, (false, 0b01)));
        t.is("in another word", send(t, 64), OK);
        t.is("told of both", notes.ports(), vec![1, 64]);
    });
    // The mark of an upcall that nobody takes: with interrupts that come late without end, nothing
    // takes it.
    with_ports(|t, shared, notes| {
        let info = block(shared, 0);
        t.is("sent", send(t, 1), OK);
        shared.evtchn_pending(0).expect("the first word").swap(0, SeqCst);
        info.evtchn_pending_sel().swap(0, SeqCst);
        t.is("the mark is left", marks(info), (true, 0));
        t.is("sent", send(t, 1), OK);
        t.is("selected", marks(info), (true, 1));
        // The vector is raised as long as the mark is there.
        t.enable_interrupts();
        t.is("told", notes.ports(), vec![1]);
    });
}

#[test]
fn events_of_a_port_go_to_its_vcpu() {
    one(Profile::DOMU, DomainConfig::new().vcpus(2), |t| {
        let (shared, _) = attach_on(Profile::DOMU, t);
        while ipi(t, 0) != Ok(64) {}
        let aside = alloc(t, Domid::SELF, t.domain());
        t.is("a channel", aside, Ok(65));
        t.is("with oneself", interdomain(t, t.domain(), 65), Ok(66));
        let _ = take(shared, block(shared, 0));
        t.is("moved", bind_vcpu(t, 66, 1), OK);
        t.is("sent", send(t, 65), OK);
        t.is("the first vCPU is not told", marks(block(shared, 0)), (false, 0));
        t.is("the second is", marks(block(shared, 1)), (true, 0b10));
    });
}

#[test]
fn upcalls_that_come_for_nothing_are_nothing() {
    with_ports(|t, _, notes| {
        t.enable_interrupts();
        t.set_fault_rates(FaultRates { spurious_upcalls: 1, ..FaultRates::none() });
        t.is("a hypercall", ipi(t, 1).is_ok(), true);
        t.is("an upcall without an event", (notes.upcalls(), notes.ports()), (1, vec![]));
    });
}

#[test]
fn ports_come_in_buckets_up_to_the_limit() {
    for (profile, last) in [(Profile::DOMU, 1023), (Profile::DOM0LESS, 1023), (Profile::DOM0, 4095)]
    {
        one(profile, DomainConfig::new(), move |t| {
            for port in 1..=last {
                // What lies beyond the bucket is no port yet, and free ones within are.
                if port % 64 == 0 {
                    rows! { t;
                        "the next bucket is not there before it is needed",
                            status(t, Domid::SELF, port as u32).map(|_| 0) => EINVAL;
                    }
                }
                t.is("the lowest that is free", ipi(t, 0), Ok(port));
                let end = port as u32 | 63;
                t.is("its bucket's last", status(t, Domid::SELF, end).is_ok(), true);
                t.is("past its bucket", status(t, Domid::SELF, end + 1).is_ok(), false);
            }
            t.is("no more", ipi(t, 0), ENOSPC);
            t.is("one is given back", close(t, 100), OK);
            t.is("and given out", ipi(t, 0), Ok(100));
            t.is("no more", ipi(t, 0), ENOSPC);
        });
    }
}

#[test]
fn an_event_goes_to_the_other_end() {
    let first = domain(DomainConfig::new(), |t| {
        let shared = attach(t);
        t.is("set aside", alloc(t, Domid::SELF, Domid(2)), Ok(1));
        t.is("signalled with nobody there", send(t, 1), OK);
        t.publish("port", 1);
        let _ = t.wait_for_key("bound");
        t.is("nothing has come here", is_pending(shared, 1), false);
        t.is("signalled", send(t, 1), OK);
        t.is("nor does the caller's", is_pending(shared, 1), false);
        t.publish("signalled", 1);
        let _ = t.wait_for_key("answered");
        t.is("the answer", is_pending(shared, 1), true);
        t.is("closed", close(t, 1), OK);
        t.is("with its event", is_pending(shared, 1), false);
        t.publish("closed", 1);
        let _ = t.wait_for_key("seen");
    });
    let second = domain(DomainConfig::new(), |t| {
        let shared = attach(t);
        let port = t.wait_for_key("port") as u32;
        t.is("bound", interdomain(t, Domid(1), port), Ok(1));
        // Events that came before are lost, so there is always one to begin with.
        t.is("pending from the start", is_pending(shared, 1), true);
        bitmaps(shared).clear(Port(1));
        t.publish("bound", 1);
        let _ = t.wait_for_key("signalled");
        t.is("the event", is_pending(shared, 1), true);
        t.is("answered", send(t, 1), OK);
        t.publish("answered", 1);
        let _ = t.wait_for_key("closed");
        t.is("waits for another peer", status(t, Domid::SELF, 1), Ok(EvtchnState::UNBOUND));
        t.is("with what came before", is_pending(shared, 1), true);
        t.publish("seen", 1);
    });
    several(Profile::DOMU, [first, second]);
}

#[test]
fn closing_clears_the_event_and_leaves_the_mask() {
    on([Profile::DOMU, Profile::DOM0LESS], DomainConfig::new().vcpus(2), |profile, t| {
        let (shared, _) = attach_on(profile, t);
        t.is("bound", ipi(t, 0), Ok(1));
        t.is("ports are not masked at first", is_masked(shared, 1), false);
        bitmaps(shared).mask(Port(1));
        rows! { t;
            "signalled", send(t, 1) => OK;
            "pending", is_pending(shared, 1) => true;
            "closed", close(t, 1) => OK;
            "afterwards", (is_pending(shared, 1), is_masked(shared, 1)) => (false, true);
            "bound again, still masked", (ipi(t, 0), is_masked(shared, 1)) => (Ok(1), true);
            "closed, unmasked while it is nobody's: nothing is done",
                [close(t, 1), unmask(t, 1)] => [OK; 2];
            "still masked", is_masked(shared, 1) => true;
            "a channel", alloc(t, Domid::SELF, t.domain()) => Ok(1);
            "moved", bind_vcpu(t, 1, 1) => OK;
            "closed", close(t, 1) => OK;
            "the next one begins on the first vCPU", alloc(t, Domid::SELF, t.domain()) => Ok(1);
        }
        let mut asked = EvtchnStatus::new(Domid::SELF, 1);
        t.is("status", t.give(command::Status, &mut asked).map(|_| asked.vcpu), Ok(0));
    });
}
