//! Event channels, of a domain by itself.

use xen_pac::event_channel::command;

use crate::support::prelude::*;

fn init_control(t: &Table, gfn: u64, offset: u32, vcpu: u32) -> Answer {
    t.give(command::InitControl, &mut EvtchnInitControl::new(gfn, offset, vcpu))
}

fn set_priority(t: &Table, port: u32, priority: u32) -> Answer {
    t.give(command::SetPriority, &mut EvtchnSetPriority::new(port, EvtchnPriority(priority)))
}

#[test]
fn ports_that_are_asked_for() {
    on(PROFILES, DomainConfig::new().vcpus(2), |profile, t| {
        let own = t.domain();
        rows! { t;
            "alloc_unbound in no domain", alloc(t, NOBODY, own) => ESRCH;
            "alloc_unbound for no domain",
                alloc(t, Domid::SELF, NOBODY) => if is_arm(profile) { ESRCH } else { Ok(1) };
            "reset", reset(t, Domid::SELF) => OK;
            "alloc_unbound in oneself by number", alloc(t, own, own) => Ok(1);
        }

        t.is("bind_interdomain to no domain", interdomain(t, NOBODY, 1), ESRCH);
        for (what, port) in [
            ("free", 2),
            ("port 0", 0),
            ("the last of the bucket", 63),
            ("past the bucket", 64),
            ("absurd", u32::MAX),
        ] {
            t.is(what, interdomain(t, own, port), EINVAL);
        }
        if !is_arm(profile) {
            let reserved = alloc(t, own, NOBODY).expect("there is room") as u32;
            rows! { t;
                "bind_interdomain to one that is for another",
                    interdomain(t, own, reserved) => EINVAL;
                "closed", close(t, reserved) => OK;
            }
        }
        t.is("bind_interdomain", interdomain(t, Domid::SELF, 1), Ok(2));
        t.is("to one that is bound", interdomain(t, own, 1), EINVAL);

        t.is("virq 24", virq(t, 24, 0), EINVAL);
        t.is("virq 24 on no vCPU", virq(t, 24, 9), EINVAL);
        t.is("a global one on vCPU 1", virq(t, Virq::CONSOLE.0, 1), EINVAL);
        t.is("a global one on no vCPU", virq(t, Virq::CONSOLE.0, 9), EINVAL);
        t.is("the timer on no vCPU", virq(t, Virq::TIMER.0, 2), ENOENT);
        t.is("the timer", virq(t, Virq::TIMER.0, 0), Ok(3));
        t.is("the timer again", virq(t, Virq::TIMER.0, 0), EEXIST);
        t.is("the timer of vCPU 1", virq(t, Virq::TIMER.0, 1), Ok(4));
        t.is("a global one", virq(t, Virq::CONSOLE.0, 0), Ok(5));
        t.is("moved to vCPU 1", bind_vcpu(t, 5, 1), OK);
        t.is("it is still bound", virq(t, Virq::CONSOLE.0, 0), EEXIST);

        t.is("IPI of no vCPU", ipi(t, 2), ENOENT);
        t.is("IPI", ipi(t, 1), Ok(6));
        t.is("pirq beyond", pirq(t, u32::MAX), EINVAL);
        let arm = is_arm(profile);
        t.is("pirq", pirq(t, 40), if arm { ENOMEM } else { Ok(7) });
        t.is("pirq again", pirq(t, 40), if arm { ENOMEM } else { EEXIST });
    });
}

#[test]
fn no_more_ports() {
    on(PROFILES, DomainConfig::new().vcpus(2), |profile, t| {
        let arm = is_arm(profile);
        let own = t.domain();
        t.is("the timer", virq(t, Virq::TIMER.0, 0), Ok(1));
        t.is("pirq", pirq(t, 40), if arm { ENOMEM } else { Ok(2) });
        fill(t);
        rows! { t;
            "alloc_unbound", alloc(t, Domid::SELF, own) => ENOSPC;
            "alloc_unbound in no domain", alloc(t, NOBODY, own) => ESRCH;
            "alloc_unbound for no domain, which SILO looks for later",
                alloc(t, own, NOBODY) => ENOSPC;
            "bind_interdomain to an absurd port", interdomain(t, own, u32::MAX) => ENOSPC;
            "bind_interdomain to no domain", interdomain(t, NOBODY, 1) => ESRCH;
            "virq", virq(t, Virq::DEBUG.0, 0) => ENOSPC;
            "virq on no vCPU", virq(t, Virq::DEBUG.0, 2) => ENOENT;
            "virq again", virq(t, Virq::TIMER.0, 0) => EEXIST;
            "IPI", ipi(t, 0) => ENOSPC;
            "IPI of no vCPU", ipi(t, 2) => ENOENT;
            "pirq", pirq(t, 41) => ENOSPC;
            "pirq again", pirq(t, 40) => if arm { ENOSPC } else { EEXIST };
            "pirq beyond", pirq(t, u32::MAX) => EINVAL;
        }
    });
}

#[test]
fn ports_that_are_named() {
    on(PROFILES, DomainConfig::new().vcpus(2), |_, t| {
        let own = t.domain();
        let closed = Ok(EvtchnState::CLOSED);
        for (what, port) in [("port 0", 0), ("free", 1), ("the last of the bucket", 63)] {
            t.is(&format!("{what}: close"), close(t, port), EINVAL);
            t.is(&format!("{what}: send"), send(t, port), EINVAL);
            t.is(&format!("{what}: status"), status(t, Domid::SELF, port), closed);
            t.is(&format!("{what}: bind_vcpu"), bind_vcpu(t, port, 1), EINVAL);
            t.is(&format!("{what}: bind_vcpu to no vCPU"), bind_vcpu(t, port, 2), ENOENT);
            t.is(&format!("{what}: unmask"), unmask(t, port), OK);
            t.is(&format!("{what}: set_priority"), set_priority(t, port, 3), ENOSYS);
        }
        for (what, port) in [("past the bucket", 64), ("absurd", u32::MAX)] {
            rows! { t;
                &format!("{what}: close"), close(t, port) => EINVAL;
                &format!("{what}: send"), send(t, port) => EINVAL;
                &format!("{what}: status"), status(t, own, port).map(|_| 0) => EINVAL;
                &format!("{what}: status in no domain"),
                    status(t, NOBODY, port).map(|_| 0) => ESRCH;
                &format!("{what}: bind_vcpu"), bind_vcpu(t, port, 1) => EINVAL;
                &format!("{what}: bind_vcpu to no vCPU"), bind_vcpu(t, port, 2) => ENOENT;
                &format!("{what}: unmask"), unmask(t, port) => EINVAL;
                &format!("{what}: set_priority"), set_priority(t, port, 3) => EINVAL;
            }
        }
    });
}

#[test]
fn what_a_port_is_bound_to_matters() {
    on(PROFILES, DomainConfig::new().vcpus(2), |profile, t| {
        let own = t.domain();
        let ports =
            [alloc(t, own, own), virq(t, Virq::TIMER.0, 0), virq(t, Virq::CONSOLE.0, 0), ipi(t, 0)];
        t.is("bound", ports, [1, 2, 3, 4].map(Ok));
        t.is("PIRQ", pirq(t, 40), if is_arm(profile) { ENOMEM } else { Ok(5) });
        for (what, port, sent, moved) in [
            ("unbound", 1, OK, OK),
            ("VIRQ of a vCPU", 2, EINVAL, EINVAL),
            ("VIRQ of all", 3, EINVAL, OK),
            ("IPI", 4, OK, EINVAL),
            ("PIRQ", 5, EINVAL, OK),
        ] {
            if is_arm(profile) && what == "PIRQ" {
                continue;
            }
            rows! { t;
                &format!("{what}: send"), send(t, port) => sent;
                &format!("{what}: bind_vcpu"), bind_vcpu(t, port, 1) => moved;
                &format!("{what}: bind_vcpu to no vCPU"), bind_vcpu(t, port, 2) => ENOENT;
                &format!("{what}: priority, of which there is none"),
                    set_priority(t, port, 99) => ENOSYS;
                &format!("{what}: close"), close(t, port) => OK;
                &format!("{what}: close again"), close(t, port) => EINVAL;
            }
        }
    });
}

#[test]
fn the_other_form_is_not_to_be_had() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let frame = t.frame(0);
        t.is("no vCPU, and no offset either", init_control(t, frame, 4, 1), ENOENT);
        t.is("not aligned", init_control(t, frame, 4, 0), EINVAL);
        t.is("past the last offset", init_control(t, frame, 4032, 0), EINVAL);
        t.is("the last offset, in no frame", init_control(t, 1 << 40, 4024, 0), EINVAL);
        let mut array = EvtchnExpandArray::new(1 << 40);
        rows! { t;
            "expand_array, in no frame either",
                t.give(command::ExpandArray, &mut array) => EOPNOTSUPP;
            "reset of no domain", reset(t, NOBODY) => ESRCH;
        }
    });
}

#[test]
fn a_virq_of_the_whole_machine_belongs_to_one_domain_since_4_21() {
    for (profile, console) in [
        (release(20, Profile::DOMU), Ok(1)),
        (release(21, Profile::DOMU), EBUSY),
        (release(21, Profile::DOM0LESS), EBUSY),
        (release(21, Profile::DOM0), Ok(1)),
    ] {
        one(profile, DomainConfig::new(), move |t| {
            t.is("console", virq(t, Virq::CONSOLE.0, 0), console);
            t.is("console on no vCPU", virq(t, Virq::CONSOLE.0, 1), EINVAL);
            t.is("the timer", virq(t, Virq::TIMER.0, 0).map(|_| 0), OK);
        });
    }
}

#[test]
fn a_status_without_a_detail_leaves_the_detail_as_it_was() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("an IPI", ipi(t, 0), Ok(1));
        for (port, state) in [(1, EvtchnState::IPI), (2, EvtchnState::CLOSED)] {
            let mut asked = EvtchnStatus::new(Domid::SELF, port);
            asked.u = EvtchnStatusU::from_pirq(0x1234_5678);
            let told = t.give(command::Status, &mut asked);
            t.is("status", (told, asked.status, asked.u.pirq()), (OK, state, 0x1234_5678));
        }
    });
}

#[test]
fn pirqs_up_to_the_last_of_the_machine() {
    for (profile, count, below) in [
        (Profile::DOM0, 216, Ok(1)),
        (Profile::DOMU, 56, Ok(1)),
        (Profile::DOM0LESS, 1024, ENOMEM),
        (ARM_DOM0, 1024, ENOMEM),
    ] {
        one(profile, DomainConfig::new(), move |t| {
            t.is("the last", pirq(t, count - 1), below);
            t.is("past it", pirq(t, count), EINVAL);
        });
    }
}

#[test]
fn no_reset_is_there_to_be_continued() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let reset_cont = |domain| {
            let mut asked = EvtchnReset::new(domain);
            t.raw(HypercallNr::EVENT_CHANNEL_OP, [14, address(&mut asked), 0])
        };
        t.is("bound", ipi(t, 0), Ok(1));
        t.is("of no domain", reset_cont(NOBODY), ESRCH);
        t.is("of the caller", reset_cont(Domid::SELF), EBUSY);
        t.is("still bound", status(t, Domid::SELF, 1), Ok(EvtchnState::IPI));
    });
}
