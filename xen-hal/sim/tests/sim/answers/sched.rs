//! Waiting, watchdogs and ends.

use xen_pac::sched::command;

use crate::support::prelude::*;

const GUEST: Domid = Domid(1);

fn poll(t: &Table, ports: &mut [u32], timeout: u64) -> Answer {
    poll_at(t, ports.as_mut_ptr(), ports.len() as u32, timeout)
}

fn poll_at(t: &Table, ports: *mut u32, count: u32, timeout: u64) -> Answer {
    t.give(command::Poll, &mut SchedPoll::new(Handle::from_ptr(ports), count, timeout))
}

fn watchdog(t: &Table, id: u32, timeout: u32) -> Answer {
    t.give(command::Watchdog, &mut SchedWatchdog::new(id, timeout))
}

fn remote(t: &Table, dom: Domid) -> Answer {
    t.give(command::RemoteShutdown, &mut SchedRemoteShutdown::new(dom, ShutdownReason::CRASH))
}

#[test]
fn ports_to_wait_for() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        t.is("an IPI", ipi(t, 0), Ok(1));
        t.is("one that waits for a peer", alloc(t, Domid::SELF, t.domain()), Ok(2));
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        t.is("too many, nowhere", poll_at(t, nowhere, 129, 1), EINVAL);
        t.is("one, nowhere", poll_at(t, nowhere, 1, 1), EFAULT);
        t.is("none, nowhere", poll_at(t, nowhere, 0, 1), OK);
        for (what, port) in [("0", 0), ("free", 3), ("beyond", 64), ("absurd", u32::MAX)] {
            t.is(what, poll(t, &mut [port], 1), EINVAL);
            t.is(&format!("{what}, after a silent one"), poll(t, &mut [1, port], 1), EINVAL);
        }
        t.is("until a moment that has passed", poll(t, &mut [1, 2], 1), OK);
        t.is("as many as there may be", poll(t, &mut [1; 128], 1), OK);
        t.is("sent", send(t, 1), OK);
        t.is("pending before one that is free", poll(t, &mut [1, 3], 0), OK);
        t.is("one that is free before a pending one", poll(t, &mut [3, 1], 0), EINVAL);
    });
}

#[test]
fn a_watchdog_for_each_number() {
    for profile in PROFILES {
        let report = one(profile, DomainConfig::new(), |t| {
            rows! { t;
                "past the last",
                    [watchdog(t, 3, 0), watchdog(t, 3, 1), watchdog(t, u32::MAX, 1)] => [EINVAL; 3];
                "not in use", [watchdog(t, 1, 1), watchdog(t, 2, 0)] => [EINVAL; 2];
                "a new one", [watchdog(t, 0, 9), watchdog(t, 0, 9)] => [Ok(1), Ok(2)];
            }
            let full = (-i32::from(Errno::ENOSPC.number() as i16)) as u32 as usize;
            t.is("a third, refused in 32 bits", watchdog(t, 0, 9), Ok(full));
            t.is("kicked", watchdog(t, 2, 9), OK);
            t.is("stopped", watchdog(t, 1, 0), OK);
            t.is("stopped again", watchdog(t, 1, 0), EINVAL);
            t.is("the free one", watchdog(t, 0, 9), Ok(1));
            t.is("both stopped", [watchdog(t, 1, 0), watchdog(t, 2, 0)], [OK; 2]);
            // With no time at all a new one bites at once.
            t.all_right();
            let _ = watchdog(t, 0, 0);
            panic!("the domain has ended");
        });
        assert!(
            report.shutdown_reasons.values().all(|reason| *reason == ShutdownReason::WATCHDOG),
            "{report:?}"
        );
    }
}

#[test]
fn the_end_of_another() {
    let control = domain(DomainConfig::new(), |t| {
        t.is("of no domain", remote(t, NOBODY), ESRCH);
        t.is("of oneself", remote(t, Domid::SELF), ESRCH);
        let _ = t.wait_for_key("asked");
        t.is("of a guest", remote(t, GUEST), OK);
        t.is("again", remote(t, GUEST), ESRCH);
        let pin = |pcpu| t.give(command::PinOverride, &mut SchedPinOverride::new(pcpu));
        rows! { t;
            "unpinned before", pin(-1) => EINVAL;
            "pinned, and again", [pin(0), pin(0)] => [OK, EBUSY];
            "unpinned, and again", [pin(-1), pin(-1)] => [OK, EINVAL];
            "a processor that is not there",
                t.give(command::PinOverride, &mut SchedPinOverride::new(99)) => EINVAL;
        }
        t.all_right();
        let _ = remote(t, Domid(0));
        panic!("by its number it ends itself");
    });
    let is_ended = domain(guest(), |t| {
        rows! { t;
            "of no domain", remote(t, NOBODY) => ESRCH;
            "of oneself", remote(t, Domid::SELF) => ESRCH;
            "of oneself by number", remote(t, GUEST) => EPERM;
            "of the control domain", remote(t, Domid(0)) => EPERM;
            "a processor that is not there",
                t.give(command::PinOverride, &mut SchedPinOverride::new(99)) => EPERM;
        }
        t.all_right();
        t.publish("asked", 1);
        loop {
            t.relax();
        }
    });
    let report = several(Profile::DOM0, [control, is_ended]);
    assert_eq!(
        report.shutdown_reasons,
        [(0, ShutdownReason::CRASH), (1, ShutdownReason::CRASH)].into()
    );
}

#[test]
fn any_reason_ends_a_domain() {
    for profile in PROFILES {
        for reason in [0, 1, 3, 4, 5, 99, u32::MAX].map(ShutdownReason) {
            let report = one(profile, DomainConfig::new(), move |t| {
                t.all_right();
                let _ = t.give(command::Shutdown, &mut SchedShutdown::new(reason));
                panic!("the domain has ended");
            });
            assert!(report.shutdown_reasons.values().all(|given| *given == reason), "{report:?}");
        }
        let report = one(profile, DomainConfig::new(), |t| {
            t.is(
                "told before",
                t.give(command::ShutdownCode, &mut SchedShutdown::new(ShutdownReason::REBOOT)),
                OK,
            );
            t.all_right();
            let _ = t.give(command::Shutdown, &mut SchedShutdown::new(ShutdownReason::POWEROFF));
        });
        assert!(
            report.shutdown_reasons.values().all(|given| *given == ShutdownReason::REBOOT),
            "{report:?}"
        );
    }
}
