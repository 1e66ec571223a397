//! Event channels between domains: who may do what to whom.

use crate::support::prelude::*;

const FIRST: Domid = Domid(1);
const SECOND: Domid = Domid(2);

#[test]
fn a_guest_has_no_say_in_another() {
    let asks = domain(DomainConfig::new(), |t| {
        t.is("alloc_unbound in another", alloc(t, SECOND, FIRST), EPERM);
        t.is("alloc_unbound in another for nobody", alloc(t, SECOND, NOBODY), EPERM);
        t.is("reset of another", reset(t, SECOND), EPERM);
        t.is("status of another's port", status(t, SECOND, 1).map(|_| 0), EPERM);
        t.is("status of a port beyond another's", status(t, SECOND, 64).map(|_| 0), EINVAL);
        t.is("for another it may", alloc(t, FIRST, SECOND), Ok(1));
        t.publish("asked", 1);
        let _ = t.wait_for_key("full");
        t.is("alloc_unbound in another that is full", alloc(t, SECOND, FIRST), ENOSPC);
        t.publish("asked again", 1);
    });
    let is_asked = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("asked");
        fill(t);
        t.publish("full", 1);
        let _ = t.wait_for_key("asked again");
    });
    several(Profile::DOMU, [asks, is_asked]);
}

#[test]
fn the_control_domain_may_do_everything_but_reset_one_that_runs() {
    for profile in [Profile::DOM0, ARM_DOM0] {
        let control = domain(DomainConfig::new(), |t| {
            t.is("alloc_unbound in a guest for another", alloc(t, FIRST, SECOND), Ok(1));
            t.is("its status", status(t, FIRST, 1), Ok(EvtchnState::UNBOUND));
            t.is("status of a free one", status(t, FIRST, 2), Ok(EvtchnState::CLOSED));
            t.is("reset of a guest", reset(t, FIRST), EINVAL);
            t.publish("allocated", 1);
            let _ = (t.wait_for_key("first"), t.wait_for_key("second"));
        });
        let first = domain(guest(), |t| {
            let _ = t.wait_for_key("second");
            t.publish("first", 1);
        });
        let second = domain(guest(), move |t| {
            let _ = t.wait_for_key("allocated");
            // What is set up for two guests by the control domain SILO still does not let them use.
            let silo = profile == ARM_DOM0;
            rows! { t;
                "bind_interdomain to it",
                    interdomain(t, FIRST, 1) => if silo { EPERM } else { Ok(1) };
                "bind_interdomain to a free one", interdomain(t, FIRST, 2) => EINVAL;
            }
            t.publish("second", 1);
        });
        several(profile, [control, first, second]);
    }
}

#[test]
fn silo_keeps_guests_apart_from_each_other_alone() {
    let asks = domain(DomainConfig::new(), |t| {
        t.is("for another guest", alloc(t, Domid::SELF, SECOND), EPERM);
        t.is("for nobody", alloc(t, Domid::SELF, NOBODY), ESRCH);
        t.is("in another, for nobody", alloc(t, SECOND, NOBODY), ESRCH);
        t.is("in another, for oneself", alloc(t, SECOND, FIRST), EPERM);
        t.is("in another, for that one", alloc(t, SECOND, SECOND), EPERM);
        t.is("for oneself", alloc(t, FIRST, FIRST), Ok(1));
        t.is("with oneself", interdomain(t, FIRST, 1), Ok(2));
        t.publish("done", 1);
    });
    let other = domain(DomainConfig::new(), |t| _ = t.wait_for_key("done"));
    several(Profile::DOM0LESS, [asks, other]);

    let control = domain(DomainConfig::new(), |t| {
        t.is("the control domain for a guest", alloc(t, Domid::SELF, FIRST), Ok(1));
        t.publish("port", 1);
        let _ = t.wait_for_key("bound");
    });
    let guest = domain(DomainConfig::new().role(Role::Guest), |t| {
        let port = t.wait_for_key("port") as u32;
        t.is("a guest with the control domain", interdomain(t, Domid(0), port), Ok(1));
        t.is("a guest for the control domain", alloc(t, Domid::SELF, Domid(0)), Ok(2));
        t.publish("bound", 1);
    });
    several(ARM_DOM0, [control, guest]);
}

#[test]
fn a_peer_that_closes_leaves_an_unbound_port() {
    let first = domain(DomainConfig::new(), |t| {
        t.is("set aside", alloc(t, Domid::SELF, SECOND), Ok(1));
        t.is("signalled with nobody there", send(t, 1), OK);
        t.publish("port", 1);
        let _ = t.wait_for_key("bound");
        t.is("bound", status(t, FIRST, 1), Ok(EvtchnState::INTERDOMAIN));
        t.is("moved to a vCPU", bind_vcpu(t, 1, 0), OK);
        t.publish("seen", 1);
        let _ = t.wait_for_key("closed");
        t.is("unbound again", status(t, FIRST, 1), Ok(EvtchnState::UNBOUND));
        t.is("which nobody hears", send(t, 1), OK);
        t.publish("all seen", 1);
        let _ = t.wait_for_key("bound again");
    });
    let second = domain(DomainConfig::new(), |t| {
        let port = t.wait_for_key("port") as u32;
        t.is("to a port for another", interdomain(t, FIRST, 2), EINVAL);
        t.is("bind_interdomain", interdomain(t, FIRST, port), Ok(1));
        t.publish("bound", 1);
        let _ = t.wait_for_key("seen");
        t.is("closed", close(t, 1), OK);
        t.publish("closed", 1);
        let _ = t.wait_for_key("all seen");
        t.is("it can be bound again", interdomain(t, FIRST, port), Ok(1));
        t.publish("bound again", 1);
    });
    several(Profile::DOMU, [first, second]);
}
