//! The dispatcher over arbitrary bitmaps, selector, own ports and cursor, with handlers that do
//! what the input says, compared with a model that knows which port has an event.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::SeqCst;

use xen_hal::event::{AllPorts, Drain, Events, Port, PortFilter, PortSet, ScanCursor, TwoLevel};
use xen_pac::access::Bits;
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnUnmask, command::Unmask};
use xen_pac::shared_info::{SharedInfo, VcpuInfo};

use crate::fake::{Fake, clear, page};
use crate::input::Input;

/// Runs the target.
pub fn run(data: &[u8]) {
    clear();
    let input = Input::new(data);
    let domain = Domain::new(&input);
    let cursor = domain.cursor();
    domain.fill();
    loop {
        let at_rest = input.is_empty();
        let drain = domain.dispatch(&cursor, input.byte() % 4 != 0);
        domain.check(drain);
        match drain {
            Drain::Finished if at_rest => return,
            Drain::Finished => domain.fill(),
            Drain::Unfinished => assert!(!at_rest, "no handler broke off, and something is left"),
        }
    }
}

/// The most that a handler does.
const ACTIONS: usize = 3;

struct Domain<'i> {
    input: &'i Input,
    shared: SharedInfo<'static>,
    bitmaps: TwoLevel<'static>,
    vcpu: VcpuInfo<'static>,
    own: PortSet,
    model: RefCell<Model>,
    order: RefCell<Order>,
    /// The port at which a handler has stopped last, unless a dispatch has begun behind it since.
    stopped: Cell<Option<Port>>,
}

impl<'i> Domain<'i> {
    fn new(input: &'i Input) -> Self {
        // SAFETY: the page stays, and is accessed by handles alone.
        let shared = unsafe { SharedInfo::from_ptr(page(0)) };
        let vcpu = shared.vcpu_info(0).expect("vCPU 0 has its block here");
        let (bitmaps, own) = (TwoLevel::new(shared), PortSet::new());
        let (model, order) = (RefCell::default(), RefCell::default());
        Self { input, shared, bitmaps, vcpu, own, model, order, stopped: Cell::new(None) }
    }

    /// A cursor behind any port, at which a handler has stopped.
    fn cursor(&self) -> ScanCursor {
        let cursor = ScanCursor::new();
        if self.input.byte() % 2 != 0 {
            let port = self.port();
            self.raise(port);
            let drain = self.bitmaps.try_dispatch(self.vcpu, AllPorts, &cursor, |handled| {
                assert_eq!(handled, port);
                set(&mut self.model.borrow_mut().pending, port, false);
                ControlFlow::Break(())
            });
            assert_eq!(drain, Drain::Finished);
            // Port 0 does not exist, and is the position of a cursor where no handler has stopped.
            self.stopped.set((port.0 != 0).then_some(port));
        }
        cursor
    }

    /// Dispatches, with a handler that can stop or with one that cannot.
    fn dispatch(&self, cursor: &ScanCursor, can_stop: bool) -> Drain {
        if !can_stop {
            self.order.borrow_mut().begin(None);
            return self.bitmaps.dispatch(self.vcpu, &self.own, |port| _ = self.handle(port));
        }
        self.order.borrow_mut().begin(self.stopped.get());
        // Without a selected word the dispatch leaves the cursor alone.
        if self.vcpu.evtchn_pending_sel().load(SeqCst) != 0 {
            self.stopped.set(None);
        }
        self.bitmaps.try_dispatch(self.vcpu, &self.own, cursor, |port| {
            let flow = self.handle(port);
            if flow.is_break() && port.0 != 0 {
                self.stopped.set(Some(port));
            }
            flow
        })
    }

    /// Sets bits here and there, and announces them to the vCPU, or others.
    fn fill(&self) {
        loop {
            let (choice, port) = match self.input.byte() % 8 {
                0 => break,
                choice => (choice, self.port()),
            };
            let mut model = self.model.borrow_mut();
            let bitmap = match choice % 3 {
                1 => &mut model.pending,
                2 => &mut model.mask,
                _ => &mut model.own,
            };
            match choice {
                1..=3 => _ = set(bitmap, port, true),
                4..=6 => bitmap[word(port)] ^= self.input.number(),
                _ => {
                    set(&mut model.own, port, true);
                    drop(model);
                    self.raise(port);
                }
            }
        }
        let mut model = self.model.borrow_mut();
        let words = (0..WORDS).filter(|index| model.pending[*index] != 0);
        let selector = if self.input.byte() % 2 == 0 {
            words.map(|index| 1 << index).sum()
        } else {
            self.input.number()
        };
        // No word that was selected earlier still has an event, apart from those set above, of
        // which the vCPU was not told.
        model.selected = selector | self.vcpu.evtchn_pending_sel().fetch_or(selector, SeqCst);
        self.vcpu.evtchn_upcall_pending().fetch_or(self.input.byte(), SeqCst);
        for index in 0..WORDS {
            self.pending(index).swap(model.pending[index], SeqCst);
            self.mask(index).swap(model.mask[index], SeqCst);
            // Few of the ports differ, and to change one takes an atomic operation.
            if self.own.word(index) != model.own[index] {
                for port in (0..64).map(|bit| Port(index as u32 * 64 + bit)) {
                    let own = has(&model.own, port);
                    let _ = if own { self.own.insert(port) } else { self.own.remove(port) };
                }
            }
        }
    }

    /// The handler of every port.
    fn handle(&self, port: Port) -> ControlFlow<()> {
        self.model.borrow_mut().take(port);
        self.order.borrow_mut().handle(port);
        for _ in 0..ACTIONS {
            let choice = self.input.byte() % 8;
            let other = if (2..7).contains(&choice) { self.port() } else { port };
            match choice {
                0 => break,
                1 => return ControlFlow::Break(()),
                2 => {
                    let before = self.bitmaps.mask(other);
                    assert_eq!(before, set(&mut self.model.borrow_mut().mask, other, true));
                }
                3 => self.unmask(other),
                5 => {
                    let before = self.own.remove(other);
                    assert_eq!(before, set(&mut self.model.borrow_mut().own, other, false));
                }
                6 => {
                    let before = self.bitmaps.clear(other);
                    assert_eq!(before, set(&mut self.model.borrow_mut().pending, other, false));
                }
                _ => self.raise(other),
            }
        }
        ControlFlow::Continue(())
    }

    /// Unmasks a port. Xen announces the event of one that was masked.
    fn unmask(&self, port: Port) {
        let xen = Fake(Box::new(|number, arguments| {
            let command = (Unmask::HYPERCALL, Unmask::NUMBER as usize);
            assert_eq!((number, arguments[0]), command);
            // SAFETY: the command was given with its argument, which is borrowed for the call.
            let argument: &EvtchnUnmask =
                unsafe { &*std::ptr::with_exposed_provenance(arguments[1]) };
            let port = Port(argument.port);
            let masked = self.mask(word(port)).fetch_and(!bit(port), SeqCst) & bit(port) != 0;
            if masked && self.pending(word(port)).load(SeqCst) & bit(port) != 0 {
                self.select(port);
            }
            0
        }));
        let unmasked = self.bitmaps.unmask(Events::new(&xen), port, &self.own);
        unmasked.expect("the domain may have the port");
        set(&mut self.model.borrow_mut().mask, port, false);
    }

    /// What Xen does for an event.
    fn raise(&self, port: Port) {
        set(&mut self.model.borrow_mut().pending, port, true);
        if self.pending(word(port)).fetch_or(bit(port), SeqCst) & bit(port) == 0
            && !has(&self.model.borrow().mask, port)
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
    fn check(&self, drain: Drain) {
        let model = self.model.borrow();
        let selector = self.vcpu.evtchn_pending_sel().load(SeqCst);
        let upcall = self.vcpu.evtchn_upcall_pending().load(SeqCst);
        assert_eq!(drain == Drain::Finished, upcall == 0, "{drain:?} with the upcall {upcall}");
        for index in 0..WORDS {
            let found = (self.pending(index).load(SeqCst), self.mask(index).load(SeqCst));
            assert_eq!(found, (model.pending[index], model.mask[index]), "word {index}");
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
}

/// Words in a bitmap.
const WORDS: usize = 64;

/// How often one dispatch may go over the ports.
const PASSES: u32 = 4;

/// Which ports have an event, which are masked, and which are this vCPU's: a bit for each port.
#[derive(Debug)]
struct Model {
    pending: [u64; WORDS],
    mask: [u64; WORDS],
    own: [u64; WORDS],
    /// The words of which the vCPU was told since the last filling. It need not look at others.
    selected: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { pending: [0; WORDS], mask: [0; WORDS], own: [0; WORDS], selected: 0 }
    }
}

impl Model {
    /// The ports of a word that have to be handled.
    fn due(&self, word: usize) -> u64 {
        self.pending[word] & !self.mask[word] & self.own[word]
    }

    /// A handler is called: only for a port that has an event, which it then has no longer.
    fn take(&mut self, port: Port) {
        assert!(has(&self.pending, port), "port {port} had no event");
        assert!(!has(&self.mask, port), "port {port} is masked");
        assert!(has(&self.own, port), "port {port} is another vCPU's");
        assert!(self.selected >> word(port) & 1 != 0, "the vCPU was not told of port {port}");
        set(&mut self.pending, port, false);
    }
}

/// The order in which a dispatch handles ports, and how many passes that takes.
#[derive(Debug, Default)]
struct Order {
    passes: u32,
    /// The place where the present pass began.
    first: u32,
    /// The place of the port that was handled last.
    last: Option<u32>,
}

impl Order {
    /// A dispatch begins, behind the port at which a handler has stopped.
    fn begin(&mut self, stopped: Option<Port>) {
        *self = Self { passes: 1, first: stopped.map_or(0, |port| place(port) + 1), last: None };
    }

    /// A port is handled. A pass goes through the places upwards, and once around.
    fn handle(&mut self, port: Port) {
        let distance = |to: u32| to.wrapping_sub(self.first) % TwoLevel::PORTS;
        let place = place(port);
        if self.last.is_some_and(|last| distance(last) >= distance(place)) {
            self.passes += 1;
            // Only the first pass begins where a handler stopped.
            self.first = 0;
            assert!(self.passes <= PASSES, "a port was handled more than once in a pass");
        }
        self.last = Some(place);
    }
}

/// A port's place in the order: words upwards, and ports downwards within a word.
fn place(port: Port) -> u32 {
    port.0 ^ 63
}

fn word(port: Port) -> usize {
    port.0 as usize / 64
}

fn bit(port: Port) -> u64 {
    1 << (port.0 % 64)
}

fn has(bitmap: &[u64; WORDS], port: Port) -> bool {
    bitmap[word(port)] & bit(port) != 0
}

/// Sets a port's bit, and returns whether it was set before.
fn set(bitmap: &mut [u64; WORDS], port: Port, value: bool) -> bool {
    let before = has(bitmap, port);
    bitmap[word(port)] = bitmap[word(port)] & !bit(port) | u64::from(value) << (port.0 % 64);
    before
}
