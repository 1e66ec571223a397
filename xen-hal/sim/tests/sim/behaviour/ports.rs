//! How ports are given out, and what becomes of their events.

use xen_pac::event_channel::command;

use crate::support::prelude::*;

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
