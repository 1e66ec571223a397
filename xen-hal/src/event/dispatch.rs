//! From an upcall to the handlers of the ports that have events.

use core::num::NonZero;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_pac::base::XenUlong;
use xen_pac::shared_info::VcpuInfo;

use super::two_level::{BITS, TwoLevel};
use super::{Port, PortFilter};

/// How often one call of [`TwoLevel::dispatch`] goes over the ports while new upcalls come in.
const PASSES: u32 = 4;

/// The port that was handled last: the next scan starts behind it. One for each vCPU, kept where
/// the caller likes.
///
/// It is what makes the dispatcher fair. Sharing one among vCPUs breaks nothing but that.
#[derive(Debug)]
pub struct ScanCursor(AtomicU32);

impl ScanCursor {
    /// A cursor from which a scan starts at port 0.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(u32::MAX))
    }

    /// The word where to start, and the bit in it.
    #[inline(always)]
    fn position(&self) -> (u32, u32) {
        let port = self.0.load(Ordering::Relaxed).wrapping_add(1);
        (port / BITS % BITS, port % BITS)
    }

    #[inline(always)]
    fn move_to(&self, port: Port) {
        self.0.store(port.0, Ordering::Relaxed);
    }
}

impl Default for ScanCursor {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a dispatch came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "events that are left give no upcall of their own: the next dispatch has to find them"]
pub enum Drain {
    /// Nothing is left: the next event gives an upcall.
    Finished,
    /// Events are left, because the handler stopped or because they keep coming. The vCPU is marked
    /// as having an upcall due: dispatch again before it waits.
    ///
    /// With a global callback vector Xen raises the interrupt again by itself once the vCPU can
    /// take it; a per-vCPU vector is not raised again.
    Unfinished,
}

impl TwoLevel<'_> {
    /// Handles the events of one vCPU: calls `handler` with each of its `own` ports that is pending
    /// and not masked. To be called on each upcall, by the vCPU whose `vcpu` block and `cursor` are
    /// given; it does no harm to call it without one.
    ///
    /// - A port's pending bit is cleared before its handler runs, so that an event which comes
    ///   meanwhile makes it pending again.
    /// - It is fair: each port is handled at most once in a pass over the ports, and a pass starts
    ///   behind the port that was handled last, also in the next call. Between an event and its
    ///   handler, every other port is handled at most twice.
    /// - When the handler breaks, the port that it was called with counts as handled, and all
    ///   others are found by the next call. A break after each event, say, handles one event a
    ///   call.
    /// - While upcalls keep coming it goes over the ports a few times, and then leaves the rest to
    ///   the next call.
    ///
    /// A handler may mask, unmask, close and signal ports, its own and others. The cost is that of
    /// the events, plus one look at each word of the bitmaps in which there may be one; ports
    /// without events cost nothing.
    #[inline]
    pub fn dispatch(
        self,
        vcpu: VcpuInfo<'_>,
        own: &impl PortFilter,
        cursor: &ScanCursor,
        mut handler: impl FnMut(Port) -> ControlFlow<()>,
    ) -> Drain {
        let (upcall, selector) = (vcpu.evtchn_upcall_pending(), vcpu.evtchn_pending_sel());
        for _ in 0..PASSES {
            // First the upcall, then the selector: an event that comes between the two is found by
            // this pass, and at worst gives an upcall that finds nothing.
            let _ = upcall.swap(0, Ordering::SeqCst);
            let selected = selector.swap(0, Ordering::SeqCst);
            if let ControlFlow::Break(rest) = self.pass(selected, own, cursor, &mut handler) {
                if rest != 0 {
                    // The other way round: who sees the upcall must find the selector.
                    selector.fetch_or(rest, Ordering::SeqCst);
                    upcall.fetch_or(1, Ordering::SeqCst);
                }
                break;
            }
            if upcall.load(Ordering::SeqCst) == 0 {
                return Drain::Finished;
            }
        }
        if upcall.load(Ordering::SeqCst) == 0 { Drain::Finished } else { Drain::Unfinished }
    }

    /// Goes once over the ports of the words in `selected`, from the cursor up and then from the
    /// start up to the cursor. Breaks when the handler does, with the words in which something may
    /// be left.
    #[inline(always)]
    fn pass(
        self,
        selected: XenUlong,
        own: &impl PortFilter,
        cursor: &ScanCursor,
        handler: &mut impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<XenUlong> {
        let (first, bit) = cursor.position();
        // Of the cursor's own word the upper part is first and the lower part is last.
        let upper = XenUlong::MAX.wrapping_shl(bit);
        let mut lower = selected & XenUlong::wrapping_shl(1, first);
        let mut part = if lower != 0 { upper } else { XenUlong::MAX };
        // Bit n stands for the n-th word from the cursor's.
        let mut left = selected.rotate_right(first);
        loop {
            let word = if let Some(some) = NonZero::new(left) {
                left &= left.wrapping_sub(1);
                some.trailing_zeros().wrapping_add(first) % BITS
            } else if lower != 0 {
                lower = 0;
                part = !upper;
                first
            } else {
                return ControlFlow::Continue(());
            };
            if self.scan(word, part, own, cursor, handler).is_break() {
                let rest = left.rotate_left(first)
                    | self.again(word, own)
                    | lower & self.again(first, own);
                return ControlFlow::Break(rest);
            }
            part = XenUlong::MAX;
        }
    }

    /// Handles the events that a part of one word holds now, lowest port first, each port at most
    /// once. An event that comes meanwhile gives an upcall of its own.
    #[inline(always)]
    fn scan(
        self,
        word: u32,
        part: XenUlong,
        own: &impl PortFilter,
        cursor: &ScanCursor,
        handler: &mut impl FnMut(Port) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let index = word as usize;
        let (Some(pending), Some(mask)) =
            (self.shared.evtchn_pending(index), self.shared.evtchn_mask(index))
        else {
            return ControlFlow::Continue(());
        };
        let mut left = pending.load(Ordering::Acquire) & part;
        // The mask and the set are looked at anew for each event: the last handler may have masked
        // a port, or given it to another vCPU.
        while let Some(due) = NonZero::new(left & !mask.load(Ordering::Acquire) & own.word(index)) {
            let bit = due.trailing_zeros();
            left = due.get() & due.get().wrapping_sub(1);
            let event = XenUlong::wrapping_shl(1, bit);
            // The last handler may have closed the port, or another vCPU may have taken the event.
            if pending.fetch_and(!event, Ordering::AcqRel) & event != 0 {
                let port = Port(word.wrapping_mul(BITS) | bit);
                cursor.move_to(port);
                handler(port)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The ports of a word that have an event to be handled here.
    #[inline(always)]
    fn due(self, word: u32, own: &impl PortFilter) -> XenUlong {
        let word = word as usize;
        match (self.shared.evtchn_pending(word), self.shared.evtchn_mask(word)) {
            (Some(pending), Some(mask)) => {
                pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire) & own.word(word)
            }
            _ => 0,
        }
    }

    /// The selector's bit for a word, if there is still something in it.
    #[inline(always)]
    fn again(self, word: u32, own: &impl PortFilter) -> XenUlong {
        XenUlong::from(self.due(word, own) != 0).wrapping_shl(word)
    }
}
