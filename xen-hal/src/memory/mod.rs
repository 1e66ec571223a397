//! The domain's memory: how much it has, and what appears at which guest frame (hypercall
//! `memory_op`; upstream: `xen/include/public/memory.h`).
//!
//! ```no_run
//! use core::ptr::NonNull;
//! use xen_hal::hypercall::Hypercall;
//! use xen_hal::memory::{Memory, PageError, WidthLatch};
//! use xen_hal::platform::AddressSpace;
//! use xen_pac::shared_info::{SharedInfo, raw};
//!
//! /// Lets the page that the domain shares with Xen appear at `page`, where nothing else is kept.
//! fn shared_info(xen: &impl Hypercall, space: &impl AddressSpace, page: NonNull<raw::SharedInfo>) -> Result<SharedInfo<'static>, PageError> {
//!     let latch = WidthLatch::new(xen)?;
//!     // SAFETY: the page is kept for this alone, for ever.
//!     unsafe { Memory::new(xen).map_shared_info(space, page, latch) }
//! }
//! ```
//!
//! # What to beware of
//! - RAM that was at a frame does not come back when what was mapped over it is unmapped. x86 frees
//!   it. On Arm it stays the domain's and is out of its reach, as after
//!   [`Memory::remove_from_physmap`] on either: there [`Memory::decrease_reservation`] gives it
//!   back before, or the frame is one that never had RAM.
//! - A page of Xen's has one place. Mapped a second time on x86 it leaves the first, and whoever
//!   still points there faults. Arm refuses that with `EBUSY` since 4.17:
//!   [`Memory::remove_from_physmap`] unmaps it first, which firmware may have forgotten.
//! - The commands that give and take memory do not fail: they do less than was asked, which is told
//!   as a [`PartialReservation`].

mod batch;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod e820;
mod latch;
mod physmap;
mod reservation;
mod shared;

use xen_pac::base::{Domid, XenPfn};
use xen_pac::memory::{XenMemoryDomain, command};

use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Frame;

pub use batch::{BatchEntry, BatchError, BatchSpace};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use e820::{MapEntry, MapRefusedError};
pub use latch::WidthLatch;
pub use physmap::{PhysmapError, Source};
pub use reservation::{Extent, PartialReservation};
pub use shared::PageError;
pub(crate) use shared::frame_of_page;

/// The memory of the domain that runs.
#[derive(Clone, Copy, Debug)]
pub struct Memory<H> {
    xen: H,
}

impl<H: Hypercall> Memory<H> {
    /// The domain's memory, through a backend.
    pub const fn new(xen: H) -> Self {
        Self { xen }
    }

    /// The greatest guest frame that the domain uses. Upstream: `XENMEM_maximum_gpfn`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give a domain that asks about itself.
    pub fn maximum_frame(&self) -> Result<Frame, Errno> {
        self.xen.call(command::MaximumGpfn, &mut own()).map(|frame| Frame(frame as u64))
    }

    /// How many pages the domain has now. Upstream: `XENMEM_current_reservation`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give a domain that asks about itself.
    pub fn current_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::CurrentReservation, &mut own())
    }

    /// How many pages the domain may have at most. Upstream: `XENMEM_maximum_reservation`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give a domain that asks about itself.
    pub fn maximum_reservation(&self) -> Result<usize, Errno> {
        self.xen.call(command::MaximumReservation, &mut own())
    }

    /// The machine's greatest frame of RAM, of any domain's. Upstream: `XENMEM_maximum_ram_page`.
    ///
    /// # Errors
    ///
    /// None that Xen is known to give.
    pub fn machine_maximum_frame(&self) -> Result<u64, Errno> {
        self.xen.call(command::MaximumRamPage, ()).map(|frame| frame as u64)
    }
}

const fn own() -> XenMemoryDomain {
    XenMemoryDomain::new(Domid::SELF)
}

/// The frame as an argument holds it, which on 32-bit x86 has 32 bits.
fn pfn(frame: Frame) -> Option<XenPfn> {
    #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
    frame.0.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, errno};

    #[test]
    fn questions_are_about_the_domain_itself() {
        let xen = Script::new()
            .argument(command::MaximumGpfn, |about| {
                assert_eq!(about.domid, Domid::SELF);
                0xfeff
            })
            .argument(command::CurrentReservation, |_| 0x4000)
            .argument(command::MaximumReservation, |_| errno(Errno::ESRCH))
            .bare(command::MaximumRamPage, 0x23_ffff);
        let memory = Memory::new(&xen);
        assert_eq!(memory.maximum_frame(), Ok(Frame(0xfeff)));
        assert_eq!(memory.current_reservation(), Ok(0x4000));
        assert_eq!(memory.maximum_reservation(), Err(Errno::ESRCH));
        assert_eq!(memory.machine_maximum_frame(), Ok(0x23_ffff));
    }
}
