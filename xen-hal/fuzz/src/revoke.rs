//! Granting and revoking, while the input changes the entries as the peer does through Xen: between
//! the lender's steps and in the middle of them.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use xen_hal::grant::{Access, Grant, GrantSlot, GrantTable, Page, PageMemory};
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
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let (table, lent) = (TABLE.with(|pages| *pages), LENT.with(|pages| *pages));
    table.clear();
    let peer = Rc::new(Peer::new(Input::new(data), table.at(0)));
    let mut storage = [const { AtomicU32::new(0) }; GrantTable::words(FRAMES)];
    // SAFETY: the pages are there, and touched by handles alone.
    let grants = unsafe { GrantTable::mapped(table.at(0), FRAMES, &mut storage, FRAMES) };
    let mut lender = Lender::new(&grants, &peer, lent.at(0));
    while !peer.input.is_empty() {
        match peer.input.byte() % 8 {
            0 | 1 => lender.lend(),
            2 => lender.take_slot(),
            3 | 4 => lender.revoke(),
            5 => lender.forget(),
            _ => peer.act(),
        }
        lender.check();
    }
    lender.end();
}

/// How many grants and slots are held at once.
const MOST: usize = 40;

struct Lender<'t> {
    table: &'t GrantTable<'t>,
    peer: Rc<Peer>,
    memory: NonNull<PageMemory>,
    slots: Vec<GrantSlot<'t>>,
    grants: Vec<(Grant<'t>, u16)>,
    /// How many references are taken for ever: those of entries that the peer wrote, and of
    /// dropped grants that were in use.
    lost: usize,
}

impl<'t> Lender<'t> {
    fn new(table: &'t GrantTable<'t>, peer: &Rc<Peer>, memory: NonNull<PageMemory>) -> Self {
        Self { table, peer: peer.clone(), memory, slots: Vec::new(), grants: Vec::new(), lost: 0 }
    }

    /// Runs a step with the peer at work in the middle of it.
    fn step<T>(&self, reference: u32, work: impl FnOnce() -> T) -> T {
        let peer = self.peer.clone();
        peer.at.set(reference);
        meanwhile(Rc::new(move || peer.interfere()), work)
    }

    /// Takes a slot, and keeps it.
    fn take_slot(&mut self) {
        if self.slots.len() + self.grants.len() >= MOST {
            return;
        }
        let before = self.table.available();
        if let Some(slot) = self.table.slot() {
            assert_eq!(
                self.peer.flags(slot.reference()),
                0,
                "entry {} was not empty",
                slot.reference()
            );
            let known = self
                .slots
                .iter()
                .map(GrantSlot::reference)
                .chain(self.grants.iter().map(|(grant, _)| grant.reference()));
            assert!(
                known.into_iter().all(|taken| taken != slot.reference()),
                "reference {} was taken twice",
                slot.reference()
            );
            self.lost += (before - self.table.available() - 1) as usize;
            self.slots.push(slot);
        } else {
            self.lost += before as usize;
        }
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
        let grant = self.step(reference, || slot.lend(page, peer, access));
        let entry = self.peer.entry(reference);
        let published = if access == Access::ReadWrite { 1 } else { 5 };
        let found = (self.peer.flags(reference), entry.domid().get(), entry.frame().get());
        assert_eq!(found, (published, peer.0, how.into()), "what was published");
        self.grants.push((grant, published));
    }

    /// Takes a page back, if nobody uses it.
    fn revoke(&mut self) {
        let Some((grant, published)) = self.choose() else { return };
        let reference = grant.reference();
        let usage = grant.usage();
        assert_eq!(usage.reading, grant_entry_flags::READING.is_set(self.peer.flags(reference)));
        assert_eq!(usage.writing, grant_entry_flags::WRITING.is_set(self.peer.flags(reference)));
        let result = self.step(reference, || grant.revoke());
        let flags = self.peer.flags(reference);
        match result {
            Ok((slot, page)) => {
                assert!(
                    !self.peer.uses(reference),
                    "the page of grant {reference} came back while it is used"
                );
                assert_eq!(flags, 0, "the entry of a page that came back lends something");
                assert_eq!(page.as_ptr(), self.memory);
                if self.peer.input.byte() % 2 == 0 {
                    self.slots.push(slot);
                }
            }
            Err(error) => {
                assert!(
                    flags != published && flags != 0,
                    "{error} ({error:?}), where nobody uses it: flags {flags:#x}"
                );
                self.grants.push((error.into_grant(), published));
            }
        }
    }

    /// Drops a grant: its reference is free again, unless the peer uses the page.
    fn forget(&mut self) {
        let Some((grant, _)) = self.choose() else { return };
        let reference = grant.reference();
        self.step(reference, || drop(grant));
        if self.peer.flags(reference) != 0 {
            self.lost += 1;
        } else {
            assert!(!self.peer.uses(reference), "the reference of a page in use became free");
        }
    }

    fn choose(&mut self) -> Option<(Grant<'t>, u16)> {
        let index = self.peer.input.below(self.grants.len().max(1));
        (index < self.grants.len()).then(|| self.grants.swap_remove(index))
    }

    /// Every reference is free, held, or lost.
    fn check(&self) {
        let all = ENTRIES - GNTTAB_NR_RESERVED_ENTRIES as usize;
        let held = self.slots.len() + self.grants.len();
        assert_eq!(
            self.table.available() as usize,
            all - held - self.lost,
            "free references: {:?}",
            self.table
        );
    }

    /// Drops everything.
    fn end(mut self) {
        while !self.grants.is_empty() {
            self.forget();
        }
        self.slots.clear();
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
}

impl Peer {
    fn new(input: Input, page: NonNull<raw::GrantTableV1Page>) -> Self {
        Self { input, page, used: RefCell::new([false; ENTRIES]), at: Cell::new(8) }
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
