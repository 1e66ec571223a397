//! Ballooning: populating and releasing guest memory.

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn, XenUlong};
use xen_pac::command::{Command, result, shape};
use xen_pac::memory::{XenMemoryReservation, command};

use super::{Memory, exposed, pfn};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Frame;

/// The number of extents per hypercall. Their list is on the stack.
pub(super) const LIST: usize = 32;

/// The size and the memory flags of an extent. An extent is a run of pages, aligned to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The base-2 logarithm of the length in pages. Xen limits an unprivileged domain to extents of
    /// 2^9 pages.
    pub order: u32,
    /// Fields of [`memory_flags`](xen_pac::memory::memory_flags). A guest needs none of them.
    pub flags: u32,
}

impl Extent {
    /// A single page.
    pub const PAGE: Self = Self::of_order(0);

    /// Creates an extent of 2^`order` pages of any memory.
    #[must_use]
    pub const fn of_order(order: u32) -> Self {
        Self { order, flags: 0 }
    }
}

/// Only some extents were processed; those are not rolled back.
///
/// Xen does not return the reason. Xen may have no free memory, the domain may have reached its
/// maximum, or the frame, the order or the flags may be invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartialReservation {
    /// The number of extents processed, from the start of the list.
    pub done: usize,
    /// The first frame of the extent that was not processed, if the caller named frames.
    pub stopped_at: Option<Frame>,
    /// Xen's error, if the hypercall itself failed, for example because user mode made it. The
    /// commands return no errors of their own.
    pub errno: Option<Errno>,
}

impl fmt::Display for PartialReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only {} of the extents were processed", self.done)?;
        if let Some(Frame(frame)) = self.stopped_at {
            write!(f, ", up to frame {frame:#x}")?;
        }
        match self.errno {
            Some(errno) => write!(f, ": {errno}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for PartialReservation {}

impl<H: Hypercall> Memory<H> {
    /// Allocates memory, of undefined content, for the extents that start at `frames`. Upstream:
    /// `XENMEM_populate_physmap`.
    ///
    /// # Errors
    ///
    /// [`PartialReservation`] if Xen stops before the end of the list. The extents before that
    /// point are populated.
    ///
    /// # Safety
    ///
    /// The frames must hold no data in use: Xen replaces their memory, and the content is lost.
    pub unsafe fn populate_physmap(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.each_list(command::PopulatePhysmap, frames, extent) }
    }

    /// Returns the memory of the extents that start at `frames` to Xen, as a balloon driver does.
    /// Upstream: `XENMEM_decrease_reservation`.
    ///
    /// # Errors
    ///
    /// [`PartialReservation`] if Xen stops before the end of the list, as it does at a frame that
    /// has no memory. The extents before that point are released.
    ///
    /// A page with another use, such as a registered `vcpu_info` or a peer's mapping, stays
    /// allocated to the domain until that use ends.
    ///
    /// # Safety
    ///
    /// The frames must hold no data in use, and nothing may point to them: Xen can give the pages
    /// to another domain, and an access faults afterwards.
    pub unsafe fn decrease_reservation(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // SAFETY: the caller's obligations are the same.
        unsafe { self.each_list(command::DecreaseReservation, frames, extent) }
    }

    /// Allocates `count` extents that are mapped at no guest frame. Upstream:
    /// `XENMEM_increase_reservation`.
    ///
    /// For PV guests. A guest with hardware virtualisation can neither access nor return such
    /// memory, which still counts against its maximum. Use
    /// [`populate_physmap`](Self::populate_physmap) there.
    ///
    /// # Errors
    ///
    /// [`PartialReservation`] if Xen allocates fewer. It allocates none if there are too many for
    /// one hypercall (2^26).
    pub fn increase_reservation(
        &self,
        count: usize,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // Pass no list: Xen needs none.
        let mut argument = reservation(Handle::NULL, count, extent);
        // SAFETY: without a list, Xen neither writes to the domain's memory nor removes any.
        let answer =
            unsafe { self.xen.call_unchecked(command::IncreaseReservation, &mut argument) };
        match answer {
            Ok(done) if done >= count => Ok(()),
            Ok(done) => Err(PartialReservation { done, stopped_at: None, errno: None }),
            Err(errno) => Err(PartialReservation { done: 0, stopped_at: None, errno: Some(errno) }),
        }
    }

    /// # Safety
    ///
    /// As for the command's method.
    unsafe fn each_list<C>(
        &self,
        command: C,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation>
    where
        C: Copy
            + Command<
                Argument = XenMemoryReservation,
                Shape = shape::Argument,
                Result = result::Count,
            >,
    {
        let mut frames = frames.into_iter();
        let mut before = 0;
        loop {
            let mut list = List::next(&mut frames);
            let mut argument = reservation(exposed(&mut list.frames), list.length, extent);
            let answer = if list.length == 0 {
                Ok(0)
            } else {
                // SAFETY: the list has as many frames as the argument says, and Xen may read and
                // write them; the caller's obligations are the same.
                unsafe { self.xen.call_unchecked(command, &mut argument) }
            };
            let done = answer.unwrap_or(0).min(list.length);
            before += done;
            // Xen writes to the list only for PV guests, and never beyond the extents that it
            // processed. So this frame came from the caller.
            let stopped_at = list
                .frames
                .get(done)
                .filter(|_| done < list.length)
                .map(|frame| Frame(widened(*frame)));
            if answer.is_err() || stopped_at.is_some() || list.unnamable.is_some() {
                return Err(PartialReservation {
                    done: before,
                    stopped_at: stopped_at.or(list.unnamable),
                    errno: answer.err(),
                });
            }
            if list.length < LIST {
                return Ok(());
            }
        }
    }
}

/// A list of the caller's next frames.
struct List {
    frames: [XenPfn; LIST],
    length: usize,
    /// The frame that ends the list because it does not fit into an argument.
    unnamable: Option<Frame>,
}

impl List {
    fn next(frames: &mut impl Iterator<Item = Frame>) -> Self {
        let mut list = Self { frames: [0; LIST], length: 0, unnamable: None };
        // The places come first: `zip` takes a frame only if there is a place for it.
        for (place, frame) in list.frames.iter_mut().zip(frames) {
            match pfn(frame) {
                Some(frame) => *place = frame,
                None => {
                    list.unnamable = Some(frame);
                    break;
                }
            }
            list.length += 1;
        }
        list
    }
}

fn widened(frame: XenPfn) -> u64 {
    #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
    frame.into()
}

fn reservation(list: Handle<XenPfn>, count: usize, extent: Extent) -> XenMemoryReservation {
    XenMemoryReservation::new(list, count as XenUlong, extent.order, extent.flags, Domid::SELF)
}
