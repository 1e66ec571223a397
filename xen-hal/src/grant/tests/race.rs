//! A peer that maps and unmaps, as fast as it can, the page of a grant that is published and
//! revoked.
//!
//! The peer does to the entry what Xen does: it adds its flags by compare-and-swap where the entry
//! lends, and clears them after the page has been unmapped. That the test would notice is shown by
//! lenders that do it wrong.

extern crate std;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, GrantTableV1Page};

use super::super::{Access, Grant, GrantSlot, GrantTable, Page, StillInUse};
use super::{Everywhere, frames, page, storage};

const PERMIT: u16 = 1;
const IN_USE: u16 = 1 << 3 | 1 << 4;

/// The frame that is lent to a domain, so that half an entry can be told from a whole one.
fn frame(domain: u16) -> u32 {
    u32::from(domain) + 1000
}

/// Publishes and revokes one entry.
trait Lender {
    fn lend(&mut self, domain: u16);
    /// Whether the page is back.
    fn revoke(&mut self) -> bool;
}

/// The real one.
enum Real<'t> {
    Free(GrantSlot<'t>, Page),
    Lent(Grant<'t>),
    Between,
}

impl Lender for Real<'_> {
    fn lend(&mut self, domain: u16) {
        *self = match core::mem::replace(self, Self::Between) {
            Self::Free(slot, page) => {
                // SAFETY: the memory is the page's, which gives it up.
                let page =
                    unsafe { Page::from_raw(&Everywhere(frame(domain).into()), page.into_raw()) };
                Self::Lent(slot.lend(page.unwrap(), Domid(domain), Access::ReadWrite))
            }
            other => other,
        };
    }

    fn revoke(&mut self) -> bool {
        let Self::Lent(grant) = core::mem::replace(self, Self::Between) else {
            unreachable!("nothing is lent")
        };
        match grant.revoke() {
            Ok((slot, page)) => *self = Self::Free(slot, page),
            Err(StillInUse(grant)) => *self = Self::Lent(grant),
        }
        matches!(self, Self::Free(..))
    }
}

/// One that revokes without looking.
struct Blind<'t>(GrantEntryV1<'t>);

impl Lender for Blind<'_> {
    fn lend(&mut self, domain: u16) {
        self.0.domid().set(domain);
        self.0.frame().set(frame(domain));
        self.0.flags().fetch_or(PERMIT, Ordering::Release);
    }

    fn revoke(&mut self) -> bool {
        let _ = self.0.flags().swap(0, Ordering::AcqRel);
        true
    }
}

/// One that publishes in the wrong order.
struct Hasty<'t>(GrantEntryV1<'t>);

impl Lender for Hasty<'_> {
    fn lend(&mut self, domain: u16) {
        self.0.flags().fetch_or(PERMIT, Ordering::Release);
        self.0.domid().set(domain);
        (0..20).for_each(|_| core::hint::spin_loop());
        self.0.frame().set(frame(domain));
    }

    fn revoke(&mut self) -> bool {
        self.0.flags().compare_exchange(PERMIT, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// What happened in a race.
#[derive(Default, Debug)]
struct Outcome {
    revoked: AtomicU32,
    prevented: AtomicU32,
    /// How often the page was back while the peer had it mapped.
    back_in_use: AtomicU32,
    /// How often the peer was lent a frame that was meant for another.
    torn: AtomicU32,
}

impl Outcome {
    fn read(&self) -> [u32; 4] {
        [&self.revoked, &self.prevented, &self.back_in_use, &self.torn]
            .map(|count| count.load(Ordering::SeqCst))
    }
}

/// Maps and unmaps the page until told to stop.
fn map_and_unmap(entry: GrantEntryV1<'_>, mapped: &AtomicBool, stop: &AtomicBool, check: &Outcome) {
    let flags = entry.flags();
    while !stop.load(Ordering::Relaxed) {
        if flags
            .compare_exchange(PERMIT, PERMIT | IN_USE, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
            continue;
        }
        mapped.store(true, Ordering::SeqCst);
        if entry.frame().get() != frame(entry.domid().get()) {
            check.torn.fetch_add(1, Ordering::SeqCst);
        }
        (0..30).for_each(|_| core::hint::spin_loop());
        mapped.store(false, Ordering::SeqCst);
        flags.fetch_and(!IN_USE, Ordering::AcqRel);
    }
}

/// Lends and revokes until `enough` happened. Fails when it takes too long: then nothing has raced.
fn race(
    entry: GrantEntryV1<'_>,
    mut lender: impl Lender,
    enough: impl Fn([u32; 4]) -> bool,
) -> [u32; 4] {
    let (check, mapped, stop) =
        (Outcome::default(), AtomicBool::new(false), AtomicBool::new(false));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut domain = 0;
    thread::scope(|scope| {
        scope.spawn(|| map_and_unmap(entry, &mapped, &stop, &check));
        while !enough(check.read()) && Instant::now() < deadline {
            domain = (domain + 1) % 500;
            lender.lend(domain);
            // Where both threads share a processor, nothing races unless this one steps aside.
            if domain % 32 == 0 {
                thread::yield_now();
            }
            (0..domain % 64).for_each(|_| core::hint::spin_loop());
            while !lender.revoke() {
                check.prevented.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
            }
            check.back_in_use.fetch_add(mapped.load(Ordering::SeqCst).into(), Ordering::SeqCst);
            check.revoked.fetch_add(1, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(enough(check.read()), "too little happened: {check:?}");
    check.read()
}

/// The first entry of a table that stays for ever.
fn first_entry(
    pages: NonNull<xen_pac::grant_table::raw::GrantTableV1Page>,
) -> GrantEntryV1<'static> {
    // SAFETY: the pages stay for ever, and are touched by handles only.
    unsafe { GrantTableV1Page::from_ptr(pages) }.entries(8).unwrap()
}

#[test]
fn a_page_in_use_never_comes_back() {
    let (pages, mut storage) = (frames::<1>(), storage(1));
    // SAFETY: one page is there for good.
    let table = unsafe { GrantTable::mapped(pages, 1, &mut storage, 1) };
    let real = Real::Free(table.slot().unwrap(), page(1000));
    let [_, _, back_in_use, torn] =
        race(first_entry(pages), real, |[revoked, prevented, ..]| revoked > 1000 && prevented > 30);
    assert_eq!((back_in_use, torn), (0, 0));
}

#[test]
fn a_lender_that_does_not_look_is_found_out() {
    let entry = first_entry(frames::<1>());
    race(entry, Blind(entry), |[_, _, back_in_use, _]| back_in_use > 0);
}

#[test]
fn a_lender_that_publishes_too_early_is_found_out() {
    let entry = first_entry(frames::<1>());
    race(entry, Hasty(entry), |[_, _, _, torn]| torn > 0);
}
