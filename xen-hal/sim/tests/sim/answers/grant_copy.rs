//! Copies between pages that are granted and pages of the caller.

use xen_pac::grant_table::command;

use crate::support::prelude::*;

/// A side of a copy.
#[derive(Clone, Copy)]
enum Side {
    /// A frame, and whose it is said to be.
    Frame(Domid, u64),
    /// A grant, and who lends it.
    Grant(Domid, u32),
}
use Side::{Frame, Grant};

/// A copy of so many bytes, from and to these offsets.
fn part(t: &Table, from: (Side, u16), to: (Side, u16), length: u16) -> Told {
    let pointer = |(side, offset): (Side, u16)| match side {
        Frame(dom, frame) => (GnttabCopyPtr::new(GnttabCopyPtrU::from_gmfn(frame), dom, offset), 0),
        Grant(dom, reference) => {
            (GnttabCopyPtr::new(GnttabCopyPtrU::from_reference(reference), dom, offset), 1)
        }
    };
    let ((source, from_grant), (dest, to_grant)) = (pointer(from), pointer(to));
    let mut asked = GnttabCopy::new(source, dest, length, from_grant | to_grant << 1);
    t.give_one(command::Copy, &mut asked).map(|_| asked.status)
}

fn copy(t: &Table, from: Side, to: Side) -> Told {
    part(t, (from, 0), (to, 0), 16)
}

const SELF: Domid = Domid::SELF;

#[test]
fn whose_the_pages_are() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let (own, page, none) = (t.domain(), t.frame(1), 1 << 40);
        let mine = Frame(SELF, page);
        for (what, from, to, status) in [
            ("from oneself by number", Frame(own, page), mine, DENIED),
            ("the same, to nobody's grant", Frame(own, none), Grant(NOBODY, 0), BAD_DOMAIN),
            ("from nobody's frame", Frame(NOBODY, none), Frame(NOBODY, none), BAD_DOMAIN),
            (
                "from nobody's grant, to oneself by number",
                Grant(NOBODY, 0),
                Frame(own, page),
                BAD_DOMAIN,
            ),
            ("to oneself by number", mine, Frame(own, page), DENIED),
            ("the same, from no frame", Frame(SELF, none), Frame(own, page), BAD_PAGE),
            ("to nobody's grant", Frame(SELF, none), Grant(NOBODY, 0), BAD_DOMAIN),
            ("from past the table", Grant(own, 512), Frame(SELF, none), BAD_GNTREF),
            ("from no frame, to past the table", Frame(SELF, none), Grant(own, 512), BAD_PAGE),
            ("to past the table", mine, Grant(own, 512), BAD_GNTREF),
            ("to no frame", mine, Frame(SELF, none), BAD_PAGE),
            (
                "from an entry that lends nothing, to past the table",
                Grant(own, 9),
                Grant(own, 512),
                GENERAL,
            ),
            ("the caller's own", mine, mine, OKAY),
        ] {
            t.is(what, copy(t, from, to), status);
        }
    });
}

#[test]
fn what_is_lent_and_how_much() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let own = t.domain();
        let mine = Frame(SELF, t.frame(1));
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT | READ_ONLY_ENTRY, own, t.frame(2)));
        put(t, 0, 9, entry(PERMIT, NOBODY, t.frame(2)));
        put(t, 0, 10, entry(PERMIT, own, 1 << 31));
        put(t, 0, 11, entry(PERMIT, own, t.frame(2)));
        rows! { t;
            "for reading, read", copy(t, Grant(own, 8), mine) => OKAY;
            "by the name of oneself", copy(t, Grant(SELF, 8), mine) => OKAY;
            "for reading, written", copy(t, mine, Grant(own, 8)) => GENERAL;
            "for another",
                [copy(t, Grant(own, 9), mine), copy(t, mine, Grant(own, 9))] => [GENERAL; 2];
            "no memory",
                [copy(t, Grant(own, 10), mine), copy(t, mine, Grant(own, 10))] => [BAD_PAGE; 2];
            "the source before the end of the page",
                part(t, (Grant(own, 9), 4095), (mine, 0), 9) => GENERAL;
            "the destination before it", part(t, (mine, 4095), (Grant(own, 10), 0), 9) => BAD_PAGE;
            "past the source's end", part(t, (mine, 4090), (Grant(own, 11), 0), 7) => BAD_COPY;
            "past the destination's", part(t, (Grant(own, 11), 0), (mine, 4090), 7) => BAD_COPY;
            "to both ends", part(t, (Grant(own, 11), 4090), (mine, 4090), 6) => OKAY;
            "a page", part(t, (Grant(own, 11), 0), (mine, 0), 4096) => OKAY;
            "nothing, at the end", part(t, (mine, 4096), (mine, 4096), 0) => OKAY;
            "nothing, past the end", part(t, (mine, 4097), (mine, 0), 0) => BAD_COPY;
        }
    });
}

#[test]
fn parts_of_pages() {
    for (minor, nothing) in [(17, GENERAL), (18, GENERAL), (19, OKAY)] {
        one(release(minor, Profile::DOM0), DomainConfig::new(), move |t| {
            t.is("2", set_version(t, 2).0, OK);
            map_table(t, 0);
            let mut entry = GrantEntryV2SubPage::ZEROED;
            (entry.hdr.flags, entry.hdr.domid, entry.frame) = (PERMIT | SUB_PAGE, 0, t.frame(2));
            (entry.page_off, entry.length) = (64, 32);
            put(t, 0, 8, entry);
            let (mine, lent) = (Frame(SELF, t.frame(1)), Grant(Domid(0), 8));
            put(t, 2, 64, 0x5a_u8);
            t.is("all of it", part(t, (lent, 64), (mine, 0), 32), OKAY);
            t.is("is there", peek::<u8>(t, 1, 0), 0x5a);
            for (what, offset, length, status) in [
                ("before it", 63, 1, GENERAL),
                ("after it", 96, 1, GENERAL),
                ("too much of it", 64, 33, GENERAL),
                ("its last byte", 95, 1, OKAY),
                ("nothing at its end", 96, 0, OKAY),
                ("nothing before it", 63, 0, nothing),
                ("past the page", 4095, 2, BAD_COPY),
            ] {
                t.is(what, part(t, (lent, offset), (mine, 0), length), status);
                t.is(what, part(t, (mine, 0), (lent, offset), length), status);
            }
        });
    }
}

#[test]
fn between_domains() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(2), t.frame(1)));
        put(t, 0, 9, entry(PERMIT, Domid(2), t.frame(2)));
        put(t, 1, 0, 0x77_u8);
        t.publish("lent", 1);
        let _ = t.wait_for_key("copied");
        t.is("it was written", peek::<u8>(t, 2, 0), 0x77);
        t.is("and told of as not used", peek::<u16>(t, 0, 8 * 4), PERMIT);
    });
    let copies = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        let mine = Frame(SELF, t.frame(1));
        t.is("from the other", copy(t, Grant(Domid(1), 8), mine), OKAY);
        t.is("and back to it", copy(t, mine, Grant(Domid(1), 9)), OKAY);
        t.is("of the other's alone", copy(t, Grant(Domid(1), 8), Grant(Domid(1), 9)), OKAY);
        t.is("of the other's frames", copy(t, Frame(Domid(1), t.frame(1)), mine), DENIED);
        t.publish("copied", 1);
    });
    several(Profile::DOMU, [lends, copies]);
}

#[test]
fn silo_keeps_guests_apart() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(2), t.frame(1)));
        put(t, 0, 9, entry(PERMIT, Domid(2), t.frame(2)));
        t.publish("lent", 1);
        let _ = t.wait_for_key("done");
    });
    let copies = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("lent");
        let mine = Frame(SELF, t.frame(1));
        t.is("from another guest", copy(t, Grant(Domid(1), 8), mine), DENIED);
        t.is("past its table", copy(t, Grant(Domid(1), 512), mine), DENIED);
        t.is("to it", copy(t, mine, Grant(Domid(1), 9)), DENIED);
        t.is("within it", copy(t, Grant(Domid(1), 8), Grant(Domid(1), 9)), OKAY);
        t.publish("done", 1);
    });
    several(Profile::DOM0LESS, [lends, copies]);

    let control = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(1), t.frame(1)));
        t.publish("lent", 1);
        let _ = t.wait_for_key("done");
    });
    let copies = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        t.is("from the control domain", copy(t, Grant(Domid(0), 8), Frame(SELF, t.frame(1))), OKAY);
        t.publish("done", 1);
    });
    several(ARM_DOM0, [control, copies]);
}

#[test]
fn a_grant_that_another_has_mapped() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(1), t.frame(1)));
        t.publish("lent", 1);
        let _ = t.wait_for_key("mapped");
        put(t, 0, 8, entry(PERMIT, Domid(2), t.frame(1)));
        t.publish("lent again", 1);
        let _ = t.wait_for_key("done");
    });
    let maps = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        t.is("mapped", map(t, t.frame(9) * 4096, host_map(), 8, Domid(0)).0, OKAY);
        t.publish("mapped", 1);
        let _ = t.wait_for_key("done");
    });
    let copies = domain(guest(), |t| {
        let _ = t.wait_for_key("lent again");
        t.is("pinned for another", copy(t, Grant(Domid(0), 8), Frame(SELF, t.frame(1))), GENERAL);
        t.publish("done", 1);
    });
    several(Profile::DOM0, [lends, maps, copies]);
}

#[test]
fn frames_of_xen_and_of_the_callers_own_grants_are_copied() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(0), t.frame(1)));
        put(t, 1, 0, 0x5a_u8);
        t.is("mapped", map(t, at(t, 9), host_map(), 8, Domid(0)).0, OKAY);
        let table = (Frame(SELF, t.frame(0)), 8 * 8);
        t.is("a Xen page", part(t, table, (Frame(SELF, t.frame(2)), 0), 2), OKAY);
        t.is("its bytes", peek::<u16>(t, 2, 0), PERMIT | READING | WRITING);
        t.is("a grant", copy(t, Frame(SELF, t.frame(9)), Frame(SELF, t.frame(3))), OKAY);
        t.is("its bytes", peek::<u8>(t, 3, 0), 0x5a);
    });
}

#[test]
fn a_copy_into_an_entry_in_use_looks_at_the_entry_again() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        let lend = |page| put(t, 0, 8, entry(PERMIT, Domid(0), t.frame(page)));
        lend(1);
        t.is("read", map(t, at(t, 9), host_map() | read_only(), 8, Domid(0)).0, OKAY);
        let write = || copy(t, Frame(SELF, t.frame(3)), Grant(Domid(0), 8));
        lend(2);
        t.is("written, to another page", write(), GENERAL);
        t.is("read, as it was", copy(t, Grant(Domid(0), 8), Frame(SELF, t.frame(3))), OKAY);
    });
}

#[test]
fn whom_an_entry_in_use_names_is_not_asked_when_it_becomes_transitive() {
    let control = domain(DomainConfig::new(), |t| {
        let _ = t.wait_for_key("done");
    });
    let grants = domain(guest(), |t| {
        t.is("2", set_version(t, 2).0, OK);
        map_table(t, 0);
        let mut full = GrantEntryV2FullPage::ZEROED;
        (full.hdr.flags, full.hdr.domid, full.frame) = (PERMIT, 1, t.frame(1));
        put(t, 0, 8, full);
        t.is("read", map(t, at(t, 9), host_map() | read_only(), 8, Domid(1)).0, OKAY);
        let write = || copy(t, Frame(SELF, t.frame(3)), Grant(Domid(1), 8));
        // It goes on to a reference of domain 0, which has fewer.
        full.frame = u64::MAX;
        for (what, to, flags, expected) in [
            ("of another", 2, 0, BAD_GNTREF),
            ("that may only be read", 1, READ_ONLY_ENTRY, GENERAL),
        ] {
            (full.hdr.flags, full.hdr.domid) = (TRANSITIVE | flags, to);
            put(t, 0, 8, full);
            t.is(what, write(), expected);
        }
        t.publish("done", 1);
    });
    several(Profile::DOM0, [control, grants]);
}

#[test]
fn an_entry_in_use_that_becomes_transitive_is_not_copied() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("2", set_version(t, 2).0, OK);
        map_table(t, 0);
        let mut full = GrantEntryV2FullPage::ZEROED;
        (full.hdr.flags, full.hdr.domid, full.frame) = (PERMIT, 0, t.frame(1));
        put(t, 0, 8, full);
        t.is("mapped", map(t, at(t, 9), host_map(), 8, Domid(0)).0, OKAY);
        full.hdr.flags = TRANSITIVE;
        put(t, 0, 8, full);
        t.is("copied", copy(t, Grant(Domid(0), 8), Frame(SELF, t.frame(2))), GENERAL);
    });
}
