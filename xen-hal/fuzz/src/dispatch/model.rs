//! What is known of a domain's events.

use xen_hal::event::Port;

/// Words in a bitmap.
pub(super) const WORDS: usize = 64;

/// How often one dispatch may go over the ports.
const PASSES: u32 = 4;

/// A bit for each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bitmap(pub(super) [u64; WORDS]);

/// Which ports have an event, which are masked, and which are this vCPU's.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) pending: Bitmap,
    pub(super) mask: Bitmap,
    pub(super) own: Bitmap,
    /// The words of which the vCPU was told since the last filling: there is no duty to look at
    /// others.
    pub(super) selected: u64,
}

/// The order in which a dispatch handles ports, and how many passes that takes.
#[derive(Debug, Default)]
pub(super) struct Order {
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
    pub(super) fn has(&self, port: Port) -> bool {
        self.0[word(port)] & bit(port) != 0
    }

    /// Sets a port's bit, and says whether it was set before.
    pub(super) fn set(&mut self, port: Port, value: bool) -> bool {
        let before = self.has(port);
        self.0[word(port)] = self.0[word(port)] & !bit(port) | u64::from(value) << (port.0 % 64);
        before
    }
}

impl Model {
    /// The ports of a word that have to be handled.
    pub(super) fn due(&self, word: usize) -> u64 {
        self.pending.0[word] & !self.mask.0[word] & self.own.0[word]
    }

    /// A handler is called: only for a port that has an event, which it then has no longer.
    pub(super) fn take(&mut self, port: Port) {
        assert!(self.pending.has(port), "port {port} had no event");
        assert!(!self.mask.has(port), "port {port} is masked");
        assert!(self.own.has(port), "port {port} is another vCPU's");
        assert!(self.selected >> word(port) & 1 != 0, "nobody told of port {port}");
        self.pending.set(port, false);
    }
}

impl Order {
    /// A dispatch begins.
    pub(super) fn begin(&mut self) {
        self.passes = 1;
        if let Some(last) = self.last.take() {
            self.first = last + 1;
        }
    }

    /// A port is handled. A pass goes upwards from behind the port that was handled last before it,
    /// and once around.
    pub(super) fn handle(&mut self, port: Port) {
        let distance = |to: u32| to.wrapping_sub(self.first) % (WORDS as u32 * 64);
        if self.last.is_some_and(|last| distance(last) >= distance(port.0)) {
            self.passes += 1;
            self.first = self.last.map_or(0, |last| last + 1);
            assert!(self.passes <= PASSES, "some port was handled more than once in a pass");
        }
        self.last = Some(port.0);
    }
}

pub(super) fn word(port: Port) -> usize {
    port.0 as usize / 64
}

pub(super) fn bit(port: Port) -> u64 {
    1 << (port.0 % 64)
}
