//! Granting and revoking, while the input changes the entries as the peer does through Xen: between
//! the lender's steps and in the middle of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::grant::{
    Access, DeferredGrant, Grant, GrantError, GrantRef, GrantRefAllocator, GrantSlot, GrantTable,
    Page,
};
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags as flag,
};

use crate::fake::{At, clear, meanwhile, page};
use crate::input::Input;

/// How many entries the table has, in one page.
const ENTRIES: usize = 512;

/// The pages of the table, of its references, and the one that is lent.
const TABLE: usize = 0;
const REFS: usize = 1;
const LENT: usize = 2;

/// Runs the target.
pub fn run(data: &[u8]) {
    clear();
    let peer = Rc::new(Peer::new(Input::new(data)));
    let refs = page::<GrantRefAllocator<1>>(REFS);
    // SAFETY: the page stays, and what was in it is not used any more.
    unsafe { refs.write(GrantRefAllocator::new()) };
    // SAFETY: the references stay, and one table uses them at a time.
    let refs = unsafe { refs.as_ref() };
    // SAFETY: the pages stay, and are accessed by handles alone; the references are the table's.
    let table = unsafe { GrantTable::mapped((), (), page(TABLE), refs, 1) };
    let mut lender = Lender {
        table: table.expect("there is room"),
        peer: peer.clone(),
        slots: vec![],
        grants: vec![],
        deferred: vec![],
        dropped: vec![],
        lost: 0,
    };
    while !peer.input.is_empty() {
        match peer.input.byte() % 8 {
            0 | 1 => lender.lend(),
            2 => lender.take_slot(),
            3 | 4 => lender.revoke(),
            5 => match peer.input.byte() % 4 {
                0 | 1 => lender.forget(),
                2 => lender.defer(),
                _ => lender.reclaim(),
            },
            _ => peer.act(),
        }
        lender.check();
    }
    lender.end();
}

/// How many grants and slots are held at once.
const MOST: usize = 40;

/// The flags of a page in use.
const READING: u16 = flag::READING.mask << flag::READING.shift;
const IN_USE: u16 = READING | flag::WRITING.mask << flag::WRITING.shift;
/// The kind of an entry that lends a page.
const PERMIT: u16 = flag::kind::PERMIT_ACCESS.value;

struct Lender {
    table: GrantTable<'static, (), ()>,
    peer: Rc<Peer>,
    slots: Vec<GrantSlot<'static>>,
    grants: Vec<Grant<'static>>,
    deferred: Vec<DeferredGrant>,
    /// The references of grants that were dropped while the page was in use.
    dropped: Vec<u32>,
    /// How many references are taken for ever: those of entries that something else wrote.
    lost: usize,
}

impl Lender {
    /// Runs a step with the peer at work in the middle of it.
    fn step<T>(&self, reference: GrantRef, work: impl FnOnce() -> T) -> T {
        let peer = self.peer.clone();
        peer.at.set(reference.0);
        meanwhile(Rc::new(move || peer.interfere()), work)
    }

    /// Takes a slot, and keeps it.
    fn take_slot(&mut self) {
        if self.held() >= MOST {
            return;
        }
        let before = self.table.available() as usize;
        let reclaimable = self.reclaimable();
        match self.table.slot() {
            Ok(slot) => {
                let reference = slot.reference();
                assert_eq!(self.peer.flags(reference.0), 0, "entry {reference} was not empty");
                let slots = self.slots.iter().map(GrantSlot::reference);
                let grants = self.grants.iter().map(Grant::reference);
                let deferred = self.deferred.iter().map(DeferredGrant::reference);
                let mut known = slots.chain(grants).chain(deferred);
                assert!(known.all(|taken| taken != reference), "{reference} was taken twice");
                // It came back, and all that could did.
                if self.dropped.contains(&reference.0) {
                    self.dropped.retain(|dropped| !reclaimable.contains(dropped));
                }
                self.slots.push(slot);
                self.lost = self.unheld() - self.table.available() as usize;
            }
            // The input wrote what a table that is not there reads as.
            Err(GrantError::TableLost) => self.lost += before - self.table.available() as usize,
            Err(error) => {
                assert_eq!((error, reclaimable), (GrantError::Full, vec![]));
                self.lost = self.unheld();
            }
        }
    }

    /// Frees what was dropped and is not in use any more.
    fn reclaim(&mut self) {
        let reclaimable = self.reclaimable();
        assert_eq!(self.table.reclaim() as usize, reclaimable.len());
        for reference in &reclaimable {
            assert!(!self.peer.uses(*reference), "the reference of a page in use became free");
            assert_eq!(self.peer.flags(*reference), 0);
        }
        self.dropped.retain(|dropped| !reclaimable.contains(dropped));
    }

    fn reclaimable(&self) -> Vec<u32> {
        let unused = |reference: &u32| self.peer.flags(*reference) & IN_USE == 0;
        self.dropped.iter().copied().filter(unused).collect()
    }

    /// How many references are the lender's.
    fn held(&self) -> usize {
        self.slots.len() + self.grants.len() + self.deferred.len()
    }

    /// How many references are neither held nor dropped.
    fn unheld(&self) -> usize {
        ENTRIES - GNTTAB_NR_RESERVED_ENTRIES as usize - self.held() - self.dropped.len()
    }

    /// Lends the page, by a slot that is held.
    fn lend(&mut self) {
        if self.slots.is_empty() {
            self.take_slot();
        }
        let Some(slot) = self.slots.pop() else { return };
        let (reference, how) = (slot.reference(), self.peer.input.byte());
        let peer = Domid((how >> 1).into());
        let (access, published) =
            if how & 1 == 0 { (Access::ReadWrite, 1) } else { (Access::ReadOnly, 5) };
        // SAFETY: the memory stays, and is not accessed.
        let page = unsafe { Page::from_raw(&At(how.into()), page(LENT)) }.expect("a low frame");
        self.peer.seen.borrow_mut().clear();
        let grant = self.step(reference, || slot.lend(page, peer, access));
        let (seen, lent) = (self.peer.seen.borrow(), (peer.0, how.into()));
        assert!(
            seen.iter().all(|found| *found == lent),
            "the peer used an entry that was published too early: {seen:?}"
        );
        assert_eq!(self.peer.flags(reference.0), published);
        assert_eq!(self.peer.entry_values(reference.0), lent, "what was published");
        drop(seen);
        self.grants.push(grant);
    }

    /// Takes a page back, if nobody uses it.
    fn revoke(&mut self) {
        let Some(grant) = self.choose() else { return };
        let reference = grant.reference();
        let usage = grant.usage();
        let now = self.peer.flags(reference.0);
        let found = (flag::READING.is_set(now), flag::WRITING.is_set(now));
        assert_eq!((usage.reading, usage.writing), found);
        match self.step(reference, || grant.revoke()) {
            Ok((slot, page)) => {
                self.came_back(reference, &page);
                if self.peer.input.byte() % 2 == 0 {
                    self.slots.push(slot);
                }
            }
            Err(error) => {
                self.is_in_use(reference, &error);
                self.grants.push(error.into_grant());
            }
        }
    }

    /// Drops a grant: its reference is free again, unless the peer uses the page.
    fn forget(&mut self) {
        let Some(grant) = self.choose() else { return };
        let (reference, before) = (grant.reference(), self.table.available());
        self.step(reference, || drop(grant));
        if self.table.available() > before {
            assert!(!self.peer.uses(reference.0), "the reference of a page in use became free");
            assert_eq!(self.peer.flags(reference.0), 0);
        } else {
            self.is_in_use(reference, &"dropped");
            self.dropped.push(reference.0);
        }
    }

    /// Gives a grant up, or tries to recover one.
    fn defer(&mut self) {
        if self.peer.input.byte() % 2 == 0 {
            let deferred = self.choose().map(Grant::defer);
            self.deferred.extend(deferred);
            return;
        }
        let Some(deferred) = self.deferred.pop() else { return };
        let (reference, table) = (deferred.reference(), self.table);
        match self.step(reference, || table.recover(deferred)) {
            Ok(page) => self.came_back(reference, &page),
            Err(deferred) => {
                self.is_in_use(reference, &deferred);
                self.deferred.push(deferred);
            }
        }
    }

    fn came_back(&self, reference: GrantRef, page: &Page) {
        assert!(!self.peer.uses(reference.0), "the page of {reference} came back while it is used");
        let flags = self.peer.flags(reference.0);
        assert_eq!(flags, 0, "the entry of a page that came back lends something");
        assert_eq!(page.as_ptr(), crate::fake::page(LENT));
    }

    /// An entry that was not withdrawn is used, or something else has written it: other flags, or
    /// those of a new table in the middle of the step.
    fn is_in_use(&self, reference: GrantRef, what: &dyn std::fmt::Debug) {
        let flags = self.peer.flags(reference.0);
        let kept = flags & IN_USE != 0 || flags & 3 != PERMIT;
        assert!(kept, "{what:?}, and no peer uses it: flags {flags:#x}");
    }

    fn choose(&mut self) -> Option<Grant<'static>> {
        let index = self.peer.input.below(self.grants.len().max(1));
        (index < self.grants.len()).then(|| self.grants.swap_remove(index))
    }

    /// Every reference is free, held, dropped or lost.
    fn check(&self) {
        let free = self.table.available() as usize;
        assert_eq!(free + self.lost, self.unheld(), "free references: {:?}", self.table);
    }

    /// Drops everything.
    fn end(mut self) {
        while !self.grants.is_empty() {
            self.forget();
        }
        self.dropped.extend(self.deferred.drain(..).map(|deferred| deferred.reference().0));
        self.slots.clear();
        self.check();
        self.reclaim();
        self.check();
    }
}

/// The other side, as the input says.
struct Peer {
    input: Input,
    /// Which pages it uses, by the reference of each.
    used: RefCell<[bool; ENTRIES]>,
    /// The reference with which the lender is busy.
    at: Cell<u32>,
    /// The peer and the frame in the entry of that reference, each time that its page was mapped.
    seen: RefCell<Vec<(u16, u32)>>,
}

impl Peer {
    fn new(input: Input) -> Self {
        let (used, seen) = (RefCell::new([false; ENTRIES]), RefCell::new(Vec::new()));
        Self { input, used, at: Cell::new(8), seen }
    }

    /// The entry of a reference.
    fn entry(&self, reference: u32) -> GrantEntryV1<'static> {
        // SAFETY: the page stays, and is accessed by handles alone.
        let page = unsafe { GrantTableV1Page::from_ptr(page(TABLE)) };
        page.entries(reference as usize).expect("it is below the count")
    }

    fn entry_values(&self, reference: u32) -> (u16, u32) {
        let entry = self.entry(reference);
        (entry.domid().get(), entry.frame().get())
    }

    fn flags(&self, reference: u32) -> u16 {
        self.entry(reference).flags().load(SeqCst)
    }

    fn uses(&self, reference: u32) -> bool {
        self.used.borrow()[reference as usize]
    }

    /// In the middle of a step of the lender's: nothing mostly.
    fn interfere(&self) {
        if self.input.byte() % 4 == 3 {
            self.act();
        }
    }

    /// Does something: mostly with the entry that the lender is busy with.
    fn act(&self) {
        let choice = self.input.byte();
        let reference =
            if choice & 0x80 == 0 { self.at.get() } else { 8 + u32::from(self.input.byte() % 16) };
        match choice % 8 {
            0..=2 => self.map(reference, choice & 0x40 == 0),
            3 | 4 => self.unmap(reference),
            5 => self.overwrite(reference),
            6 => self.resume(),
            _ => (),
        }
    }

    /// Uses a page, if it is lent: Xen refuses otherwise, and writing where only reading is
    /// permitted.
    fn map(&self, reference: u32, reading_only: bool) {
        let flags = self.flags(reference);
        if flags & 3 == PERMIT {
            let read_only = reading_only || flag::READONLY.is_set(flags);
            let usage = if read_only { READING } else { IN_USE };
            self.entry(reference).flags().fetch_or(usage, SeqCst);
            self.used.borrow_mut()[reference as usize] = true;
            if reference == self.at.get() {
                self.seen.borrow_mut().push(self.entry_values(reference));
            }
        }
    }

    fn unmap(&self, reference: u32) {
        if std::mem::take(&mut self.used.borrow_mut()[reference as usize]) {
            self.entry(reference).flags().fetch_and(!IN_USE, SeqCst);
        }
    }

    /// What no Xen does: other flags, in an entry whose page nobody uses, and by which nobody can
    /// then use it.
    fn overwrite(&self, reference: u32) {
        let flags = self.input.u16();
        if !self.uses(reference) && flags & 3 != PERMIT {
            self.entry(reference).flags().swap(flags, SeqCst);
        }
    }

    /// The domain is restored, with a table in which nothing is lent and nobody uses anything.
    fn resume(&self) {
        for reference in 0..ENTRIES as u32 {
            self.entry(reference).flags().swap(0, SeqCst);
        }
        self.used.borrow_mut().fill(false);
    }
}
