//! The two-level form: a pending bit and a mask bit for each port, in the shared page.

use xen_pac::access::Bits;
use xen_pac::base::XenUlong;
use xen_pac::event_channel::EVTCHN_2L_NR_CHANNELS;
use xen_pac::shared_info::SharedInfo;

use super::port::{BITS, WORDS};
use super::{Events, Port, PortFilter};
use crate::atomic::Ordering;
use crate::hypercall::{Errno, Hypercall};

// The selector has exactly one bit for each word, so rotating it rotates the words.
const _: () = assert!(
    WORDS == BITS as usize
        && SharedInfo::EVTCHN_MASK_COUNT == WORDS
        && EVTCHN_2L_NR_CHANNELS == BITS * BITS
);

/// The bitmaps of the two-level form, in which every domain starts.
///
/// This is what a [`Dispatcher`](super::Dispatcher) works on. A port beyond [`PORTS`](Self::PORTS)
/// has no bits: it is never pending, and masking it does nothing.
///
/// Upstream: `xen/include/public/xen.h`, `shared_info`.
#[derive(Clone, Copy, Debug)]
pub struct TwoLevel<'a> {
    pub(super) shared: SharedInfo<'a>,
}

/// The bits of one port.
#[derive(Clone, Copy)]
struct Slot<'a> {
    pending: Bits<'a, XenUlong>,
    mask: Bits<'a, XenUlong>,
    bit: XenUlong,
}

impl<'a> TwoLevel<'a> {
    /// The number of ports in the bitmaps. A toolstack can allow the domain fewer.
    pub const PORTS: u32 = EVTCHN_2L_NR_CHANNELS;

    /// Returns the bitmaps of `shared`.
    #[must_use]
    pub const fn new(shared: SharedInfo<'a>) -> Self {
        Self { shared }
    }

    /// Returns whether a port has a pending event.
    #[inline]
    #[must_use]
    pub fn is_pending(self, port: Port) -> bool {
        self.slot(port).is_some_and(|slot| slot.pending.load(Ordering::Acquire) & slot.bit != 0)
    }

    /// Returns whether a port is masked: its events become pending and raise no upcall.
    #[inline]
    #[must_use]
    pub fn is_masked(self, port: Port) -> bool {
        self.slot(port).is_some_and(|slot| slot.mask.load(Ordering::Relaxed) & slot.bit != 0)
    }

    /// Clears a port's pending event. Returns whether there was one. Use it for ports that stay
    /// masked and for which the guest waits with [`Sched::poll`](crate::sched::Sched::poll).
    #[inline]
    pub fn clear(self, port: Port) -> bool {
        self.slot(port).is_some_and(|slot| {
            slot.pending.fetch_and(!slot.bit, Ordering::Acquire) & slot.bit != 0
        })
    }

    /// Masks a port. Returns whether it was masked before. A handler on another vCPU can still be
    /// running.
    #[inline]
    pub fn mask(self, port: Port) -> bool {
        // Relaxed: a fence orders it where a dispatcher waits for a handler.
        self.slot(port)
            .is_some_and(|slot| slot.mask.fetch_or(slot.bit, Ordering::Relaxed) & slot.bit != 0)
    }

    /// Masks all ports. A kernel must do so first, because ports start unmasked.
    pub fn mask_all(self) {
        for mask in (0..WORDS).filter_map(|word| self.shared.evtchn_mask(word)) {
            mask.fetch_or(XenUlong::MAX, Ordering::Relaxed);
        }
    }

    /// Unmasks a port. If an event is pending, its upcall is raised now. `own` is the set of the
    /// calling vCPU: for a port in it, this makes a hypercall only if an event is pending.
    ///
    /// If a handler on the port's vCPU can mask the port at the same time, call this with
    /// interrupts off.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port that the domain cannot have. If the hypercall fails, the port is masked.
    #[inline]
    pub fn unmask<H: Hypercall + Copy>(
        self,
        events: Events<H>,
        port: Port,
        own: impl PortFilter,
    ) -> Result<(), Errno> {
        let word = own.word((port.0 / BITS) as usize);
        self.unmask_if_local(events, port, word >> (port.0 % BITS) & 1 != 0)
    }

    /// Does the same as [`unmask`](Self::unmask). `local` is whether the port belongs to the
    /// calling vCPU.
    ///
    /// The mask is cleared before the pending bit is read. In the other order, an event between the
    /// two steps would raise no upcall. If an event is pending, the port is masked again and Xen
    /// unmasks it, because Xen raises an event only for a port that it finds masked. For a port of
    /// another vCPU, Xen clears the mask: the port's handler could run between the two steps, and a
    /// mask bit that it sets would be lost.
    #[inline]
    pub(super) fn unmask_if_local<H: Hypercall + Copy>(
        self,
        events: Events<H>,
        port: Port,
        local: bool,
    ) -> Result<(), Errno> {
        if let (true, Some(slot)) = (local, self.slot(port)) {
            // Xen sets the pending bit, then reads the mask. This does the opposite, so all four
            // accesses must have one total order.
            slot.mask.fetch_and(!slot.bit, Ordering::SeqCst);
            if slot.pending.load(Ordering::SeqCst) & slot.bit == 0 {
                return Ok(());
            }
        }
        self.unmask_by_xen(events, port)
    }

    /// Masks a port and has Xen unmask it, which raises a pending event.
    ///
    /// Not inlined: unmasking a port without an event then saves no registers.
    #[cold]
    #[inline(never)]
    fn unmask_by_xen<H: Hypercall + Copy>(
        self,
        events: Events<H>,
        port: Port,
    ) -> Result<(), Errno> {
        let slot = self.slot(port).ok_or(Errno::EINVAL)?;
        slot.mask.fetch_or(slot.bit, Ordering::Relaxed);
        events.unmask(port)
    }

    #[inline(always)]
    fn slot(self, port: Port) -> Option<Slot<'a>> {
        let word = (port.0 / BITS) as usize;
        let bit = XenUlong::wrapping_shl(1, port.0);
        Some(Slot {
            pending: self.shared.evtchn_pending(word)?,
            mask: self.shared.evtchn_mask(word)?,
            bit,
        })
    }
}
