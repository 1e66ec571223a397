//! The two-level form: a pending bit and a mask bit for each port, in shared_info.

use core::sync::atomic::Ordering;

use xen_pac::access::Bits;
use xen_pac::base::XenUlong;
use xen_pac::event_channel::EVTCHN_2L_NR_CHANNELS;
use xen_pac::shared_info::SharedInfo;

use super::{Events, Port, PortFilter, PortSet};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::VcpuId;

/// Ports in a word of the bitmaps.
pub(super) const BITS: u32 = XenUlong::BITS;

/// Words in a bitmap.
pub(super) const WORDS: usize = SharedInfo::EVTCHN_PENDING_COUNT;

// The selector has one bit for each word, and none to spare: rotating it rotates the words.
const _: () = assert!(
    WORDS == BITS as usize
        && SharedInfo::EVTCHN_MASK_COUNT == WORDS
        && EVTCHN_2L_NR_CHANNELS == BITS * BITS
);

/// The bitmaps of the two-level form, in which every domain starts.
///
/// A port beyond [`PORTS`](Self::PORTS) has no bits: it is never pending, and masking it does
/// nothing.
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
    word: usize,
    bit: XenUlong,
}

impl<'a> TwoLevel<'a> {
    /// How many ports the bitmaps have room for. A toolstack may allow the domain fewer.
    pub const PORTS: u32 = EVTCHN_2L_NR_CHANNELS;

    /// The bitmaps of a shared page.
    #[must_use]
    pub const fn new(shared: SharedInfo<'a>) -> Self {
        Self { shared }
    }

    /// Whether a port has an event that was not taken yet.
    #[inline]
    #[must_use]
    pub fn is_pending(self, port: Port) -> bool {
        self.slot(port).is_some_and(|slot| slot.pending.load(Ordering::Acquire) & slot.bit != 0)
    }

    /// Whether a port is masked: its events become pending, and give no upcall.
    #[inline]
    #[must_use]
    pub fn is_masked(self, port: Port) -> bool {
        self.slot(port).is_some_and(|slot| slot.mask.load(Ordering::Acquire) & slot.bit != 0)
    }

    /// Takes a port's event without its handler: says whether there was one. For ports that stay
    /// masked, and are waited for with [`Sched::poll`](crate::sched::Sched::poll).
    #[inline]
    pub fn clear(self, port: Port) -> bool {
        self.slot(port)
            .is_some_and(|slot| slot.pending.fetch_and(!slot.bit, Ordering::AcqRel) & slot.bit != 0)
    }

    /// Masks a port: says whether it was masked before. A handler that runs on another vCPU may
    /// still be at it.
    #[inline]
    pub fn mask(self, port: Port) -> bool {
        self.slot(port)
            .is_some_and(|slot| slot.mask.fetch_or(slot.bit, Ordering::SeqCst) & slot.bit != 0)
    }

    /// Masks all ports, as a kernel does before it knows which ones it wants: ports start unmasked.
    pub fn mask_all(self) {
        for mask in (0..WORDS).filter_map(|word| self.shared.evtchn_mask(word)) {
            mask.fetch_or(XenUlong::MAX, Ordering::SeqCst);
        }
    }

    /// Unmasks a port; an event that is pending gives its upcall now. `own` is the set of the vCPU
    /// that calls.
    ///
    /// For a port of this vCPU that has nothing pending it costs no hypercall. The order matters:
    /// an event that comes between a look at the pending bit and the clearing of the mask would be
    /// one of which nobody is told. So the mask is cleared first; if an event turns out to be
    /// pending, the port is masked again and Xen unmasks it, because Xen tells the vCPU only of a
    /// port that it finds masked.
    ///
    /// If a handler of this vCPU may mask the port, call this with interrupts off.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a port that the domain cannot have. Whenever the hypercall fails, the port is
    /// masked.
    #[inline]
    pub fn unmask<H: Hypercall + Copy>(
        self,
        events: Events<H>,
        port: Port,
        own: &impl PortFilter,
    ) -> Result<(), Errno> {
        let slot = self.slot(port).ok_or(Errno::EINVAL)?;
        if own.word(slot.word) & slot.bit != 0 {
            // Xen sets the pending bit and then looks at the mask; this is the mirror image, and
            // needs one order of all four accesses.
            slot.mask.fetch_and(!slot.bit, Ordering::SeqCst);
            if slot.pending.load(Ordering::SeqCst) & slot.bit == 0 {
                return Ok(());
            }
        }
        slot.mask.fetch_or(slot.bit, Ordering::SeqCst);
        events.unmask(port)
    }

    /// Moves a port from one vCPU to another, in Xen and in the vCPUs' sets. No event is lost: one
    /// that comes meanwhile, or that was raised on the old vCPU and not taken there, is raised on
    /// the new one.
    ///
    /// The port is masked meanwhile, and unmasked afterwards unless it was masked before. Its
    /// handler may still be at work on the old vCPU when it starts on the new one.
    ///
    /// # Errors
    ///
    /// As for [`Events::bind_vcpu`]; the port stays where it was. Xen is not known to refuse the
    /// unmasking of a port that it has just moved; if it does, the port has moved and is masked.
    pub fn migrate<H: Hypercall + Copy>(
        self,
        events: Events<H>,
        port: Port,
        vcpu: VcpuId,
        from: &PortSet,
        to: &PortSet,
    ) -> Result<(), Errno> {
        let slot = self.slot(port).ok_or(Errno::EINVAL)?;
        let masked = slot.mask.fetch_or(slot.bit, Ordering::SeqCst) & slot.bit != 0;
        let moved = events.bind_vcpu(port, vcpu);
        if moved.is_ok() {
            from.remove(port);
            to.insert(port);
        }
        let unmasked = if masked { Ok(()) } else { events.unmask(port) };
        moved.and(unmasked)
    }

    #[inline(always)]
    fn slot(self, port: Port) -> Option<Slot<'a>> {
        let word = (port.0 / BITS) as usize;
        let bit = XenUlong::wrapping_shl(1, port.0);
        Some(Slot {
            pending: self.shared.evtchn_pending(word)?,
            mask: self.shared.evtchn_mask(word)?,
            word,
            bit,
        })
    }
}
