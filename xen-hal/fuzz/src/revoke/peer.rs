//! The peer, and Xen, which writes the entries for it.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;

use xen_pac::grant_table::{GrantEntryV1, GrantTableV1Page, grant_entry_flags, raw};

use super::ENTRIES;
use crate::input::Input;

/// The other side, as the input says.
pub(super) struct Peer {
    pub(super) input: Input,
    page: NonNull<raw::GrantTableV1Page>,
    /// Which pages it uses, by the reference of each.
    used: RefCell<[bool; ENTRIES]>,
    /// The reference with which the lender is busy.
    pub(super) at: Cell<u32>,
}

impl Peer {
    pub(super) fn new(input: Input, page: NonNull<raw::GrantTableV1Page>) -> Self {
        Self { input, page, used: RefCell::new([false; ENTRIES]), at: Cell::new(8) }
    }

    /// The entry of a reference.
    pub(super) fn entry(&self, reference: u32) -> GrantEntryV1<'static> {
        // SAFETY: the page stays, and is touched by handles alone.
        let page = unsafe { GrantTableV1Page::from_ptr(self.page) };
        page.entries(reference as usize).expect("it is below the count")
    }

    pub(super) fn flags(&self, reference: u32) -> u16 {
        self.entry(reference).flags().load(SeqCst)
    }

    pub(super) fn uses(&self, reference: u32) -> bool {
        self.used.borrow()[reference as usize]
    }

    /// In the middle of a step of the lender's: nothing mostly.
    pub(super) fn interfere(&self) {
        if self.input.byte() % 4 == 3 {
            self.act();
        }
    }

    /// Does something: mostly with the entry that the lender is busy with.
    pub(super) fn act(&self) {
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
