//! From an upcall to the handlers of the ports that have events.

use core::num::NonZero;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_pac::base::XenUlong;
use xen_pac::shared_info::VcpuInfo;

use super::port::BITS;
use super::{Port, PortFilter, TwoLevel};

/// How often one dispatch goes over the ports while new upcalls arrive.
const PASSES: u32 = 4;

/// The port at which a handler stopped: the next scan starts behind it. One per vCPU; sharing one
/// costs fairness and nothing else.
#[derive(Debug, Default)]
pub struct ScanCursor(AtomicU32);

impl ScanCursor {
    /// A cursor where no handler has stopped.
    #[must_use]
    pub const fn new() -> Self {
        // Port 0 does not exist.
        Self(AtomicU32::new(0))
    }
}

/// Whether a dispatch handled everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "events that are left give no upcall of their own: another dispatch must find them"]
pub enum Drain {
    /// Nothing is left. The next event gives an upcall.
    Finished,
    /// Events are left, because the handler stopped or because they keep coming. The vCPU is marked
    /// as having an upcall due.
    ///
    /// With a global callback vector on x86, Xen raises the interrupt again, so the handler
    /// returns. On Arm, and with a per-vCPU vector, the upcall is an edge and is not raised again:
    /// the kernel must dispatch again before the vCPU sleeps.
    Unfinished,
}

impl TwoLevel<'_> {
    /// Calls `handler` with each of a vCPU's `own` ports that is pending and not masked. To be
    /// called on each upcall, by the vCPU whose block `vcpu` is; harmless without an upcall.
    ///
    /// - A port's pending bit is cleared before its handler runs: an event that arrives meanwhile
    ///   makes it pending again.
    /// - One pass handles each port at most once. While upcalls keep coming, a dispatch makes four
    ///   passes and leaves the rest to the next dispatch, so it is bounded whatever peers send.
    /// - After a port becomes pending, each other port is handled at most twice before it.
    ///
    /// A handler may mask, unmask, close and signal ports, its own and others. The cost is
    /// proportional to the number of events and of bitmap words that hold one. Ports without events
    /// cost nothing.
    #[inline]
    pub fn dispatch(
        self,
        vcpu: VcpuInfo<'_>,
        own: impl PortFilter + Copy,
        handler: impl FnMut(Port),
    ) -> Drain {
        match NonZero::new(take(vcpu)) {
            Some(selected) => self.drain(vcpu, own, handler, selected),
            None => drained(vcpu),
        }
    }

    /// As [`dispatch`](Self::dispatch), with a handler that can stop the dispatch by breaking. The
    /// port with which it broke counts as handled. The next call starts after that port, which
    /// `cursor` stores, and finds all remaining events. A handler that always breaks therefore
    /// handles one event per call, in round-robin order.
    ///
    /// If a vCPU uses both forms, every other port is handled at most three times between an event
    /// and its handler.
    #[inline]
    pub fn try_dispatch(
        self,
        vcpu: VcpuInfo<'_>,
        own: impl PortFilter + Copy,
        cursor: &ScanCursor,
        handler: impl FnMut(Port) -> ControlFlow<()>,
    ) -> Drain {
        match NonZero::new(take(vcpu)) {
            Some(selected) => self.try_drain(vcpu, own, cursor, handler, selected),
            None => drained(vcpu),
        }
    }

    /// Handles the events of the words in `selected`, and of those that are selected meanwhile.
    ///
    /// A function of its own, so that an upcall that finds nothing saves no registers for it.
    #[inline(never)]
    fn drain(
        self,
        vcpu: VcpuInfo<'_>,
        own: impl PortFilter + Copy,
        mut handler: impl FnMut(Port),
        mut selected: NonZero<XenUlong>,
    ) -> Drain {
        let mut passes = 1;
        loop {
            let _ = self.words(selected.get(), own, &mut |port| {
                handler(port);
                ControlFlow::Continue(())
            });
            match self.next_pass(vcpu, &mut passes) {
                Ok(again) => selected = again,
                Err(drain) => return drain,
            }
        }
    }

    /// As [`drain`](Self::drain), for a handler that can stop.
    #[inline(never)]
    fn try_drain(
        self,
        vcpu: VcpuInfo<'_>,
        own: impl PortFilter + Copy,
        cursor: &ScanCursor,
        mut handler: impl FnMut(Port) -> ControlFlow<()>,
        mut selected: NonZero<XenUlong>,
    ) -> Drain {
        let mut passes = 1;
        loop {
            if let ControlFlow::Break(rest) = self.pass(selected, own, cursor, &mut handler) {
                if rest != 0 {
                    // In this order: a vCPU that sees the upcall must find the selector.
                    vcpu.evtchn_pending_sel().fetch_or(rest, Ordering::SeqCst);
                    vcpu.evtchn_upcall_pending().fetch_or(1, Ordering::SeqCst);
                }
                return drained(vcpu);
            }
            match self.next_pass(vcpu, &mut passes) {
                Ok(again) => selected = again,
                Err(drain) => return drain,
            }
        }
    }

    /// Goes once over the ports of the words in `selected`. Breaks when the handler does, with the
    /// words in which something may be left.
    #[inline(always)]
    fn pass(
        self,
        selected: NonZero<XenUlong>,
        own: impl PortFilter + Copy,
        cursor: &ScanCursor,
        handler: &mut impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<XenUlong> {
        let stopped = cursor.0.load(Ordering::Relaxed);
        let mut handler = |port: Port| {
            let flow = handler(port);
            if flow.is_break() {
                cursor.0.store(port.0, Ordering::Relaxed);
            }
            flow
        };
        if stopped != 0 {
            cursor.0.store(0, Ordering::Relaxed);
            return self.pass_behind(Port(stopped), selected.get(), own, handler);
        }
        // No handler stopped in the last pass, so it was whole, and any order is fair.
        self.words(selected.get(), own, &mut handler)
    }

    /// As [`pass`](Self::pass), beginning behind the port at which a handler stopped. The order is
    /// cyclic: words upwards, and ports downwards within a word.
    #[cold]
    fn pass_behind(
        self,
        stopped: Port,
        selected: XenUlong,
        own: impl PortFilter + Copy,
        mut handler: impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<XenUlong> {
        let first = stopped.0 / BITS % BITS;
        let above = (selected >> first) << first;
        let below = selected ^ above;
        let here = above & XenUlong::wrapping_shl(1, first);
        // Of the port's own word the lower part is first and the upper part is last. An event that
        // arrives meanwhile selects the word again.
        let pending = if here != 0 { self.pending(first) } else { 0 };
        let lower = pending & ((1 << (stopped.0 % BITS)) - 1);
        let upper = pending ^ lower;
        let again = || self.again(first, own);
        if self.scan(first, lower, own, &mut handler).is_break() {
            return ControlFlow::Break(selected ^ here | again());
        }
        for (words, later) in [(above ^ here, below), (below, 0)] {
            if let ControlFlow::Break(rest) = self.words(words, own, &mut handler) {
                return ControlFlow::Break(rest | later | if upper != 0 { again() } else { 0 });
            }
        }
        self.scan(first, upper, own, &mut handler).map_break(|()| again())
    }

    /// Handles the events of the words in `selected`.
    #[inline(always)]
    fn words(
        self,
        selected: XenUlong,
        own: impl PortFilter + Copy,
        handler: &mut impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<XenUlong> {
        let mut words = selected;
        while let Some(some) = NonZero::new(words) {
            let word = some.trailing_zeros();
            words = some.get() & some.get().wrapping_sub(1);
            if self.scan(word, self.pending(word), own, &mut *handler).is_break() {
                return ControlFlow::Break(words | self.again(word, own));
            }
        }
        ControlFlow::Continue(())
    }

    /// Handles `events` of one word, highest port first.
    #[inline(always)]
    fn scan(
        self,
        word: u32,
        events: XenUlong,
        own: impl PortFilter,
        mut handler: impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let index = word as usize;
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(index), self.shared.evtchn_mask(index))
        else {
            return ControlFlow::Continue(());
        };
        // The mask and the set are read again for each event: the last handler may have masked a
        // port, or given it to another vCPU.
        let due = |events| NonZero::new(events & !mask.load(Ordering::Acquire) & own.word(index));
        let Some(mut events) = due(events) else { return ControlFlow::Continue(()) };
        loop {
            // The highest bit, because compilers make a loop of the lowest one: `1 << ctz(x)` is
            // `x & -x` to them, whose clearing they do not know as a single instruction.
            let bit = BITS - 1 - events.leading_zeros();
            let event = XenUlong::wrapping_shl(1, bit);
            // The last handler may have closed the port, or another vCPU may have taken the event.
            if pending.fetch_and(!event, Ordering::AcqRel) & event != 0 {
                handler(Port(word.wrapping_mul(BITS) | bit))?;
            } else {
                cold();
            }
            match due(events.get() ^ event) {
                Some(more) => events = more,
                None => return ControlFlow::Continue(()),
            }
        }
    }

    /// What the next pass has to go over, unless everything is handled or this was the last pass.
    #[inline(always)]
    fn next_pass(self, vcpu: VcpuInfo<'_>, passes: &mut u32) -> Result<NonZero<XenUlong>, Drain> {
        if drained(vcpu) == Drain::Finished {
            return Err(Drain::Finished);
        }
        if *passes == PASSES {
            return Err(Drain::Unfinished);
        }
        *passes += 1;
        NonZero::new(take(vcpu)).ok_or_else(|| drained(vcpu))
    }

    /// The pending ports of a word.
    #[inline(always)]
    fn pending(self, word: u32) -> XenUlong {
        let pending = self.shared.evtchn_pending(word as usize);
        pending.map_or(0, |pending| pending.load(Ordering::Acquire))
    }

    /// The selector's bit for a word, if something is left in it to be handled here.
    #[inline(always)]
    fn again(self, word: u32, own: impl PortFilter) -> XenUlong {
        let index = word as usize;
        let mask = self.shared.evtchn_mask(index).map_or(0, |mask| mask.load(Ordering::Acquire));
        let due = self.pending(word) & !mask & own.word(index);
        XenUlong::from(due != 0).wrapping_shl(word)
    }
}

/// Takes the upcall and the selector.
#[inline(always)]
fn take(vcpu: VcpuInfo<'_>) -> XenUlong {
    // In this order: an event between the two is found by the pass that follows, and at worst gives
    // an upcall that finds nothing.
    let _ = vcpu.evtchn_upcall_pending().swap(0, Ordering::SeqCst);
    vcpu.evtchn_pending_sel().swap(0, Ordering::SeqCst)
}

/// Whether an upcall is due.
#[inline(always)]
fn drained(vcpu: VcpuInfo<'_>) -> Drain {
    match vcpu.evtchn_upcall_pending().load(Ordering::SeqCst) {
        0 => Drain::Finished,
        _ => Drain::Unfinished,
    }
}

/// Marks the branch that calls it as the unlikely one.
#[cold]
fn cold() {}
