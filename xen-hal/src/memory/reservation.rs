//! Memory that is got from Xen and given back.

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn, XenUlong};
use xen_pac::command::{Command, result, shape};
use xen_pac::memory::{XenMemoryReservation, command};

use super::{Memory, pfn};
use crate::hypercall::{Commands, Errno, Hypercall};
use crate::platform::Frame;

/// How many extents one hypercall names: their list lies on the stack.
const LIST: usize = 32;

/// What an extent is: a run of pages, aligned to its own length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The base-2 logarithm of its length in pages. Xen gives an unprivileged domain extents of at
    /// most 2^9 pages.
    pub order: u32,
    /// What memory is wanted: fields of [`memory_flags`](xen_pac::memory::memory_flags), of which a
    /// guest needs none.
    pub flags: u32,
}

impl Extent {
    /// A single page.
    pub const PAGE: Self = Self::of_order(0);

    /// 2^`order` pages, of any memory.
    #[must_use]
    pub const fn of_order(order: u32) -> Self {
        Self { order, flags: 0 }
    }
}

/// Fewer extents were done than asked for. Those that were done stay done.
///
/// Xen does not say why: there may be no memory left, or the domain may have all that it is
/// allowed, or the frame, the order or the flags may have been bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartialReservation {
    /// How many were done, from the list's start.
    pub done: usize,
    /// The first frame of the extent that was not done, where the caller named frames.
    pub stopped_at: Option<Frame>,
    /// The hypervisor's error, which these commands never give: the hypercall itself failed, as it
    /// does from user mode.
    pub errno: Option<Errno>,
}

impl fmt::Display for PartialReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only {} of the extents were done", self.done)?;
        if let Some(Frame(frame)) = self.stopped_at {
            write!(f, ", the next being that at frame {frame:#x}")?;
        }
        match self.errno {
            Some(errno) => write!(f, ": {errno}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for PartialReservation {}

impl<H: Hypercall> Memory<H> {
    /// Puts fresh memory, whose content is undefined, at extents that begin at `frames`. Upstream:
    /// `XENMEM_populate_physmap`.
    ///
    /// # Errors
    ///
    /// When Xen stops before the end of the list; the extents before that have their memory.
    ///
    /// # Safety
    ///
    /// Nothing may be kept at the frames: memory that is there already is replaced, and lost with
    /// what was in it.
    pub unsafe fn populate_physmap(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.each_list(command::PopulatePhysmap, frames, extent) }
    }

    /// Gives the memory at extents that begin at `frames` back to Xen, as a balloon driver does.
    /// Upstream: `XENMEM_decrease_reservation`.
    ///
    /// # Errors
    ///
    /// When Xen stops before the end of the list, as it does at a frame that has no memory; the
    /// extents before that are gone.
    ///
    /// # Safety
    ///
    /// Nothing may be kept at the frames, and nothing may point there: another domain may get the
    /// pages, and an access faults afterwards.
    pub unsafe fn decrease_reservation(
        &self,
        frames: impl IntoIterator<Item = Frame>,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.each_list(command::DecreaseReservation, frames, extent) }
    }

    /// Takes `count` extents that appear at no guest frame. Upstream:
    /// `XENMEM_increase_reservation`.
    ///
    /// This is for PV guests. A guest with hardware virtualisation can neither see nor give back
    /// such memory, which counts against its maximum all the same: it wants
    /// [`populate`](Self::populate_physmap).
    ///
    /// # Errors
    ///
    /// When Xen gives fewer, of which the error tells how many; none if there are too many for one
    /// hypercall (2^26).
    pub fn increase_reservation(
        &self,
        count: usize,
        extent: Extent,
    ) -> Result<(), PartialReservation> {
        let mut argument = reservation(Handle::NULL, count, extent);
        // SAFETY: without a list, Xen writes to no memory of the domain's, and takes none away.
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
    /// That which the command's method asks for.
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
            let mut list = List::taken_from(&mut frames);
            let mut argument =
                reservation(Handle::from_ptr(list.frames.as_mut_ptr()), list.length, extent);
            // SAFETY: the list has as many frames as the argument says, and is Xen's to read and
            // write; the rest is the caller's promise.
            let answer = if list.length == 0 {
                Ok(0)
            } else {
                unsafe { self.xen.call_unchecked(command, &mut argument) }
            };
            let done = answer.unwrap_or(0).min(list.length);
            before += done;
            // A frame that Xen wrote over is none that the caller named, but Xen writes only for
            // guests that are not translated, and those after the extents done never.
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

/// The next few frames of the caller's.
struct List {
    frames: [XenPfn; LIST],
    length: usize,
    /// The frame at which the list ends because no argument can hold it.
    unnamable: Option<Frame>,
}

impl List {
    fn taken_from(frames: &mut impl Iterator<Item = Frame>) -> Self {
        let mut list = Self { frames: [0; LIST], length: 0, unnamable: None };
        // The places come first: zip asks for a frame only where there is a place for it.
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

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::{Script, errno};
    use std::vec::Vec;

    /// The frames that an argument names.
    fn named(argument: &XenMemoryReservation) -> Vec<XenPfn> {
        let first = argument.extent_start.as_ptr();
        // SAFETY: the call under test passed a list of so many frames.
        (0..argument.nr_extents as usize)
            .map(|index| unsafe { first.wrapping_add(index).read() })
            .collect()
    }

    #[test]
    fn long_lists_are_done_in_several_calls() {
        let xen = Script::new()
            .argument(command::PopulatePhysmap, |asked| {
                assert_eq!((asked.extent_order, asked.mem_flags, asked.domid), (9, 0, Domid::SELF));
                assert_eq!(named(asked), (100..100 + LIST as XenPfn).collect::<Vec<_>>());
                LIST as isize
            })
            .argument(command::PopulatePhysmap, |asked| {
                assert_eq!(named(asked), [100 + LIST as XenPfn, 101 + LIST as XenPfn]);
                2
            });
        let frames = (100..102 + LIST as u64).map(Frame);
        // SAFETY: the script touches no memory.
        assert_eq!(
            unsafe { Memory::new(&xen).populate_physmap(frames, Extent::of_order(9)) },
            Ok(())
        );
    }

    #[test]
    fn a_shortfall_names_the_extent_that_was_not_done() {
        let xen = Script::new()
            .argument(command::DecreaseReservation, |_| LIST as isize)
            .argument(command::DecreaseReservation, |_| 3);
        // SAFETY: the script touches no memory.
        let short =
            unsafe { Memory::new(&xen).decrease_reservation((0..1000).map(Frame), Extent::PAGE) }
                .unwrap_err();
        assert_eq!(
            (short.done, short.stopped_at, short.errno),
            (LIST + 3, Some(Frame(LIST as u64 + 3)), None)
        );
    }

    #[test]
    fn no_frames_and_whole_lists_need_no_further_call() {
        let xen = Script::new().argument(command::PopulatePhysmap, |_| LIST as isize);
        // SAFETY: the script touches no memory.
        assert_eq!(
            unsafe {
                Memory::new(&xen).populate_physmap((0..LIST as u64).map(Frame), Extent::PAGE)
            },
            Ok(())
        );
        // SAFETY: the script touches no memory.
        assert_eq!(unsafe { Memory::new(&xen).populate_physmap([], Extent::PAGE) }, Ok(()));
    }

    #[test]
    fn an_error_is_kept_although_xen_gives_none() {
        let xen = Script::new()
            .argument(command::PopulatePhysmap, |_| errno(Errno::EPERM))
            .argument(command::IncreaseReservation, |_| errno(Errno::EPERM));
        let memory = Memory::new(&xen);
        // SAFETY: the script touches no memory.
        let short = unsafe { memory.populate_physmap([Frame(7)], Extent::PAGE) }.unwrap_err();
        assert_eq!(
            (short.done, short.stopped_at, short.errno),
            (0, Some(Frame(7)), Some(Errno::EPERM))
        );
        assert_eq!(
            memory.increase_reservation(1, Extent::PAGE).unwrap_err().errno,
            Some(Errno::EPERM)
        );
    }

    #[test]
    fn more_memory_comes_without_a_list() {
        let xen = Script::new().argument(command::IncreaseReservation, |asked| {
            assert!(asked.extent_start.is_null());
            assert_eq!(asked.nr_extents, 5);
            4
        });
        assert_eq!(
            Memory::new(&xen).increase_reservation(5, Extent::PAGE),
            Err(PartialReservation { done: 4, stopped_at: None, errno: None })
        );
    }
}
