//! Lending and taking back, while the input changes the entries as the peer does through Xen:
//! between the lender's steps and in the middle of them.

mod lender;
mod peer;

use std::rc::Rc;
use std::sync::atomic::AtomicU32;

use xen_hal::grant::GrantTable;

use crate::input::Input;
use crate::pages::Pages;
use lender::Lender;
use peer::Peer;

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
