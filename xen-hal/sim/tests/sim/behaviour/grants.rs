//! Pages that are lent: who uses them, how long, and that they truly are one page.

use xen_pac::grant_table::command;

use crate::support::prelude::*;

fn flags(t: &Table) -> u16 {
    peek::<GrantEntryV1>(t, 0, 8).flags
}

#[test]
fn uses_are_counted() {
    on([Profile::DOM0, Profile::DOM0LESS], DomainConfig::new(), |_, t| {
        let own = t.domain();
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, own, t.frame(1)));
        let reads = [9, 10].map(|page| map(t, at(t, page), host_map() | read_only(), 8, own));
        t.is("read", (reads.map(|read| read.0), flags(t)), ([OKAY; 2], PERMIT | READING));
        let write = map(t, at(t, 11), host_map(), 8, own);
        rows! { t;
            "written", (write.0, flags(t)) => (OKAY, PERMIT | READING | WRITING);
            "read by one",
                (unmap(t, at(t, 9), reads[0].1), flags(t)) => (OKAY, PERMIT | READING | WRITING);
            "no more written", (unmap(t, at(t, 11), write.1), flags(t)) => (OKAY, PERMIT | READING);
            "no more read", (unmap(t, at(t, 10), reads[1].1), flags(t)) => (OKAY, PERMIT);
        }
        put(t, 0, 9, entry(PERMIT, own, t.frame(2)));
        // Xen uses the handle that has been free for longest, after a failed map as well.
        t.is("a new handle", map(t, at(t, 9), host_map(), 9, own), (OKAY, 3));
        let nowhere = map(t, 1 << 50, host_map(), 9, own).0;
        t.is("a map that fails", nowhere, Ok(GrantStatus::GENERAL_ERROR));
        t.is("the one after it", map(t, at(t, 10), host_map(), 9, own), (OKAY, 5));
    });
}

#[test]
fn a_grant_is_not_taken_back_while_it_is_used() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(0), t.frame(1)));
        // SAFETY: the table's page is mapped there, and used by such accesses alone.
        let table = unsafe { GrantTableV1Page::from_ptr(t.page(0).cast()) };
        let word = table.entries(8).expect("the page has the entry").flags();
        let revoke = || word.compare_exchange(PERMIT, 0, SeqCst, SeqCst);
        let (status, handle) = map(t, at(t, 9), host_map() | read_only(), 8, Domid(0));
        rows! { t;
            "mapped", status => OKAY;
            "used", revoke() => Err(PERMIT | READING);
            "unmapped", unmap(t, at(t, 9), handle) => OKAY;
            "taken back", revoke() => Ok(PERMIT);
            "nothing is lent",
                map(t, at(t, 9), host_map(), 8, Domid(0)).0 => Ok(GrantStatus::GENERAL_ERROR);
        }
    });
}

#[test]
fn what_two_domains_have_mapped_is_one_page() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(2), t.frame(1)));
        set_byte(t.page(1), 100, 1);
        t.publish("lent", 1);
        let _ = t.wait_for_key("written");
        t.is("what the other wrote", byte(t.page(1), 101), 2);
        set_byte(t.page(1), 102, 3);
        t.publish("answered", 1);
        let _ = t.wait_for_key("unmapped");
        t.is("nobody uses it", flags(t), PERMIT);
    });
    let maps = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        let mut covered = XenRemoveFromPhysmap::new(Domid::SELF, t.frame(9));
        rows! { t;
            "a frame without memory",
                t.give(memory::command::RemoveFromPhysmap, &mut covered) => OK;
        }
        let (status, handle) = map(t, at(t, 9), host_map(), 8, Domid(1));
        t.is("mapped", status, OKAY);
        t.is("what the lender wrote", byte(t.page(9), 100), 1);
        set_byte(t.page(9), 101, 2);
        t.publish("written", 1);
        let _ = t.wait_for_key("answered");
        t.is("what the lender wrote since", byte(t.page(9), 102), 3);
        t.is("unmapped", unmap(t, at(t, 9), handle), OKAY);
        let version = t.raw(HypercallNr::XEN_VERSION, [1, t.page(9).addr().get(), 0]);
        t.is("nothing is there", version, EFAULT);
        t.publish("unmapped", 1);
    });
    several(Profile::DOMU, [lends, maps]);
}

#[test]
fn what_is_mapped_for_reading_is_not_written() {
    one(Profile::DOM0LESS, DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, t.domain(), t.frame(1)));
        set_byte(t.page(1), 5, 77);
        t.is("mapped", map(t, at(t, 9), host_map() | read_only(), 8, t.domain()).0, OKAY);
        t.is("read", byte(t.page(9), 5), 77);
        let place = t.page(9).addr().get();
        let version = t.raw(HypercallNr::XEN_VERSION, [1, place, 0]);
        rows! { t;
            "not written by Xen", version => EFAULT;
            "which reads it",
                t.raw(HypercallNr::CONSOLE_IO, [0, 6, place]) => OK;
            "as it was", byte(t.page(1), 0) => 0;
        }
    });
}

#[test]
fn what_a_domain_had_mapped_is_free_when_it_ends() {
    let lends = domain(DomainConfig::new(), |t| {
        map_table(t, 0);
        put(t, 0, 8, entry(PERMIT, Domid(2), t.frame(1)));
        t.publish("lent", 1);
        let _ = t.wait_for_key("mapped");
        while flags(t) != PERMIT {
            t.relax();
        }
    });
    let maps = domain(guest(), |t| {
        let _ = t.wait_for_key("lent");
        t.is("mapped", map(t, at(t, 9), host_map(), 8, Domid(1)).0, OKAY);
        t.publish("mapped", 1);
    });
    several(Profile::DOMU, [lends, maps]);
}

/// Maps the first page of status over a page.
fn map_status(t: &Table, page: usize) {
    let mut asked =
        XenAddToPhysmap::new(Domid::SELF, 0, MapSpace::GRANT_TABLE, 1 << 31, t.frame(page));
    t.is("the page of status", t.give(memory::command::AddToPhysmap, &mut asked), OK);
}

fn whole(t: &Table, to: Domid) -> GrantEntryV2FullPage {
    let mut entry = GrantEntryV2FullPage::ZEROED;
    (entry.hdr.flags, entry.hdr.domid, entry.frame) = (PERMIT, to.0, t.frame(1));
    entry
}

#[test]
fn the_second_version_tells_of_uses_in_pages_of_their_own() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("2", set_version(t, 2), (OK, 2));
        map_table(t, 0);
        map_status(t, 2);
        put(t, 0, 8, whole(t, Domid(0)));
        let status = || peek::<u16>(t, 2, 8);
        let read = map(t, at(t, 9), host_map() | read_only(), 8, Domid(0));
        t.is("read", (read.0, status()), (OKAY, READING));
        let write = map(t, at(t, 10), host_map(), 8, Domid(0));
        rows! { t;
            "written", (write.0, status()) => (OKAY, READING | WRITING);
            "the entry is as it was", peek::<GrantEntryV2FullPage>(t, 0, 8).hdr.flags => PERMIT;
            "no more", (unmap(t, at(t, 10), write.1), unmap(t, at(t, 9), read.1), status())
                => (OKAY, OKAY, 0);
            "past half of what version 1 has",
                map(t, at(t, 9), host_map(), 256, Domid(0)).0 => Ok(GrantStatus::BAD_GNTREF);
        }
    });
}

#[test]
fn the_second_version_lends_parts_to_be_copied() {
    one(Profile::DOM0, DomainConfig::new(), |t| {
        t.is("2", set_version(t, 2), (OK, 2));
        map_table(t, 0);
        let mut part = GrantEntryV2SubPage::ZEROED;
        (part.hdr.flags, part.hdr.domid, part.frame) = (PERMIT | SUB_PAGE, 0, t.frame(1));
        (part.page_off, part.length) = (256, 16);
        put(t, 0, 8, part);
        put(t, 0, 9, whole(t, Domid(0)));
        (0..16).for_each(|index| set_byte(t.page(1), 256 + index, index as u8 + 1));
        let copy = |reference, offset| {
            let source =
                GnttabCopyPtr::new(GnttabCopyPtrU::from_reference(reference), Domid(0), offset);
            let dest = GnttabCopyPtr::new(GnttabCopyPtrU::from_gmfn(t.frame(3)), Domid::SELF, 0);
            let mut asked = GnttabCopy::new(source, dest, 16, 1);
            t.give_one(command::Copy, &mut asked).map(|_| asked.status)
        };
        rows! { t;
            "the part", copy(8, 256) => OKAY;
            "is there", (0..16).all(|index| byte(t.page(3), index) == index as u8 + 1) => true;
            "what is beside it", copy(8, 240) => Ok(GrantStatus::GENERAL_ERROR);
            "of a whole page", copy(9, 240) => OKAY;
            "the part cannot be mapped",
                map(t, at(t, 9), host_map(), 8, Domid(0)).0 => Ok(GrantStatus::GENERAL_ERROR);
            "the whole page can", map(t, at(t, 9), host_map(), 9, Domid(0)).0 => OKAY;
        }
    });
}

#[test]
fn marks_of_use_are_written_at_the_first_use_alone() {
    on([Profile::DOM0, Profile::DOM0LESS], DomainConfig::new(), |_, t| {
        let own = t.domain();
        map_table(t, 0);
        let lend = || put(t, 0, 8, entry(PERMIT, own, t.frame(1)));
        lend();
        let read = host_map() | read_only();
        let (status, first) = map(t, at(t, 9), read, 8, own);
        t.is("read", (status, flags(t)), (OKAY, PERMIT | READING));
        lend();
        let (status, second) = map(t, at(t, 10), read, 8, own);
        t.is("read again, after it was rewritten", (status, flags(t)), (OKAY, PERMIT));
        let (status, third) = map(t, at(t, 11), host_map(), 8, own);
        t.is("written", (status, flags(t)), (OKAY, PERMIT | READING | WRITING));
        lend();
        let handles = [(9, first), (10, second), (11, third)];
        let ends = handles.map(|(page, handle)| unmap(t, at(t, page), handle));
        t.is("ended", (ends, flags(t)), ([OKAY; 3], PERMIT));
    });
}
