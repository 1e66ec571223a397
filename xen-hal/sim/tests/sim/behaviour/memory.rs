//! Pages that are given, taken, moved and covered.

use xen_pac::memory::command;

use crate::support::prelude::*;

fn pages(t: &Table) -> usize {
    t.give(command::CurrentReservation, &mut XenMemoryDomain::new(Domid::SELF))
        .expect("one may know of oneself")
}

fn populate(t: &Table, frame: u64) -> Answer {
    let mut list = [frame];
    t.give(
        command::PopulatePhysmap,
        &mut XenMemoryReservation::new(Handle::from_ptr(list.as_mut_ptr()), 1, 0, 0, Domid::SELF),
    )
}

fn decrease(t: &Table, frame: u64) -> Answer {
    let mut list = [frame];
    t.give(
        command::DecreaseReservation,
        &mut XenMemoryReservation::new(Handle::from_ptr(list.as_mut_ptr()), 1, 0, 0, Domid::SELF),
    )
}

fn add(t: &Table, space: MapSpace, index: u64, at: u64) -> Answer {
    t.give(command::AddToPhysmap, &mut XenAddToPhysmap::new(Domid::SELF, 0, space, index, at))
}

fn remove(t: &Table, frame: u64) -> Answer {
    t.give(command::RemoveFromPhysmap, &mut XenRemoveFromPhysmap::new(Domid::SELF, frame))
}

#[test]
fn memory_over_memory_leaves_the_old_page_charged() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        set_byte(t.page(5), 0, 7);
        // A dom0less domain can have no more pages than it was made with.
        t.is("room is made", (decrease(t, t.frame(6)), pages(t)), (Ok(1), 63));
        t.is("populated over memory", (populate(t, t.frame(5)), pages(t)), (Ok(1), 64));
        t.is("a new page is there", byte(t.page(5), 0), 0);
        t.is("given back", (decrease(t, t.frame(5)), pages(t)), (Ok(1), 63));
        t.is("the old one is out of reach", decrease(t, t.frame(5)), OK);
    });
}

#[test]
fn a_page_that_is_removed_stays_charged_and_one_that_is_given_back_does_not() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        t.is("removed", (remove(t, t.frame(5)), pages(t)), (OK, 64));
        t.is("nothing is there", remove(t, t.frame(5)), ENOENT);
        t.is("and cannot be given back", (decrease(t, t.frame(5)), pages(t)), (OK, 64));
        t.is("given back", (decrease(t, t.frame(6)), pages(t)), (Ok(1), 63));
        t.is("populated", (populate(t, t.frame(6)), pages(t)), (Ok(1), 64));
        t.is("a page of zeros", byte(t.page(6), 99), 0);
    });
}

#[test]
fn a_page_moves_and_frees_what_it_covers() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        set_byte(t.page(5), 17, 42);
        set_byte(t.page(6), 17, 43);
        rows! { t;
            "moved", (add(t, MapSpace::GMFN, t.frame(5), t.frame(6)), pages(t)) => (OK, 63);
            "it is there", byte(t.page(6), 17) => 42;
            "and not where it was", remove(t, t.frame(5)) => ENOENT;
            "moved onto itself",
                (add(t, MapSpace::GMFN, t.frame(6), t.frame(6)), byte(t.page(6), 17)) => (OK, 42);
            "what is not there does not move",
                add(t, MapSpace::GMFN, t.frame(5), t.frame(7)) => EINVAL;
        }
    });
    one(Profile::DOMU, DomainConfig::new(), |t| {
        for page in 5..8 {
            set_byte(t.page(page), 0, page as u8);
        }
        let mut asked =
            XenAddToPhysmap::new(Domid::SELF, 3, MapSpace::GMFN_RANGE, t.frame(5), t.frame(20));
        t.is("three at once", (t.give(command::AddToPhysmap, &mut asked), pages(t)), (OK, 61));
        t.is("in order", [20, 21, 22].map(|page| byte(t.page(page), 0)), [5, 6, 7]);
    });
}

#[test]
fn a_range_that_moves_into_itself_is_kept_since_4_20() {
    let kept = [(17, 61, [None, None, Some(5)]), (20, 63, [Some(5), Some(6), Some(7)])];
    for (minor, pages_left, there) in kept {
        one(release(minor, Profile::DOMU), DomainConfig::new(), move |t| {
            for page in 5..8 {
                set_byte(t.page(page), 0, page as u8);
            }
            let (from, to) = (t.frame(5), t.frame(6));
            let mut asked = XenAddToPhysmap::new(Domid::SELF, 3, MapSpace::GMFN_RANGE, from, to);
            t.is("moved", (t.give(command::AddToPhysmap, &mut asked), pages(t)), (OK, pages_left));
            for (page, expected) in (6..).zip(there) {
                if let Some(expected) = expected {
                    t.is("it has moved", byte(t.page(page), 0), expected);
                }
                let is_there = if expected.is_some() { OK } else { ENOENT };
                t.is("it is there", remove(t, t.frame(page)), is_there);
            }
        });
    }
}

#[test]
fn the_shared_page_moves_on_x86_and_frees_memory() {
    one(Profile::DOMU, DomainConfig::new(), |t| {
        let shared = attach(t);
        t.is("the page that was there is free", pages(t), 63);
        shared.evtchn_mask(3).expect("a word").swap(5, SeqCst);
        let moved = map_shared(t, 1);
        t.is("the page that was there is free", pages(t), 62);
        t.is("the page is the same", moved.evtchn_mask(3).expect("a word").load(SeqCst), 5);
        t.is("it is at no other frame", remove(t, t.frame(0)), ENOENT);
        t.is("unmapped, and mapped again", (remove(t, t.frame(1)), pages(t)), (OK, 62));
        let again = map_shared(t, 2);
        t.is("with what was in it", again.evtchn_mask(3).expect("a word").load(SeqCst), 5);
    });
}

#[test]
fn on_arm_what_is_covered_stays_charged() {
    one(Profile::DOM0LESS, DomainConfig::new(), |t| {
        let _ = map_shared(t, 0);
        rows! { t;
            "covered", pages(t) => 64;
            "unmapped, there is nothing",
                [remove(t, t.frame(0)), remove(t, t.frame(0))] => [OK, ENOENT];
            "mapped where nothing is",
                (add(t, MapSpace::SHARED_INFO, 0, t.frame(0)), pages(t)) => (OK, 64);
        }
    });
}

#[test]
fn addresses_without_memory_are_faults_for_xen() {
    on(PROFILES, DomainConfig::new(), |_, t| {
        let at = t.page(5).addr().get();
        let ask = || t.raw(HypercallNr::XEN_VERSION, [1, at, 0]);
        t.is("with memory", ask(), OK);
        t.is("taken away", decrease(t, t.frame(5)), Ok(1));
        t.is("without", ask(), EFAULT);
    });
}
