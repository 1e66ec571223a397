//! The dispatcher over arbitrary bitmaps, selector, own ports and cursor, with handlers that do
//! what the input says, compared with a model that knows which port has an event.

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

use crate::input::Input;
use crate::memory::Pages;

thread_local! {
    static PAGE: Pages = Pages::leak(1);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let input = Input::new(data);
    let page = PAGE.with(|page| *page);
    page.clear();
    let domain = Domain::new(&input, page.at(0));
    let cursor = domain.cursor();
    domain.fill();
    loop {
        let at_rest = input.is_empty();
        domain.begin();
        let progress =
            TwoLevel::new(domain.shared)
                .dispatch(domain.vcpu, &domain.own, &cursor, |port| domain.handle(port));
        domain.check(progress);
        match progress {
            Drain::Finished if at_rest => return,
            Drain::Finished => domain.fill(),
            Drain::Unfinished => assert!(
                !at_rest,
                "nobody stopped the dispatcher, nothing came, and something is left"
            ),
        }
    }
}

/// The most that a handler does.
const ACTIONS: usize = 3;

struct Domain<'i> {
    input: &'i Input,
    shared: SharedInfo<'static>,
    vcpu: VcpuInfo<'static>,
    own: PortSet,
    model: RefCell<Model>,
    order: RefCell<Order>,
}

impl<'i> Domain<'i> {
    fn new(input: &'i Input, page: NonNull<raw::SharedInfo>) -> Self {
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
    fn cursor(&self) -> ScanCursor {
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
    fn fill(&self) {
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

    fn begin(&self) {
        self.order.borrow_mut().begin();
    }

    /// The handler of every port.
    fn handle(&self, port: Port) -> ControlFlow<()> {
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
    fn check(&self, progress: Drain) {
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

/// Words in a bitmap.
const WORDS: usize = 64;

/// How often one dispatch may go over the ports.
const PASSES: u32 = 4;

/// A bit for each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bitmap([u64; WORDS]);

/// Which ports have an event, which are masked, and which are this vCPU's.
#[derive(Debug, Default)]
struct Model {
    pending: Bitmap,
    mask: Bitmap,
    own: Bitmap,
    /// The words of which the vCPU was told since the last filling: there is no duty to look at
    /// others.
    selected: u64,
}

/// The order in which a dispatch handles ports, and how many passes that takes.
#[derive(Debug, Default)]
struct Order {
    passes: u32,
    /// Where the present pass began.
    first: u32,
    last: Option<u32>,
}

impl Default for Bitmap {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Bitmap {
    fn has(&self, port: Port) -> bool {
        self.0[word(port)] & bit(port) != 0
    }

    /// Sets a port's bit, and says whether it was set before.
    fn set(&mut self, port: Port, value: bool) -> bool {
        let before = self.has(port);
        self.0[word(port)] = self.0[word(port)] & !bit(port) | u64::from(value) << (port.0 % 64);
        before
    }
}

impl Model {
    /// The ports of a word that have to be handled.
    fn due(&self, word: usize) -> u64 {
        self.pending.0[word] & !self.mask.0[word] & self.own.0[word]
    }

    /// A handler is called: only for a port that has an event, which it then has no longer.
    fn take(&mut self, port: Port) {
        assert!(self.pending.has(port), "port {port} had no event");
        assert!(!self.mask.has(port), "port {port} is masked");
        assert!(self.own.has(port), "port {port} is another vCPU's");
        assert!(self.selected >> word(port) & 1 != 0, "nobody told of port {port}");
        self.pending.set(port, false);
    }
}

impl Order {
    /// A dispatch begins.
    fn begin(&mut self) {
        self.passes = 1;
        if let Some(last) = self.last.take() {
            self.first = last + 1;
        }
    }

    /// A port is handled. A pass goes upwards from behind the port that was handled last before it,
    /// and once around.
    fn handle(&mut self, port: Port) {
        let distance = |to: u32| to.wrapping_sub(self.first) % (WORDS as u32 * 64);
        if self.last.is_some_and(|last| distance(last) >= distance(port.0)) {
            self.passes += 1;
            self.first = self.last.map_or(0, |last| last + 1);
            assert!(self.passes <= PASSES, "some port was handled more than once in a pass");
        }
        self.last = Some(port.0);
    }
}

fn word(port: Port) -> usize {
    port.0 as usize / 64
}

fn bit(port: Port) -> u64 {
    1 << (port.0 % 64)
}
