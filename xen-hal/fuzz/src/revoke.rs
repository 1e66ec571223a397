//! Granting and revoking, while the input changes the entries as the peer does through Xen: between
//! the lender's steps and in the middle of them.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::grant::{
    Access, DeferredGrant, Grant, GrantError, GrantRef, GrantRefAllocator, GrantSlot, GrantTable,
    Page, PageMemory,
};
use xen_pac::base::Domid;
use xen_pac::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GrantEntryV1, GrantTableV1Page, grant_entry_flags, raw,
};

use crate::input::Input;
use crate::memory::{At, Pages, meanwhile};

/// How many pages the table has, and how many entries that are.
const FRAMES: u32 = 1;
const ENTRIES: usize = FRAMES as usize * 512;

thread_local! {
    static TABLE: Pages = Pages::leak(FRAMES as usize);
    static LENT: Pages = Pages::leak(1);
    static REFS: Pages = Pages::leak(1);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let (table, lent) = (TABLE.with(|pages| *pages), LENT.with(|pages| *pages));
    table.clear();
    let peer = Rc::new(Peer::new(Input::new(data), table.at(0)));
    let refs = REFS.with(|pages| pages.at::<GrantRefAllocator<{ FRAMES as usize }>>(0));
    // SAFETY: the page stays, and what was in it is not used any more.
    unsafe { refs.write(GrantRefAllocator::new()) };
    // SAFETY: the references stay, and one table uses them at a time.
    let refs = unsafe { refs.as_ref() };
    // SAFETY: the pages are there, and touched by handles alone; the references are the table's.
    let grants = unsafe { GrantTable::mapped((), (), table.at(0), refs, FRAMES) };
    let mut lender = Lender::new(grants.expect("there is room"), &peer, lent.at(0));
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
const IN_USE: u16 = grant_entry_flags::READING.mask << grant_entry_flags::READING.shift
    | grant_entry_flags::WRITING.mask << grant_entry_flags::WRITING.shift;

struct Lender {
    table: GrantTable<'static, (), ()>,
    peer: Rc<Peer>,
    memory: NonNull<PageMemory>,
    slots: Vec<GrantSlot<'static>>,
    grants: Vec<Grant<'static>>,
    deferred: Vec<DeferredGrant>,
    /// The references of grants that were dropped while the page was in use.
    dropped: Vec<u32>,
    /// How many references are taken for ever: those of entries that something else wrote.
    lost: usize,
}

impl Lender {
    fn new(
        table: GrantTable<'static, (), ()>,
        peer: &Rc<Peer>,
        memory: NonNull<PageMemory>,
    ) -> Self {
        let (slots, grants, deferred) = (Vec::new(), Vec::new(), Vec::new());
        let (peer, dropped, lost) = (peer.clone(), Vec::new(), 0);
        Self { table, peer, memory, slots, grants, deferred, dropped, lost }
    }

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
                let known = self
                    .slots
                    .iter()
                    .map(GrantSlot::reference)
                    .chain(self.grants.iter().map(Grant::reference))
                    .chain(self.deferred.iter().map(DeferredGrant::reference));
                assert!(
                    known.into_iter().all(|taken| taken != reference),
                    "reference {reference} was taken twice"
                );
                // It came back, and all that could did.
                if self.dropped.contains(&reference.0) {
                    self.dropped.retain(|dropped| !reclaimable.contains(dropped));
                }
                self.slots.push(slot);
                self.lost = self.unheld() - self.table.available() as usize;
            }
            // Something else has written what a table that is not there reads as.
            Err(GrantError::TableLost) => {
                self.lost += before - self.table.available() as usize;
            }
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
        let (access, peer) = (
            if how & 1 == 0 { Access::ReadWrite } else { Access::ReadOnly },
            Domid((how >> 1).into()),
        );
        // SAFETY: the memory stays, and is not looked at.
        let page =
            unsafe { Page::from_raw(&At(how.into()), self.memory) }.expect("the frame is low");
        self.peer.seen.borrow_mut().clear();
        let grant = self.step(reference, || slot.lend(page, peer, access));
        let seen = self.peer.seen.borrow().clone();
        assert!(
            seen.iter().all(|found| *found == (reference.0, peer.0, how.into())),
            "the peer used an entry that was published too early: {seen:?}"
        );
        let entry = self.peer.entry(reference.0);
        let published = if access == Access::ReadWrite { 1 } else { 5 };
        let found = (self.peer.flags(reference.0), entry.domid().get(), entry.frame().get());
        assert_eq!(found, (published, peer.0, how.into()), "what was published");
        self.grants.push(grant);
    }

    /// Takes a page back, if nobody uses it.
    fn revoke(&mut self) {
        let Some(grant) = self.choose() else { return };
        let reference = grant.reference();
        let usage = grant.usage();
        let now = self.peer.flags(reference.0);
        assert_eq!(usage.reading, grant_entry_flags::READING.is_set(now));
        assert_eq!(usage.writing, grant_entry_flags::WRITING.is_set(now));
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
        assert!(
            !self.peer.uses(reference.0),
            "the page of grant {reference} came back while it is used"
        );
        let flags = self.peer.flags(reference.0);
        assert_eq!(flags, 0, "the entry of a page that came back lends something");
        assert_eq!(page.as_ptr(), self.memory);
    }

    /// An entry that was not withdrawn is used, or something else has written it: other flags, or
    /// those of a new table in the middle of the step.
    fn is_in_use(&self, reference: GrantRef, what: &dyn std::fmt::Debug) {
        let flags = self.peer.flags(reference.0);
        assert!(
            flags & IN_USE != 0 || flags & 3 != grant_entry_flags::kind::PERMIT_ACCESS.value,
            "{what:?}, where nobody uses it: flags {flags:#x}"
        );
    }

    fn choose(&mut self) -> Option<Grant<'static>> {
        let index = self.peer.input.below(self.grants.len().max(1));
        (index < self.grants.len()).then(|| self.grants.swap_remove(index))
    }

    /// Every reference is free, held, dropped or lost.
    fn check(&self) {
        assert_eq!(
            self.table.available() as usize + self.lost,
            self.unheld(),
            "free references: {:?}",
            self.table
        );
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
    page: NonNull<raw::GrantTableV1Page>,
    /// Which pages it uses, by the reference of each.
    used: RefCell<[bool; ENTRIES]>,
    /// The reference with which the lender is busy.
    at: Cell<u32>,
    /// What the entry of that reference held each time that its page was mapped.
    seen: RefCell<Vec<(u32, u16, u32)>>,
}

impl Peer {
    fn new(input: Input, page: NonNull<raw::GrantTableV1Page>) -> Self {
        let (used, seen) = (RefCell::new([false; ENTRIES]), RefCell::new(Vec::new()));
        Self { input, page, used, at: Cell::new(8), seen }
    }

    /// The entry of a reference.
    fn entry(&self, reference: u32) -> GrantEntryV1<'static> {
        // SAFETY: the page stays, and is touched by handles alone.
        let page = unsafe { GrantTableV1Page::from_ptr(self.page) };
        page.entries(reference as usize).expect("it is below the count")
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
        let permitted = grant_entry_flags::kind::PERMIT_ACCESS.value == flags & 3;
        let wanted = grant_entry_flags::READING.val(1).value;
        let writing = grant_entry_flags::WRITING.val(1).value;
        if permitted {
            let read_only = reading_only || grant_entry_flags::READONLY.is_set(flags);
            self.entry(reference)
                .flags()
                .fetch_or(if read_only { wanted } else { wanted | writing }, SeqCst);
            self.used.borrow_mut()[reference as usize] = true;
            if reference == self.at.get() {
                let entry = self.entry(reference);
                self.seen.borrow_mut().push((reference, entry.domid().get(), entry.frame().get()));
            }
        }
    }

    fn unmap(&self, reference: u32) {
        if std::mem::take(&mut self.used.borrow_mut()[reference as usize]) {
            let both =
                grant_entry_flags::READING.val(1).value | grant_entry_flags::WRITING.val(1).value;
            self.entry(reference).flags().fetch_and(!both, SeqCst);
        }
    }

    /// What no Xen does: other flags, in an entry whose page nobody uses, and by which nobody can
    /// then use it.
    fn overwrite(&self, reference: u32) {
        let flags = self.input.u16();
        if !self.uses(reference) && flags & 3 != grant_entry_flags::kind::PERMIT_ACCESS.value {
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
