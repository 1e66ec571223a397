//! Ports, and sets of ports that divide the bitmaps among vCPUs.

use core::fmt;

use xen_pac::base::XenUlong;
use xen_pac::event_channel::EvtchnPort;
use xen_pac::shared_info::SharedInfo;

use crate::atomic::{AtomicUsize, Ordering};

/// Ports in a word of the bitmaps.
pub(super) const BITS: u32 = XenUlong::BITS;

/// Words in a bitmap.
pub(super) const WORDS: usize = SharedInfo::EVTCHN_PENDING_COUNT;

/// The number of an event channel's local end. The number suffices to signal, mask and query the
/// channel; a [`Channel`](super::Channel) owns it.
///
/// Port 0 does not exist. The ports of the two-level form end at
/// [`TwoLevel::PORTS`](super::TwoLevel::PORTS).
///
/// Upstream: `xen/include/public/event_channel.h`, `evtchn_port_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Port(pub EvtchnPort);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ports whose events one vCPU handles.
///
/// All vCPUs scan the domain's one pending bitmap. Without such a set, two vCPUs would take each
/// other's events.
pub trait PortFilter {
    /// Returns the ports of one word of the bitmap: bit n stands for port `index` *
    /// [`XenUlong::BITS`] + n.
    fn word(&self, index: usize) -> XenUlong;
}

/// All ports: for a guest that handles all events on one vCPU. The filter adds no instruction.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllPorts;

impl PortFilter for AllPorts {
    #[inline(always)]
    fn word(&self, _: usize) -> XenUlong {
        XenUlong::MAX
    }
}

// The set's cells are as wide as a word of the bitmap.
const _: () = assert!(usize::BITS == XenUlong::BITS);

/// A vCPU's own ports, one bit for each port of the two-level form. It can be changed at any time,
/// from any vCPU.
///
/// A port must be in the set before it is unmasked. Insert a new port, then
/// [unmask](super::TwoLevel::unmask) it: unmasking raises an event that arrived before. A
/// [`Dispatcher`](super::Dispatcher) does both.
pub struct PortSet([AtomicUsize; WORDS]);

impl PortSet {
    /// Creates an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; WORDS])
    }

    // Relaxed is enough: what unmasks the port, after it was added, publishes the set. A port is
    // removed while it is masked.

    /// Adds a port. Returns false if the set already had it, or if it is beyond the bitmaps.
    #[inline]
    pub fn insert(&self, port: Port) -> bool {
        self.cell(port).is_some_and(|(cell, bit)| cell.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// Removes a port. Returns whether the set had it.
    #[inline]
    pub fn remove(&self, port: Port) -> bool {
        self.cell(port)
            .is_some_and(|(cell, bit)| cell.fetch_and(!bit, Ordering::Relaxed) & bit != 0)
    }

    /// Returns whether a port is in the set.
    #[inline]
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.cell(port).is_some_and(|(cell, bit)| cell.load(Ordering::Relaxed) & bit != 0)
    }

    /// Removes all ports.
    pub fn clear(&self) {
        self.0.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|cell| cell.load(Ordering::Relaxed) == 0)
    }

    #[inline]
    fn cell(&self, port: Port) -> Option<(&AtomicUsize, usize)> {
        self.0.get((port.0 / BITS) as usize).map(|cell| (cell, 1_usize.wrapping_shl(port.0)))
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl PortFilter for PortSet {
    #[inline(always)]
    fn word(&self, index: usize) -> XenUlong {
        self.0.get(index).map_or(0, |cell| cell.load(Ordering::Relaxed) as XenUlong)
    }
}

impl<P: PortFilter + ?Sized> PortFilter for &P {
    #[inline(always)]
    fn word(&self, index: usize) -> XenUlong {
        (**self).word(index)
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = (0..BITS * WORDS as u32).map(Port).filter(|port| self.contains(*port));
        f.debug_set().entries(ports).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn ports_come_and_go() {
        let set = PortSet::new();
        let last = Port(BITS * WORDS as u32 - 1);
        assert!(set.insert(Port(3)) && set.insert(Port(BITS)) && set.insert(last));
        assert!(!set.insert(Port(3)), "it is there already");
        assert_eq!((set.word(0), set.word(1), set.word(WORDS - 1)), (8, 1, 1 << (BITS - 1)));
        let shown = format!("{{Port(3), Port({BITS}), Port({last})}}");
        assert_eq!(format!("{set:?}"), shown);
        assert!(set.remove(Port(BITS)) && !set.remove(Port(BITS)) && !set.contains(Port(BITS)));
        set.clear();
        assert!((0..WORDS).all(|word| set.word(word) == 0));
    }

    #[test]
    fn a_port_beyond_the_bitmaps_is_in_no_set() {
        let set = PortSet::new();
        for beyond in [BITS * WORDS as u32, u32::MAX] {
            assert!(
                !set.insert(Port(beyond))
                    && !set.contains(Port(beyond))
                    && !set.remove(Port(beyond))
            );
        }
        assert_eq!(set.word(WORDS), 0);
    }
}
