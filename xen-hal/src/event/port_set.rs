//! Which ports are whose: the sets by which vCPUs share the bitmaps.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use xen_pac::base::XenUlong;

use super::Port;
use super::two_level::{BITS, WORDS};

/// The ports whose events one vCPU handles.
///
/// The pending bitmap is the domain's, and every vCPU scans it: without such a set two of them
/// would take each other's events.
pub trait PortFilter {
    /// The ports of one word of the bitmap: bit n stands for port `index` * [`XenUlong::BITS`] + n.
    fn word(&self, index: usize) -> XenUlong;
}

/// All ports are this vCPU's: for a guest that uses one, or that takes all events on one. Costs
/// nothing.
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

/// A vCPU's own ports, one bit for each port of the two-level form. May be changed at any time from
/// any vCPU; it lives where the caller likes, a `static` for instance.
///
/// A port has to be in the set *before* its events are let through. Put a new one in, then
/// [unmask](super::TwoLevel::unmask) it: an event that came in between, and that no vCPU took for
/// its own, is raised again by that.
pub struct PortSet([AtomicUsize; WORDS]);

impl PortSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; WORDS])
    }

    /// Adds a port; says whether it was not there before. One beyond the bitmaps cannot be added.
    pub fn insert(&self, port: Port) -> bool {
        self.cell(port).is_some_and(|(cell, bit)| cell.fetch_or(bit, Ordering::AcqRel) & bit == 0)
    }

    /// Takes a port out; says whether it was there.
    pub fn remove(&self, port: Port) -> bool {
        self.cell(port).is_some_and(|(cell, bit)| cell.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
    }

    /// Whether a port is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.cell(port).is_some_and(|(cell, bit)| cell.load(Ordering::Acquire) & bit != 0)
    }

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
        assert_eq!(format!("{set:?}"), format!("{{Port(3), Port({BITS}), {last:?}}}"));
        assert!(set.remove(Port(BITS)) && !set.remove(Port(BITS)) && !set.contains(Port(BITS)));
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
