//! The lender's steps, each with what has to hold behind it.

use std::ptr::NonNull;
use std::rc::Rc;

use xen_hal::grant::{Access, Grant, GrantSlot, GrantTable, Page, PageMemory};
use xen_pac::base::Domid;
use xen_pac::grant_table::{GNTTAB_NR_RESERVED_ENTRIES, grant_entry_flags};

use super::ENTRIES;
use super::peer::Peer;
use crate::hook::meanwhile;
use crate::pages::At;

/// How many grants and slots are held at once.
const MOST: usize = 40;

pub(super) struct Lender<'t> {
    table: &'t GrantTable<'t>,
    peer: Rc<Peer>,
    memory: NonNull<PageMemory>,
    slots: Vec<GrantSlot<'t>>,
    grants: Vec<(Grant<'t>, u16)>,
    /// How many references are taken for ever: those of entries that somebody else wrote, and of
    /// dropped grants that were in use.
    lost: usize,
}

impl<'t> Lender<'t> {
    pub(super) fn new(
        table: &'t GrantTable<'t>,
        peer: &Rc<Peer>,
        memory: NonNull<PageMemory>,
    ) -> Self {
        Self { table, peer: peer.clone(), memory, slots: Vec::new(), grants: Vec::new(), lost: 0 }
    }

    /// Runs a step with the peer at work in the middle of it.
    fn step<T>(&self, reference: u32, work: impl FnOnce() -> T) -> T {
        let peer = self.peer.clone();
        peer.at.set(reference);
        meanwhile(Rc::new(move || peer.interfere()), work)
    }

    /// Takes a slot, and keeps it.
    pub(super) fn take_slot(&mut self) {
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
    pub(super) fn lend(&mut self) {
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
    pub(super) fn revoke(&mut self) {
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

    /// Drops a grant: its reference is free again, unless somebody uses the page.
    pub(super) fn forget(&mut self) {
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
    pub(super) fn check(&self) {
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
    pub(super) fn end(mut self) {
        while !self.grants.is_empty() {
            self.forget();
        }
        self.slots.clear();
        self.check();
    }
}
