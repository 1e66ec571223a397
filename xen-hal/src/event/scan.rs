//! From an upcall to the handlers of the ports that have events.

use core::num::NonZero;
use core::ops::ControlFlow;

use xen_pac::base::XenUlong;
use xen_pac::shared_info::VcpuInfo;

use super::port::BITS;
use super::{Port, PortFilter, TwoLevel};
use crate::atomic::{AtomicU32, Ordering};

/// The number of passes that one dispatch makes while new upcalls arrive.
const PASSES: u32 = 4;

/// The port at which a handler stopped. The next scan starts after it. Use one for each vCPU: vCPUs
/// that share one lose only fairness.
#[derive(Debug, Default)]
pub struct ScanCursor(AtomicU32);

impl ScanCursor {
    /// Creates a cursor at the first port.
    #[must_use]
    pub const fn new() -> Self {
        // Port 0 does not exist.
        Self(AtomicU32::new(0))
    }
}

/// Whether a dispatch handled everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "remaining events may raise no further upcall: if unfinished, dispatch again"]
pub enum Drain {
    /// Nothing is left. The next event raises an upcall. A dispatcher that is not attached, or has
    /// no such vCPU, returns this too.
    Finished,
    /// Events are left, because the handler stopped or because further events kept arriving. The
    /// vCPU's `evtchn_upcall_pending` is set.
    ///
    /// With a global callback vector on x86, Xen raises the interrupt again, so the handler can
    /// return. On Arm, and with a per-vCPU vector, the upcall is an edge and is not raised again:
    /// the kernel must dispatch again before the vCPU sleeps.
    Unfinished,
}

impl TwoLevel<'_> {
    /// Calls `handler` with each of a vCPU's `own` ports that is pending and not masked. Call it on
    /// each upcall, on the vCPU whose `vcpu_info` is `vcpu`. A call without an upcall is harmless.
    ///
    /// - A port's pending bit is cleared before its handler runs: an event that arrives meanwhile
    ///   makes it pending again.
    /// - One pass handles each port at most once. While upcalls keep coming, a dispatch makes four
    ///   passes and leaves the rest to the next dispatch, so it is bounded whatever peers send.
    /// - No port starves: while a port is pending and not masked, `handler` is called at most twice
    ///   with each other port before it is called with this one.
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

    /// Does the same as [`dispatch`](Self::dispatch), with a handler that can stop it by breaking.
    /// The port with which it broke counts as handled. The next call starts after that port, which
    /// `cursor` stores, and finds all remaining events. A handler that always breaks therefore
    /// handles one event per call, in round-robin order.
    ///
    /// If a vCPU calls both this and [`dispatch`](Self::dispatch), a pending port can wait for
    /// three calls with each other port instead of two.
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

    /// Handles the events of the words in `selected`, and of words that become selected meanwhile.
    ///
    /// Not inlined: an upcall without events then saves no registers.
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

    /// Does the same as [`drain`](Self::drain), with a handler that can stop.
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
                    // Release keeps this order: an interrupt between the two finds the selector.
                    vcpu.evtchn_pending_sel().fetch_or(rest, Ordering::Relaxed);
                    vcpu.evtchn_upcall_pending().fetch_or(1, Ordering::Release);
                }
                return drained(vcpu);
            }
            match self.next_pass(vcpu, &mut passes) {
                Ok(again) => selected = again,
                Err(drain) => return drain,
            }
        }
    }

    /// Handles each pending port of the words in `selected` once. If the handler breaks, returns
    /// the words that may hold further events.
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
        // No handler stopped the last pass, so every port had its turn, and any order is fair.
        self.words(selected.get(), own, &mut handler)
    }

    /// Does the same as [`pass`](Self::pass), starting after the port at which a handler stopped.
    /// The order is cyclic: words upwards, and ports downwards within a word.
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
        // The lower part of the port's own word comes first, and its upper part last. An event that
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
        let due = |events| NonZero::new(events & !mask.load(Ordering::Relaxed) & own.word(index));
        let Some(mut events) = due(events) else { return ControlFlow::Continue(()) };
        loop {
            // Highest bit first: for the lowest, compilers rewrite `1 << ctz(x)` as `x & -x` and
            // need several instructions to clear it.
            let bit = BITS - 1 - events.leading_zeros();
            let event = XenUlong::wrapping_shl(1, bit);
            // The last handler may have closed the port, or another vCPU may have taken the event.
            if pending.fetch_and(!event, Ordering::Acquire) & event != 0 {
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

    /// Returns the words for the next pass, or the result if everything is handled or this was the
    /// last pass.
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

    /// Returns the pending ports of a word.
    #[inline(always)]
    fn pending(self, word: u32) -> XenUlong {
        let pending = self.shared.evtchn_pending(word as usize);
        pending.map_or(0, |pending| pending.load(Ordering::Relaxed))
    }

    /// Returns the selector's bit for a word if events are left in it for this vCPU.
    #[inline(always)]
    fn again(self, word: u32, own: impl PortFilter) -> XenUlong {
        let index = word as usize;
        let mask = self.shared.evtchn_mask(index).map_or(0, |mask| mask.load(Ordering::Relaxed));
        let due = self.pending(word) & !mask & own.word(index);
        XenUlong::from(due != 0).wrapping_shl(word)
    }
}

/// Clears the upcall flag, then takes the selector.
#[inline(always)]
fn take(vcpu: VcpuInfo<'_>) -> XenUlong {
    // In this order, which release keeps, the pass finds an event that arrives between the two. At
    // worst, an upcall then finds no event. Acquire: the pass sees what Xen set before.
    let _ = vcpu.evtchn_upcall_pending().swap(0, Ordering::Relaxed);
    vcpu.evtchn_pending_sel().swap(0, Ordering::AcqRel)
}

/// Returns [`Drain::Finished`] unless an upcall is due.
#[inline(always)]
fn drained(vcpu: VcpuInfo<'_>) -> Drain {
    match vcpu.evtchn_upcall_pending().load(Ordering::Relaxed) {
        0 => Drain::Finished,
        _ => Drain::Unfinished,
    }
}

/// Marks the calling branch as unlikely.
#[cold]
fn cold() {}
