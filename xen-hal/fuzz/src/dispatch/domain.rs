//! A domain of one vCPU, whose bitmaps the input fills, and whose handlers do what it says.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::event::{AllPorts, Drain, Events, Port, PortFilter, PortSet, ScanCursor, TwoLevel};
use xen_hal::hypercall::Hypercall;
use xen_pac::access::Bits;
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnUnmask, command};
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

use super::model::{Bitmap, Model, Order, WORDS, bit, word};
use crate::input::Input;

/// The most that a handler does.
const ACTIONS: usize = 3;

pub(super) struct Domain<'i> {
    input: &'i Input,
    pub(super) shared: SharedInfo<'static>,
    pub(super) vcpu: VcpuInfo<'static>,
    pub(super) own: PortSet,
    model: RefCell<Model>,
    order: RefCell<Order>,
}

impl<'i> Domain<'i> {
    pub(super) fn new(input: &'i Input, page: NonNull<raw::SharedInfo>) -> Self {
        // SAFETY: the page stays, and is touched by handles alone.
        let shared = unsafe { SharedInfo::from_ptr(page) };
        let vcpu = shared.vcpu_info(0).expect("vCPU 0 has its block here");
        Self {
            input,
            shared,
            vcpu,
            own: PortSet::new(),
            model: RefCell::default(),
            order: RefCell::default(),
        }
    }

    /// A cursor somewhere: behind the port that was handled last.
    pub(super) fn cursor(&self) -> ScanCursor {
        let cursor = ScanCursor::new();
        if self.input.byte() % 2 != 0 {
            let port = self.port();
            self.raise(port);
            let progress =
                TwoLevel::new(self.shared).dispatch(self.vcpu, &AllPorts, &cursor, |handled| {
                    assert_eq!(handled, port);
                    self.model.borrow_mut().pending.set(port, false);
                    self.order.borrow_mut().handle(port);
                    ControlFlow::Continue(())
                });
            assert_eq!(progress, Drain::Finished);
        }
        cursor
    }

    /// Sets bits here and there, and tells the vCPU of them, or of others.
    pub(super) fn fill(&self) {
        loop {
            let choice = self.input.byte() % 8;
            match choice {
                0 => break,
                1..=3 => self.put(choice, |bitmap, port| _ = bitmap.set(port, true)),
                4..=6 => {
                    let bits = self.input.number();
                    self.put(choice - 3, |bitmap, port| bitmap.0[word(port)] ^= bits);
                }
                _ => {
                    let port = self.port();
                    self.model.borrow_mut().own.set(port, true);
                    self.raise(port);
                }
            }
        }
        let selector =
            if self.input.byte() % 2 == 0 { self.words_with_events() } else { self.input.number() };
        // Of the words that were told of earlier nothing is left, and what was put there now is
        // another matter.
        self.model.borrow_mut().selected =
            selector | self.vcpu.evtchn_pending_sel().fetch_or(selector, SeqCst);
        self.vcpu.evtchn_upcall_pending().fetch_or(self.input.byte(), SeqCst);
        self.write();
    }

    fn put(&self, which: u8, change: impl Fn(&mut Bitmap, Port)) {
        let port = self.port();
        let mut model = self.model.borrow_mut();
        let bitmap = match which {
            1 => &mut model.pending,
            2 => &mut model.mask,
            _ => &mut model.own,
        };
        change(bitmap, port);
    }

    fn words_with_events(&self) -> u64 {
        (0..WORDS)
            .filter(|index| self.model.borrow().pending.0[*index] != 0)
            .map(|index| 1 << index)
            .sum()
    }

    /// Brings the model's bitmaps into memory.
    fn write(&self) {
        let model = self.model.borrow();
        for index in 0..WORDS {
            self.pending(index).swap(model.pending.0[index], SeqCst);
            self.mask(index).swap(model.mask.0[index], SeqCst);
        }
        // Few of the ports differ, and to change one takes an atomic operation.
        for index in (0..WORDS).filter(|index| self.own.word(*index) != model.own.0[*index]) {
            for port in (0..64).map(|bit| Port(index as u32 * 64 + bit)) {
                let _ =
                    if model.own.has(port) { self.own.insert(port) } else { self.own.remove(port) };
            }
        }
    }

    pub(super) fn begin(&self) {
        self.order.borrow_mut().begin();
    }

    /// The handler of every port.
    pub(super) fn handle(&self, port: Port) -> ControlFlow<()> {
        self.model.borrow_mut().take(port);
        self.order.borrow_mut().handle(port);
        for _ in 0..ACTIONS {
            match self.input.byte() % 8 {
                0 => break,
                1 => return ControlFlow::Break(()),
                2 => self.do_mask(self.port()),
                3 => self.do_unmask(self.port()),
                4 => self.raise(self.port()),
                5 => self.disown(self.port()),
                6 => self.do_clear(self.port()),
                _ => self.raise(port),
            }
        }
        ControlFlow::Continue(())
    }

    fn do_mask(&self, port: Port) {
        let before = TwoLevel::new(self.shared).mask(port);
        assert_eq!(before, self.model.borrow_mut().mask.set(port, true));
    }

    fn do_unmask(&self, port: Port) {
        TwoLevel::new(self.shared)
            .unmask(Events::new(self), port, &self.own)
            .expect("the domain may have the port");
        self.model.borrow_mut().mask.set(port, false);
    }

    fn do_clear(&self, port: Port) {
        let before = TwoLevel::new(self.shared).clear(port);
        assert_eq!(before, self.model.borrow_mut().pending.set(port, false));
    }

    fn disown(&self, port: Port) {
        assert_eq!(self.own.remove(port), self.model.borrow_mut().own.set(port, false));
    }

    /// What Xen does for an event.
    fn raise(&self, port: Port) {
        self.model.borrow_mut().pending.set(port, true);
        if self.pending(word(port)).fetch_or(bit(port), SeqCst) & bit(port) == 0
            && !self.model.borrow().mask.has(port)
        {
            self.select(port);
        }
    }

    fn select(&self, port: Port) {
        self.model.borrow_mut().selected |= 1 << word(port);
        self.vcpu.evtchn_pending_sel().fetch_or(1 << word(port), SeqCst);
        self.vcpu.evtchn_upcall_pending().fetch_or(1, SeqCst);
    }

    /// What has to hold after a dispatch.
    pub(super) fn check(&self, progress: Drain) {
        let model = self.model.borrow();
        let (selector, upcall) = (
            self.vcpu.evtchn_pending_sel().load(SeqCst),
            self.vcpu.evtchn_upcall_pending().load(SeqCst),
        );
        assert_eq!(
            progress == Drain::Finished,
            upcall == 0,
            "{progress:?} with the upcall {upcall}"
        );
        for index in 0..WORDS {
            assert_eq!(
                self.pending(index).load(SeqCst),
                model.pending.0[index],
                "the events of word {index}"
            );
            assert_eq!(
                self.mask(index).load(SeqCst),
                model.mask.0[index],
                "the masks of word {index}"
            );
            let left = if model.selected >> index & 1 != 0 { model.due(index) } else { 0 };
            assert!(
                left == 0 || upcall != 0 && selector >> index & 1 != 0,
                "events of word {index} are left and forgotten: {left:#x}"
            );
        }
    }

    fn port(&self) -> Port {
        Port(self.input.below(WORDS) as u32 * 64 + self.input.below(64) as u32)
    }

    fn pending(&self, index: usize) -> Bits<'static, u64> {
        self.shared.evtchn_pending(index).expect("it is below the count")
    }

    fn mask(&self, index: usize) -> Bits<'static, u64> {
        self.shared.evtchn_mask(index).expect("it is below the count")
    }

    /// What Xen does to unmask a port: it tells of the event of one that was masked.
    fn unmask(&self, argument: &EvtchnUnmask) -> isize {
        let port = Port(argument.port);
        let masked = self.mask(word(port)).fetch_and(!bit(port), SeqCst) & bit(port) != 0;
        if masked && self.pending(word(port)).load(SeqCst) & bit(port) != 0 {
            self.select(port);
        }
        0
    }
}

// SAFETY: it does what Xen does for the only command that it is given.
unsafe impl Hypercall for Domain<'_> {
    unsafe fn call5(&self, number: u32, a: usize, b: usize, _: usize, _: usize, _: usize) -> isize {
        assert_eq!((number, a), (command::Unmask::HYPERCALL.0, command::Unmask::NUMBER as usize));
        // SAFETY: the command was given with its argument, which is borrowed for the call.
        self.unmask(unsafe { &*std::ptr::with_exposed_provenance(b) })
    }
}
