//! How a machine says that it could not go on: each time with the seed by which it can be seen
//! again.

use std::mem;

use xen_hal::platform::Frame;
use xen_hal::xenstore::{Store, Tree};
use xen_pac::hvm::command;
use xen_sim::backend::Dom0;

use crate::support::prelude::*;

const SEED: u64 = 4711;

/// What comes after the end of a machine.
fn never() {
    panic!("the machine has ended");
}

fn failure<E: ProgramResult>(
    config: DomainConfig,
    program: impl FnOnce(Guest) -> E + Send + 'static,
) -> Failure {
    let mut machine = Machine::new(Profile::DOMU, SEED).expect("the computer has memory");
    machine.domain(config, program).expect("the machine has memory");
    let failure = machine.run().expect_err("the machine fails");
    assert_eq!(failure.seed, SEED);
    assert!(failure.to_string().ends_with("(seed 4711)"), "{failure}");
    failure
}

#[test]
fn a_deadlock_is_told_with_who_waits() {
    let found = failure(DomainConfig::new().vcpus(3), |guest| {
        let t = Table::new(guest);
        let _ = attach(&t);
        t.is("bound", [ipi(&t, 0), ipi(&t, 1)], [Ok(1), Ok(2)]);
        t.start(1, |guest| _ = Sched::new(guest.xen()).poll(&[Port(2), Port(1)], None));
        t.start(2, |guest| guest.wait_until(|| false));
        t.wait_until(|| false);
    });
    let FailureKind::Deadlock { waiting } = found.kind else { panic!("{found}") };
    assert_eq!(
        waiting,
        [
            "domain 1, vCPU 0 is blocked, with no upcall pending",
            "domain 1, vCPU 1 polls ports [2, 1], with no upcall pending",
            "domain 1, vCPU 2 is blocked, with no upcall pending",
        ]
    );
}

#[test]
fn a_panic_on_one_vcpu_ends_all() {
    let found = failure(DomainConfig::new().vcpus(3), |guest| {
        let t = Table::new(guest);
        t.start(1, |guest| {
            while guest.vcpu() == VcpuId(1) {
                guest.relax();
            }
        });
        t.start(2, |guest| {
            guest.relax();
            assert_ne!(guest.vcpu(), VcpuId(2), "on purpose");
        });
        t.wait_until(|| false);
    });
    let FailureKind::Panicked { on: (Domid(1), VcpuId(2)), message } = found.kind else {
        panic!("{found}")
    };
    assert!(message.contains("on purpose"), "{message}");
}

#[test]
fn an_error_is_a_failure() {
    let found = failure(DomainConfig::new(), |_| Err::<(), _>(Errno::ENOSPC));
    assert_eq!(
        found.kind,
        FailureKind::Failed { on: (Domid(1), VcpuId(0)), message: "ENOSPC".to_string() }
    );
}

#[test]
fn an_interrupt_needs_a_handler() {
    let found = failure(DomainConfig::new(), |guest| {
        let t = Table::new(guest);
        let _ = attach(&t);
        let _ = (ipi(&t, 0), send(&t, 1));
        t.enable_interrupts();
        never();
    });
    assert_eq!(found.kind, FailureKind::NoHandler { on: (Domid(1), VcpuId(0)), vector: 0xf3 });
}

#[test]
fn a_vcpu_needs_a_program() {
    let found = failure(DomainConfig::new().vcpus(2), |guest| {
        let second = Vcpu::new(guest.xen(), VcpuId(1));
        // SAFETY: there is no program that could run.
        unsafe { second.initialise(&LongMode::new(0x1000, 0x2000, 0x3000)) }
            .expect("the vCPU is not initialised yet");
        let _ = second.up();
        never();
    });
    assert_eq!(found.kind, FailureKind::NoProgram { on: (Domid(1), VcpuId(1)) });
}

#[test]
fn a_crash_says_why() {
    let found = failure(DomainConfig::new(), |guest| {
        let t = Table::new(guest);
        let _ = t.give(
            command::SetParam,
            &mut XenHvmParam::new(Domid::SELF, HvmParam::VM86_TSS, 1 << 32),
        );
        never();
    });
    assert!(
        matches!(found.kind, FailureKind::Crashed { on: (Domid(1), VcpuId(0)), .. }),
        "{found}"
    );
    assert!(
        found.to_string().starts_with("domain 1, vCPU 0: Xen destroyed the domain: "),
        "{found}"
    );
}

#[test]
fn what_a_program_could_have_given_back_is_a_leak() {
    let program = |forgets: bool| {
        move |guest: Guest| {
            let t = Table::new(guest);
            map_table(&t, 0);
            t.is("bound", [ipi(&t, 0), ipi(&t, 0)], [Ok(1), Ok(2)]);
            for reference in [8, 9] {
                put(&t, 0, reference, entry(PERMIT, t.domain(), t.frame(1)));
            }
            let (status, handle) = map(&t, at(&t, 9), host_map(), 8, t.domain());
            t.is("mapped", status, OKAY);
            if !forgets {
                t.is("unmapped", unmap(&t, at(&t, 9), handle), OKAY);
                t.is("closed", close(&t, 2), OK);
                [8, 9].iter().for_each(|of| put(&t, 0, *of, entry(0, Domid(0), 0)));
            }
            t.is("closed", close(&t, 1), OK);
        }
    };
    let run = |forgets, fails: bool| {
        let machine = Machine::new(Profile::DOM0LESS, SEED).expect("the computer has memory");
        let mut machine = if fails { machine.fail_on_leaks() } else { machine };
        machine.domain(DomainConfig::new(), program(forgets)).expect("the machine has memory");
        machine.run()
    };
    assert!(run(false, true).is_ok_and(|report| report.leaks.is_empty()));
    let expected = [
        "channel: port 2, Ipi",
        "mapping 0: grant 8 of domain 1",
        "grant 8: to domain 1",
        "grant 9: to domain 1",
        "grant 8: domain 1 has it mapped",
    ];
    assert_eq!(run(true, false).map(|report| report.leaks[&1].join("|")), Ok(expected.join("|")));
    let failure = run(true, true).expect_err("leaks fail");
    let text = format!("domain 1 leaks {} (seed {SEED})", expected.join(", "));
    assert_eq!(failure.to_string(), text);
    let last = failure.last_events.last().expect("the vCPU's events");
    assert!(last.contains("hypercall event_channel_op, command 0x3: 0x0"), "{failure:?}");
}

#[test]
fn the_toolstacks_grants_are_no_leaks_and_the_guests_own_are() {
    let run = |own: Option<u32>| {
        let program = move |guest: Guest| {
            let t = Table::new(guest);
            let mut storage = [0; Store::STORAGE];
            // SAFETY: the ring has one owner, as long as the machine runs.
            let store = unsafe { Store::open(t.xen(), |at| guest.frame(at), &mut storage) };
            // After an answer, domain 0 has both rings mapped.
            let exists = store.expect("the domain has a ring").exists("name");
            t.is("answered", exists, Ok(true));
            map_table(&t, 0);
            let page = entry(PERMIT, Domid(0), t.frame(1));
            own.into_iter().for_each(|reference| put(&t, 0, reference as usize, page));
        };
        let mut machine = Machine::new(Profile::DOM0, SEED).expect("the computer has memory");
        let dom0 = Dom0::new();
        machine.domain(DomainConfig::dom0(), dom0.program()).expect("the machine has memory");
        machine.domain(DomainConfig::domu(), program).expect("the machine has memory");
        let report = machine.run().unwrap_or_else(|failure| panic!("{failure}"));
        report.leaks.into_values().flatten().collect::<Vec<_>>().join("|")
    };
    let reused = "grant 1: reused while domain 0 had it mapped";
    let cases = [
        (None, String::new()),
        (Some(2), "grant 2: to domain 0".into()),
        (Some(8), "grant 8: to domain 0".into()),
        // Also reported when domain 0 ends the mapping.
        (Some(1), format!("grant 1: to domain 0|{reused}|{reused}")),
    ];
    for (own, leaks) in cases {
        assert_eq!(run(own), leaks, "{own:?}");
    }
}

#[test]
fn a_failure_has_the_last_events_of_each_vcpu() {
    let found = failure(DomainConfig::new().vcpus(2), |guest| {
        let t = Table::new(guest);
        let shared = attach(&t);
        t.start(1, |guest| _ = Sched::new(guest.xen()).poll(&[], None));
        t.on_interrupt(VECTOR, move || _ = take(shared, block(shared, 0)));
        t.enable_interrupts();
        let _ = (ipi(&t, 0), send(&t, 1), send(&t, 99));
        t.wait_until(|| false);
    });
    let of = |vcpu| {
        let place = format!("domain 1, vCPU {vcpu}, at ");
        let events = found.last_events.iter().filter(move |line| line.starts_with(&place));
        events.map(|line| line.split_once(": ").expect("a time").1.to_string()).collect::<Vec<_>>()
    };
    let (first, second) = (of(0), of(1));
    assert_eq!((first.len(), second.len()), (8, 1), "{found:?}");
    assert_eq!(second, ["hypercall sched_op, command 0x3: 0x0"]);
    assert!(first.contains(&"interrupt 0xf3".to_string()), "{first:?}");
    assert!(first.iter().any(|line| line.ends_with("accesses to shared memory")), "{first:?}");
    let refused = "hypercall event_channel_op, command 0x4: 0xffffffffffffffea";
    assert!(first.contains(&refused.to_string()), "{first:?}");
}

/// Grants page 1 to the peer, or something else, or nothing.
fn grant(t: &Table, version: u32, page: Option<usize>) {
    let (flags, frame) = page.map_or((0, 0), |page| (PERMIT, t.frame(page)));
    if version == 1 {
        return put(t, 0, 8, entry(flags, Domid(2), frame));
    }
    let mut entry = GrantEntryV2FullPage::ZEROED;
    (entry.hdr.flags, entry.hdr.domid, entry.frame) = (flags, 2, frame);
    put(t, 0, 8, entry);
}

#[test]
fn a_grant_that_its_owner_changes_while_it_is_mapped_is_reported() {
    let run = |version: u32, then: Option<usize>| {
        let owner = move |guest: Guest| {
            let t = Table::new(guest);
            t.is("version", set_version(&t, version), (OK, version));
            map_table(&t, 0);
            grant(&t, version, Some(1));
            t.publish("granted", 1);
            t.wait_for_key("mapped");
            grant(&t, version, then);
            t.publish("changed", 1);
            t.wait_for_key("unmapped");
            grant(&t, version, None);
            t.finish()
        };
        let peer = |guest: Guest| {
            let t = Table::new(guest);
            t.wait_for_key("granted");
            let (status, handle) = map(&t, at(&t, 9), host_map(), 8, Domid(1));
            t.is("mapped", status, OKAY);
            t.publish("mapped", 1);
            t.wait_for_key("changed");
            t.is("unmapped", unmap(&t, at(&t, 9), handle), OKAY);
            t.publish("unmapped", 1);
            t.finish()
        };
        let mut machine = Machine::new(Profile::DOMU, SEED).expect("the computer has memory");
        machine.domain(DomainConfig::new(), owner).expect("the machine has memory");
        machine.domain(DomainConfig::new(), peer).expect("the machine has memory");
        let report = machine.run().unwrap_or_else(|failure| panic!("{failure}"));
        report.leaks.get(&1).and_then(|leaks| leaks.first().cloned())
    };
    let ended = Some("grant 8: ended while domain 2 had it mapped".to_string());
    let reused = Some("grant 8: reused while domain 2 had it mapped".to_string());
    assert_eq!([run(1, Some(1)), run(1, None), run(1, Some(2))], [None, ended, reused.clone()]);
    assert_eq!([run(2, Some(1)), run(2, None), run(2, Some(2))], [None, None, reused]);
}

type HalTable = GrantTable<'static, Hypervisor, DomainSpace>;
type HalGrant = Grant<'static>;

/// Grants page 5 to the peer through the HAL, also while the peer has it mapped.
fn lend(guest: Guest, table: &HalTable) -> HalGrant {
    // SAFETY: the tests make this mistake on purpose. The page is there until the machine ends.
    let page = unsafe { Page::from_raw(&guest.space(), guest.page(5).cast()) };
    let page = page.expect("the page has a frame");
    table.lend(page, Domid(2), Access::ReadWrite).expect("the table has room")
}

#[test]
fn a_grant_of_the_hal_that_is_not_revoked_is_reported() {
    let run = |mistake: fn(Guest, &HalTable, HalGrant)| {
        let owner = move |guest: Guest| {
            let refs: &GrantRefAllocator<1> = Box::leak(Box::default());
            let place = guest.page(1).cast();
            // SAFETY: the page is the table's alone, and is there until the machine ends.
            let table = unsafe { GrantTable::map(guest.xen(), guest.space(), place, refs, 1) };
            let table = table.expect("a domain has a table");
            let grant = lend(guest, &table);
            guest.publish("lent", grant.reference().0.into());
            guest.wait_for_key("mapped");
            mistake(guest, &table, grant);
        };
        let peer = |guest: Guest| {
            let t = Table::new(guest);
            let reference = guest.wait_for_key("lent") as u32;
            let (status, _) = map(&t, at(&t, 9), host_map(), reference, Domid(1));
            t.is("mapped", status, OKAY);
            t.publish("mapped", 1);
            // Until after the end of the owner, which waits for nothing.
            (0..1000).for_each(|_| t.relax());
            t.finish()
        };
        let mut machine = Machine::new(Profile::DOMU, SEED).expect("the computer has memory");
        machine.domain(DomainConfig::new(), owner).expect("the machine has memory");
        machine.domain(DomainConfig::new(), peer).expect("the machine has memory");
        machine.fail_on_leaks().run().expect_err("the grant leaks").to_string()
    };
    let mistakes: [fn(Guest, &HalTable, HalGrant); 3] = [
        |_, _, grant| drop(grant),
        |_, _, grant| mem::forget(grant),
        // The page is granted again, although the peer still has it mapped.
        |guest, table, grant| {
            drop(grant.revoke().expect_err("the peer has it mapped"));
            let again = lend(guest, table);
            assert_eq!((again.reference().0, table.reclaim()), (9, 0));
            drop(again.revoke().expect("the peer has not mapped this one"));
        },
    ];
    let leaks = "domain 1 leaks grant 8: to domain 2, grant 8: domain 2 has it mapped; \
        domain 2 leaks mapping 0: grant 8 of domain 1";
    for mistake in mistakes {
        assert_eq!(run(mistake), format!("{leaks} (seed {SEED})"));
    }
}

#[test]
fn a_page_that_is_returned_to_xen_is_a_leak_and_one_that_xen_replaces_is_not() {
    for profile in PROFILES {
        let run = |returned: usize| {
            let program = move |guest: Guest| {
                let t = Table::new(guest);
                let _ = attach_on(profile, &t);
                map_table(&t, 1);
                let frames = (0..returned).map(|page| Frame(t.frame(4 + page)));
                // SAFETY: nothing is kept in the pages.
                unsafe { Memory::new(guest.xen()).decrease_reservation(frames, Extent::PAGE) }
                    .expect("the pages are memory");
                t.finish()
            };
            let mut machine = Machine::new(profile, SEED).expect("the computer has memory");
            let number = machine.domain(DomainConfig::new(), program).expect("there is memory");
            let report = machine.run().unwrap_or_else(|failure| panic!("{failure}"));
            report.leaks.get(&number.0).map(|leaks| leaks.join("|"))
        };
        let leaks = [None, Some("pages: 2 of 64 are not there".to_string())];
        assert_eq!([run(0), run(2)], leaks, "{profile:?}");
    }
}
