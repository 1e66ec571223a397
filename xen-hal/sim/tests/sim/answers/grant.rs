//! The grant table as a whole: its size, its version.

use xen_pac::grant_table::command;

use crate::support::prelude::*;

fn query_size(t: &Table, dom: Domid) -> Told {
    let mut asked = GnttabQuerySize::new(dom);
    t.give_one(command::QuerySize, &mut asked).map(|_| asked.status)
}

fn setup_table(t: &Table, dom: Domid, frames: u32, list: *mut u64) -> Told {
    let mut asked = GnttabSetupTable::new(dom, frames, Handle::from_ptr(list));
    t.give_one(command::SetupTable, &mut asked).map(|_| asked.status)
}

fn get_version(t: &Table, dom: Domid) -> Answer {
    let mut asked = GnttabGetVersion::new(dom);
    t.give_one(command::GetVersion, &mut asked).map(|_| asked.version as usize)
}

fn wide(flags: u16, domid: Domid, frame: u64) -> GrantEntryV2FullPage {
    let mut entry = GrantEntryV2FullPage::ZEROED;
    (entry.hdr.flags, entry.hdr.domid, entry.frame) = (flags, domid.0, frame);
    entry
}

/// Only Arm offers the command, and its tables have no status pages.
#[test]
fn status_pages_on_arm() {
    one(Profile::DOM0LESS, DomainConfig::new(), |t| {
        let ask = |frames, dom| {
            let mut asked = GnttabGetStatusFrames::new(frames, dom, Handle::NULL);
            t.give_one(command::GetStatusFrames, &mut asked).map(|_| asked.status)
        };
        rows! { t;
            "none", ask(0, Domid::SELF) => Ok(GrantStatus::OKAY);
            "one", ask(1, Domid::SELF) => Ok(GrantStatus::GENERAL_ERROR);
            "of no domain", ask(0, Domid(77)) => Ok(GrantStatus::BAD_DOMAIN);
        }
    });
}

#[test]
fn counts_and_arguments_that_are_nowhere() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        let ask = |command: usize, count: usize| {
            t.raw(HypercallNr::GRANT_TABLE_OP, [command, NOWHERE, count])
        };
        for command in [0, 1, 5, 6, 2, 8, 10] {
            t.is(&format!("{command}, a negative count"), ask(command, 1 << 31), EINVAL);
            t.is(&format!("{command}, from nowhere"), ask(command, 1), EFAULT);
        }
        for command in [0, 1, 5] {
            rows! { t;
                &format!("{command}, none"), ask(command, 0) => OK;
                &format!("{command}, a count of which 32 bits are looked at"),
                    ask(command, 1 << 32) => OK;
            }
        }
        for command in [2, 6] {
            t.is(&format!("{command}, two from nowhere"), ask(command, 2), EINVAL);
            t.is(&format!("{command}, none from nowhere"), ask(command, 0), EINVAL);
        }
        // x86 looks at the command first, and knows fewer of them.
        let arm = profile.arch == Arch::Aarch64;
        rows! { t;
            "unknown, a negative count",
                ask(NO_COMMAND, 1 << 31) => if arm { EINVAL } else { ENOSYS };
            "unknown", ask(NO_COMMAND, 1) => ENOSYS;
        }
        if !arm {
            for command in [3, 4, 7, 9, 12] {
                rows! { t;
                    &format!("{command}, which HVM guests do not have"),
                        ask(command, 1 << 31) => ENOSYS;
                }
            }
        }
    });
}

#[test]
fn elements_before_one_that_is_nowhere_are_done() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        let last = t.frame(63) + 1;
        let mut take = XenRemoveFromPhysmap::new(Domid::SELF, last - 1);
        rows! { t;
            "the last page is empty",
                t.give(memory::command::RemoveFromPhysmap, &mut take) => OK;
        }
        let at = t.page(62).addr().get() + 4096 - size_of::<GnttabUnmapGrantRef>();
        let place = std::ptr::with_exposed_provenance_mut::<GnttabUnmapGrantRef>(at);
        // SAFETY: the element is the last of a page that nothing else uses.
        unsafe { place.write_unaligned(GnttabUnmapGrantRef::new(0, 0, 5)) };
        t.is("two, the second nowhere", t.raw(HypercallNr::GRANT_TABLE_OP, [1, at, 2]), EFAULT);
        // SAFETY: as above.
        let first = unsafe { place.read_unaligned() };
        t.is("the first was looked at", first.status, GrantStatus::BAD_HANDLE);
    });
}

#[test]
fn sizes() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let mut list = [0; 65];
        let at = list.as_mut_ptr();
        rows! { t;
            "of no domain", query_size(t, NOBODY) => Ok(GrantStatus::BAD_DOMAIN);
            "of oneself", [query_size(t, Domid::SELF), query_size(t, t.domain())]
                => [Ok(GrantStatus::OKAY); 2];
            "set up too many in no domain",
                setup_table(t, NOBODY, 65, at) => Ok(GrantStatus::BAD_DOMAIN);
            "set up too many",
                setup_table(t, Domid::SELF, 65, at) => Ok(GrantStatus::GENERAL_ERROR);
            "set up as many as there may be",
                setup_table(t, Domid::SELF, 64, at) => Ok(GrantStatus::OKAY);
        }
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        rows! { t;
            "set up, an unwritable list",
                setup_table(t, Domid::SELF, 1, nowhere) => Ok(GrantStatus::BAD_VIRT_ADDR);
            "set up none, an unwritable list",
                setup_table(t, Domid::SELF, 0, nowhere) => Ok(GrantStatus::OKAY);
        }
    });
}

#[test]
fn a_32_bit_guest_gets_the_list_and_not_the_failure_to_write_it() {
    one(Profile { is_compat: true, ..Profile::DOM0 }, DomainConfig::new(), |t| {
        let mut list = [u64::MAX; 2];
        let nowhere = std::ptr::without_provenance_mut(NOWHERE);
        let mut none = GnttabSetupTable::new(Domid::SELF, 1, Handle::from_ptr(nowhere));
        let at = std::ptr::from_mut(&mut none).addr();
        let of_none = t.raw(HypercallNr::GRANT_TABLE_OP, [2, at, 0]);
        rows! { t;
            "two", setup_table(t, Domid::SELF, 2, list.as_mut_ptr()) => Ok(GrantStatus::OKAY);
            "written", list.map(|frame| frame == u64::MAX) => [false; 2];
            "an unwritable list", setup_table(t, Domid::SELF, 1, nowhere) => Ok(GrantStatus::OKAY);
            "an empty list of commands", of_none => OK;
        }
    });
}

#[test]
fn sizes_and_versions_of_others() {
    let control = domain(DomainConfig::new(), |t| {
        rows! { t;
            "size of a guest's", query_size(t, Domid(1)) => Ok(GrantStatus::OKAY);
            "set up a guest's",
                setup_table(t, Domid(1), 1, [0].as_mut_ptr()) => Ok(GrantStatus::OKAY);
            "version of a guest's", get_version(t, Domid(1)) => Ok(1);
        }
        t.publish("asked", 1);
        let _ = t.wait_for_key("asked too");
    });
    let other = domain(guest(), |t| {
        rows! { t;
            "size of another's", query_size(t, Domid(0)) => Ok(GrantStatus::PERMISSION_DENIED);
            "set up too many of another's", setup_table(t, Domid(0), 65, [0].as_mut_ptr())
                => Ok(GrantStatus::PERMISSION_DENIED);
            "version of another's", get_version(t, Domid(0)) => EPERM;
        }
        t.publish("asked too", 1);
        let _ = t.wait_for_key("asked");
    });
    several(Profile::DOM0, [control, other]);
}

#[test]
fn versions() {
    on(PROFILES, DomainConfig::new(), |profile, t| {
        rows! { t;
            "at first", get_version(t, Domid::SELF) => Ok(1);
            "of no domain", get_version(t, NOBODY) => ESRCH;
            "which are none", [set_version(t, 0), set_version(t, 3), set_version(t, u32::MAX)]
                => [(EINVAL, 1); 3];
            "1", set_version(t, 1) => (OK, 1);
            "2", set_version(t, 2) => if is_arm(profile) { (ENOSYS, 1) } else { (OK, 2) };
        }
        if !is_arm(profile) {
            t.is("none, with 2 in force", set_version(t, 3), (EINVAL, 2));
            t.is("2 again, and 1", [set_version(t, 2), set_version(t, 1)], [(OK, 2), (OK, 1)]);
        }
        // The only fault of a set_version that nothing else precedes is an argument that is
        // nowhere.
        t.is("from nowhere", t.give_nowhere(command::SetVersion), EFAULT);
    });
}

#[test]
fn versions_do_not_change_under_a_mapping_but_of_the_reserved() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        for reference in [7, 8] {
            put(t, 0, reference, entry(PERMIT, Domid(0), t.frame(1)));
        }
        let at = t.frame(2) * 4096;
        let (status, handle) = map(t, at, host_map(), 8, Domid(0));
        t.is("mapped", status, Ok(GrantStatus::OKAY));
        t.is("while an entry is used", set_version(t, 2), (EBUSY, 1));
        t.is("unmapped", unmap(t, at, handle), Ok(GrantStatus::OKAY));
        put(t, 0, 7, entry(PERMIT, Domid(0), t.frame(3)));
        let (status, handle) = map(t, at, host_map(), 7, Domid(0));
        t.is("a reserved one", status, Ok(GrantStatus::OKAY));
        t.is("while a reserved one is used", set_version(t, 2), (OK, 2));
        let (kept, wiped): (GrantEntryV2FullPage, GrantEntryV2FullPage) =
            (peek(t, 0, 7), peek(t, 0, 8));
        rows! { t;
            "it is kept", (kept.hdr.flags, kept.frame) => (PERMIT, t.frame(1) + 2);
            "others are wiped", wiped.hdr.flags => 0;
            "and back", set_version(t, 1) => (OK, 1);
            "with what Xen said of it",
                peek::<GrantEntryV1>(t, 0, 7).flags => PERMIT | READING | WRITING;
            "unmapped", unmap(t, at, handle) => Ok(GrantStatus::OKAY);
            "which is told", peek::<GrantEntryV1>(t, 0, 7).flags => PERMIT;
        }
    });
}

#[test]
fn reserved_entries_that_version_1_cannot_say() {
    for (what, entry, answer, flags) in [
        ("a frame that is too large", wide(PERMIT, Domid(0), 1 << 32), (ERANGE, 2), None),
        ("transitive", wide(TRANSITIVE, Domid(0), 0), (ERANGE, 2), None),
        ("empty, with what is too large", wide(0, Domid(0), 1 << 32), (OK, 1), Some(0)),
        ("a kind that lends nothing", wide(2, Domid(0), 1 << 32), (OK, 1), Some(0)),
        ("one that can be said", wide(PERMIT, Domid(3), 99), (OK, 1), Some(PERMIT)),
    ] {
        one(Profile::DOMU, DomainConfig::new(), move |t| {
            map_table(t, 0);
            t.is("2", set_version(t, 2), (OK, 2));
            put(t, 0, 3, entry);
            t.is(what, set_version(t, 1), answer);
            if let Some(flags) = flags {
                t.is(what, peek::<GrantEntryV1>(t, 0, 3).flags, flags);
            }
        });
    }
}

#[test]
fn pages_of_status_come_with_version_2() {
    let status_page = |t: &Table, index: u64| {
        let space = MapSpace::GRANT_TABLE;
        let mut asked = XenAddToPhysmap::new(Domid::SELF, 0, space, index | 1 << 31, t.frame(5));
        t.give(memory::command::AddToPhysmap, &mut asked)
    };
    one(Profile::DOMU, DomainConfig::new(), move |t| {
        t.is("in version 1", status_page(t, 0), EINVAL);
        t.is("2", set_version(t, 2), (OK, 2));
        t.is("the first", status_page(t, 0), OK);
        t.is("the last, for which the table grows", status_page(t, 7), OK);
        let mut size = GnttabQuerySize::new(Domid::SELF);
        t.is("size", t.give_one(command::QuerySize, &mut size).map(|_| size.nr_frames), Ok(64));
        t.is("past the last", status_page(t, 8), EINVAL);
        let mut argument = GnttabSetVersion::new(1);
        t.is("1", t.raw(HypercallNr::GRANT_TABLE_OP, [8, address(&mut argument), 1]), OK);
        t.is("none any more", status_page(t, 0), EINVAL);
    });
}

#[test]
fn a_page_of_status_that_is_mapped_when_version_2_ends_is_the_end() {
    let failure = fails(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        t.is("2", set_version(t, 2), (OK, 2));
        let space = MapSpace::GRANT_TABLE;
        let mut asked = XenAddToPhysmap::new(Domid::SELF, 0, space, 1 << 31, t.frame(5));
        t.is("status", t.give(memory::command::AddToPhysmap, &mut asked), OK);
        put(t, 0, 7, wide(PERMIT, Domid(0), t.frame(5)));
        t.is("mapped", map(t, at(t, 9), host_map(), 7, Domid(0)).0, Ok(GrantStatus::OKAY));
        let _ = set_version(t, 1);
    });
    assert!(matches!(failure.kind, FailureKind::Crashed { .. }), "{failure}");
}
