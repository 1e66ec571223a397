//! Mapping grants.

use xen_pac::grant_table::grant_map_flags as flags;

use crate::support::prelude::*;

#[test]
fn what_is_asked_for() {
    let device = flags::DEVICE_MAP.mask << flags::DEVICE_MAP.shift;
    let application = flags::APPLICATION_MAP.mask << flags::APPLICATION_MAP.shift;
    let pte = flags::CONTAINS_PTE.mask << flags::CONTAINS_PTE.shift;
    on(PROFILES, DomainConfig::new(), move |_, t| {
        let ask = |flags, reference, dom| map(t, at(t, 9), flags, reference, dom).0;
        for (what, flags, dom, status) in [
            ("nothing, of no domain", 0, NOBODY, BAD_GNTREF),
            ("nothing but to read", read_only(), NOBODY, BAD_GNTREF),
            ("a device's, of no domain", device, NOBODY, GENERAL),
            ("a device's too", host_map() | device, NOBODY, GENERAL),
            ("an application's", host_map() | application, NOBODY, GENERAL),
            ("by a page table entry", host_map() | pte, NOBODY, GENERAL),
            ("of no domain", host_map(), NOBODY, BAD_DOMAIN),
            ("of oneself by name", host_map(), Domid::SELF, BAD_DOMAIN),
        ] {
            t.is(what, ask(flags, u32::MAX, dom), status);
        }
        t.is(
            "past the table",
            [ask(host_map(), 512, t.domain()), ask(host_map(), u32::MAX, t.domain())],
            [BAD_GNTREF; 2],
        );
        t.is("the table's last, which lends nothing", ask(host_map(), 511, t.domain()), GENERAL);
    });
}

#[test]
fn what_is_lent() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let own = t.domain();
        map_table(t, 0);
        for (what, flags, to, frame, asked, status) in [
            ("empty", 0, own, t.frame(1), 0, GENERAL),
            ("not to be mapped", 2, own, t.frame(1), 0, GENERAL),
            ("to another", PERMIT, NOBODY, t.frame(1), 0, GENERAL),
            ("to another, no memory", PERMIT, NOBODY, 1 << 31, 0, GENERAL),
            (
                "for reading, wanted for writing",
                PERMIT | READ_ONLY_ENTRY,
                own,
                t.frame(1),
                0,
                GENERAL,
            ),
            (
                "for reading, no memory, wanted for writing",
                PERMIT | READ_ONLY_ENTRY,
                own,
                1 << 31,
                0,
                GENERAL,
            ),
            ("no memory", PERMIT, own, 1 << 31, 0, BAD_PAGE),
            (
                "for reading, wanted for that",
                PERMIT | READ_ONLY_ENTRY,
                own,
                t.frame(1),
                read_only(),
                OKAY,
            ),
        ] {
            put(t, 0, 8, entry(flags, to, frame));
            t.is(what, map(t, at(t, 9), host_map() | asked, 8, own).0, status);
        }
        t.is("where no frame is", map(t, 1 << 50, host_map() | read_only(), 8, own).0, GENERAL);
    });
}

#[test]
fn parts_of_pages_are_not_mapped() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("2", set_version(t, 2).0, OK);
        map_table(t, 0);
        let mut part = GrantEntryV2SubPage::ZEROED;
        (part.hdr.flags, part.hdr.domid, part.frame) = (PERMIT | SUB_PAGE, 0, 1 << 31);
        (part.page_off, part.length) = (64, 64);
        put(t, 0, 8, part);
        t.is("a part, of no memory", map(t, at(t, 9), host_map(), 8, Domid(0)).0, GENERAL);
    });
}

#[test]
fn unmapping() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let own = t.domain();
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, own, t.frame(1)));
        put(t, 0, 9, entry(PERMIT, own, t.frame(2)));
        t.is("no handle", [unmap(t, at(t, 9), 0), unmap(t, 0, u32::MAX)], [BAD_HANDLE; 2]);
        let (status, one) = map(t, at(t, 9), host_map(), 8, own);
        let (status_again, other) = map(t, at(t, 10), host_map(), 9, own);
        rows! { t;
            "two", [status, status_again] => [OKAY; 2];
            "elsewhere", unmap(t, at(t, 11), one) => GENERAL;
            "where another is", unmap(t, at(t, 10), one) => GENERAL;
            "where no frame is", unmap(t, 1 << 50, one) => GENERAL;
            "nowhere: nothing is done, and nothing found wrong",
                [unmap(t, 0, one), unmap(t, 0, one)] => [OKAY; 2];
            "where it is", [unmap(t, at(t, 9), one), unmap(t, at(t, 10), other)] => [OKAY; 2];
            "again", [unmap(t, at(t, 9), one), unmap(t, 0, other)] => [BAD_HANDLE; 2];
        }
    });
}

#[test]
fn no_handle_is_left() {
    for (minor, status) in [
        (14, GrantStatus::NO_DEVICE_SPACE),
        (15, GrantStatus::NO_DEVICE_SPACE),
        (16, GrantStatus::NO_SPACE),
        (17, GrantStatus::NO_SPACE),
    ] {
        one(release(minor, Profile::DOMU), DomainConfig::new().maps(1), move |t| {
            let own = t.domain();
            map_table(t, 0);
            put(t, 0, 8, entry(PERMIT, own, t.frame(1)));
            put(t, 0, 9, entry(PERMIT, own, t.frame(2)));
            let (first, handle) = map(t, at(t, 9), host_map(), 8, own);
            rows! { t;
                "the first", first => OKAY;
                "no more, although past the table",
                    map(t, at(t, 10), host_map(), u32::MAX, own).0 => Ok(status);
                "of no domain", map(t, at(t, 10), host_map(), 9, NOBODY).0 => BAD_DOMAIN;
                "unmapped", unmap(t, at(t, 9), handle) => OKAY;
                "there is one again", map(t, at(t, 10), host_map(), 9, own).0 => OKAY;
            }
        });
    }
}

#[test]
fn while_it_is_mapped_a_grant_is_who_had_its_first() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(1), t.frame(1)));
        t.publish("lent", 1);
        let _ = t.wait_for_key("mapped for reading");
        // Without asking whether it is used, it lends the page to the other.
        put(t, 0, 8, entry(PERMIT | 1 << 3, Domid(2), t.frame(2)));
        t.publish("lent to the other", 1);
        let _ = t.wait_for_key("done");
    });
    let first = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        let (status, handle) = map(t, at(t, 9), host_map() | read_only(), 8, Domid(0));
        t.is("for reading", status, OKAY);
        t.publish("mapped for reading", 1);
        let _ = t.wait_for_key("refused");
        let (status, again) = map(t, at(t, 10), host_map() | read_only(), 8, Domid(0));
        t.is("once more, as it was", status, OKAY);
        // Xen does not look at the domain of an entry in use, but it sees that it can be written.
        let (status, write) = map(t, at(t, 11), host_map(), 8, Domid(0));
        t.is("for writing", status, OKAY);
        let ends = [(10, again), (9, handle), (11, write)];
        t.is("unmapped", ends.map(|(page, of)| unmap(t, at(t, page), of)), [OKAY; 3]);
        t.publish("unmapped", 1);
        let _ = t.wait_for_key("done");
    });
    let second = domain(guest(), |t| {
        let _ = t.wait_for_key("lent to the other");
        t.is("pinned for another", map(t, at(t, 9), host_map(), 8, Domid(0)).0, GENERAL);
        t.publish("refused", 1);
        let _ = t.wait_for_key("unmapped");
        t.is("free again", map(t, at(t, 9), host_map(), 8, Domid(0)).0, OKAY);
        t.publish("done", 1);
    });
    several(Profile::DOM0, [lends, first, second]);
}

/// A domain that lends a page to domain 0, and to domain 2.
fn lends() -> Domain {
    domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        for to in [0, 2] {
            put(t, 0, 8 + to, entry(PERMIT, Domid(to as u16), t.frame(1)));
        }
        t.publish("lent", 1);
        let _ = t.wait_for_key("done");
    })
}

#[test]
fn guests_share_by_the_dummy_policy() {
    let maps = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("lent");
        t.is("a guest's", map(t, at(t, 9), host_map(), 10, Domid(1)).0, OKAY);
        t.is("ports for it", alloc(t, Domid::SELF, Domid(1)), Ok(1));
        t.is("and for no domain", alloc(t, Domid::SELF, NOBODY), Ok(2));
        t.publish("done", 1);
    });
    let (machine, seen) = watched(Profile::DOM0LESS, [lends(), maps]);
    machine.dummy_policy().run().unwrap();
    assert!(seen.iter().all(|seen| seen.load(SeqCst)));
}

#[test]
fn silo_keeps_guests_apart() {
    let maps = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("lent");
        rows! { t;
            "a guest's", map(t, at(t, 9), host_map(), 10, Domid(1)).0 => DENIED;
            "a guest's past its table",
                map(t, at(t, 9), host_map(), u32::MAX, Domid(1)).0 => DENIED;
        }
        t.publish("done", 1);
    });
    several(Profile::DOM0LESS, [lends(), maps]);
    let control = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("lent");
        rows! { t;
            "the control domain maps a guest's",
                map(t, at(t, 9), host_map(), 8, Domid(1)).0 => OKAY;
        }
        t.publish("done", 1);
    });
    let (config, program) = lends();
    several(ARM_DOM0, [control, (config.role(Role::Guest), program)]);
}

#[test]
fn a_grant_over_a_grant_is_the_end_on_x86() {
    for profile in PROFILES {
        let twice = |t: &Table| {
            map_table(t, 0);
            put(t, 0, 8, entry(PERMIT, t.domain(), t.frame(1)));
            put(t, 0, 9, entry(PERMIT, t.domain(), t.frame(2)));
            t.is("once", map(t, at(t, 9), host_map(), 8, t.domain()).0, OKAY);
            t.is("twice", map(t, at(t, 9), host_map(), 9, t.domain()).0, OKAY);
        };
        if is_arm(profile) {
            let run = machine(profile, [domain(DomainConfig::new(), twice)]).run();
            assert!(run.is_ok(), "{run:?}");
        } else {
            let failure = fails(profile, DomainConfig::new(), twice);
            assert!(matches!(failure.kind, FailureKind::Crashed { .. }), "{failure}");
        }
    }
}

#[test]
fn a_page_of_ones_own_leaves_its_frame_even_if_the_map_fails_on_x86() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, t.domain(), t.frame(1)));
        t.is("where no frame is", map(t, 1 << 50, host_map(), 8, t.domain()).0, GENERAL);
        let again = map(t, at(t, 9), host_map(), 8, t.domain()).0;
        t.is("the page", again, if is_arm(profile) { OKAY } else { BAD_PAGE });
    });
}

#[test]
fn a_page_of_xens_can_be_lent_copied_and_moved() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let (own, x86) = (t.domain(), !is_arm(profile));
        map_table(t, 0);
        map_shared(t, 5);
        put(t, 0, 8, entry(PERMIT, own, t.frame(5)));
        t.is("lent and mapped", map(t, at(t, 9), host_map(), 8, own).0, OKAY);
        let left = t.give(memory::command::RemoveFromPhysmap, &mut remove_of(t, 5));
        t.is("it has left its frame on x86", left, if x86 { ENOENT } else { OK });
        let moved = t.give(memory::command::AddToPhysmap, &mut move_of(t, 9, 10));
        t.is("a grant is no page to move", moved, if x86 { EXDEV } else { ENOSYS });
        let moved = t.give(memory::command::AddToPhysmap, &mut move_of(t, 0, 10));
        t.is("the table is moved", moved, if x86 { OK } else { ENOSYS });
        if !x86 {
            let space = MapSpace::SHARED_INFO;
            let mut asked = XenAddToPhysmap::new(Domid::SELF, 0, space, 0, t.frame(11));
            let mapped = t.give(memory::command::AddToPhysmap, &mut asked);
            t.is("at a grant only, it can be mapped", mapped, OK);
        }
    });
}

fn remove_of(t: &Table, page: usize) -> XenRemoveFromPhysmap {
    XenRemoveFromPhysmap::new(Domid::SELF, t.frame(page))
}

fn move_of(t: &Table, from: usize, to: usize) -> XenAddToPhysmap {
    XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::GMFN, t.frame(from), t.frame(to))
}

#[test]
fn a_page_of_the_domain_that_is_mapped_as_a_grant_is_not_moved() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(0), t.frame(1)));
        t.is("mapped", map(t, at(t, 9), host_map(), 8, Domid(0)).0, OKAY);
        t.is("moved", t.give(memory::command::AddToPhysmap, &mut move_of(t, 9, 10)), EXDEV);
    });
}

#[test]
fn other_flags_of_a_mapping_are_refused_and_the_page_stays() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, t.domain(), t.frame(1)));
        for flags in [0x20, 1 << 16, 1 << 31] {
            t.is("refused", map(t, at(t, 9), host_map() | flags, 8, t.domain()).0, GENERAL);
        }
        t.is("unused", peek::<GrantEntryV1>(t, 0, 8).flags, PERMIT);
        t.is("there", map(t, at(t, 9), host_map(), 8, t.domain()).0, OKAY);
    });
}

#[test]
fn entries_are_exchanged_while_neither_is_in_use() {
    use xen_pac::grant_table::command::SwapGrantRef;
    let swap = |t: &Table, a, b| {
        let mut asked = GnttabSwapGrantRef::new(a, b);
        t.give_one(SwapGrantRef, &mut asked).map(|_| asked.status)
    };
    on([Profile::DOM0, Profile::DOM0LESS], DomainConfig::new(), move |_, t| {
        let own = t.domain();
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, own, t.frame(1)));
        let entry_of = |reference| {
            let entry = peek::<GrantEntryV1>(t, 0, reference);
            (entry.flags, entry.domid, entry.frame)
        };
        rows! { t;
            "exchanged", swap(t, 8, 9) => OKAY;
            "the one", entry_of(8) => (0, 0, 0);
            "the other", entry_of(9) => (PERMIT, own.0, t.frame(1) as u32);
            "past the table", [swap(t, 512, 9), swap(t, 9, 512)] => [BAD_GNTREF; 2];
            "mapped", map(t, at(t, 9), host_map(), 9, own).0 => OKAY;
            "in use", [swap(t, 8, 9), swap(t, 9, 8)] => [Ok(GrantStatus::EAGAIN); 2];
            "with itself", swap(t, 9, 9) => OKAY;
        }
    });
}
