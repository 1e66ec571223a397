//! Many pages in one hypercall, each with a result of its own.

use core::fmt;

use xen_pac::access::Handle;
use xen_pac::base::{Domid, XenPfn, XenUlong};
use xen_pac::memory::{MapSpace, XenAddToPhysmapBatch, XenAddToPhysmapBatchU, command};

use super::physmap::word;
use super::{Memory, pfn};
use crate::hypercall::{Commands, Errno, Hypercall, check};
use crate::platform::Frame;

/// How many pages one hypercall names: their lists lie on the stack.
const LIST: usize = 32;

/// What stands in the list of errors until Xen writes there: no errno, negated or not.
const NOT_REACHED: i32 = i32::MIN;

/// Which kind of page a batch maps, and so what its indices count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchSpace {
    /// Pages of the domain's grant table, counted from 0.
    GrantTable,
    /// Pages of the domain, by their frames. Not on Arm.
    Own,
    /// Pages of another domain, over which this one has privileges, by their frames there.
    ForeignGrant(Domid),
    /// Device registers, by machine frame: for the hardware domain on Arm.
    DeviceMemory,
}

/// One page of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// Which page of its kind.
    pub index: u64,
    /// The frame at which it shall appear.
    pub at: Frame,
    /// How it went; `None` as long as Xen has not said.
    pub result: Option<Result<(), Errno>>,
}

impl BatchEntry {
    /// A page that is yet to be mapped.
    #[must_use]
    pub const fn new(index: u64, at: Frame) -> Self {
        Self { index, at, result: None }
    }
}

/// Not all pages of a batch were mapped; the others were, and their entries say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchError {
    /// The first entry that was not mapped, counted from 0.
    pub first: usize,
    /// Why: the entry's own error, or that with which the whole hypercall ended before Xen came to
    /// it; `ENODATA` where Xen claims success and does not say so of the entry.
    pub errno: Errno,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of the batch was not mapped: {}", self.first, self.errno)
    }
}

impl core::error::Error for BatchError {}

impl<H: Hypercall> Memory<H> {
    /// Lets many pages appear, each at its frame. Upstream: `XENMEM_add_to_physmap_batch`.
    ///
    /// An entry that fails does not stop the others: look at each result after an error.
    /// ForeignGrant pages can be mapped by this method alone; no other page can be mapped over them
    /// before [`remove_from_physmap`](Self::remove_from_physmap).
    ///
    /// # Errors
    ///
    /// When at least one page was not mapped; the single errors are those of
    /// [`add_to_physmap`](Self::add_to_physmap). An error of the whole, as `ESRCH` or `EPERM` for a
    /// foreign domain, ends the batch, and the entries from there on have no result.
    ///
    /// # Safety
    ///
    /// As for [`add_to_physmap`](Self::add_to_physmap), for each of the entries.
    pub unsafe fn add_to_physmap_batch(
        &self,
        space: BatchSpace,
        entries: &mut [BatchEntry],
    ) -> Result<(), BatchError> {
        let mut failure = None;
        entries.iter_mut().for_each(|entry| entry.result = None);
        for (list, entries) in entries.chunks_mut(LIST).enumerate() {
            let before = list * LIST;
            // SAFETY: the caller's promise is the same.
            let answer = unsafe { self.add_list(space, entries) };
            failure = failure.or_else(|| first_failure(before, entries));
            let reached = entries.iter().take_while(|entry| entry.result.is_some()).count();
            // The results count, not the answer: where there are all of them, an error of the whole
            // took nothing away, and without one success is only claimed.
            if reached < entries.len() {
                let errno = answer.err().unwrap_or(Errno::ENODATA);
                return Err(failure.unwrap_or(BatchError { first: before + reached, errno }));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// # Safety
    ///
    /// As for `add_to_physmap_batch`; there are at most [`LIST`] entries.
    unsafe fn add_list(&self, space: BatchSpace, entries: &mut [BatchEntry]) -> Result<(), Errno> {
        let mut indices: [XenUlong; LIST] = [0; LIST];
        let mut frames: [XenPfn; LIST] = [0; LIST];
        let mut errors = [NOT_REACHED; LIST];
        for ((entry, index), frame) in entries.iter_mut().zip(&mut indices).zip(&mut frames) {
            let (Ok(named), Some(at)) = (word(entry.index), pfn(entry.at)) else {
                entry.result = Some(Err(Errno::EINVAL));
                return Err(Errno::EINVAL);
            };
            (*index, *frame) = (named, at);
        }
        let (space, extra) = space.encode();
        let mut argument = XenAddToPhysmapBatch::new(
            Domid::SELF,
            space,
            entries.len().min(LIST) as u16,
            extra,
            Handle::from_ptr(indices.as_mut_ptr()),
            Handle::from_ptr(frames.as_mut_ptr()),
            Handle::from_ptr(errors.as_mut_ptr()),
        );
        // SAFETY: each of the lists has as many elements as the argument says, and is Xen's to read
        // and write; the rest is the caller's promise.
        let answer = unsafe { self.xen.call_unchecked(command::AddToPhysmapBatch, &mut argument) };
        for (entry, error) in entries.iter_mut().zip(errors) {
            entry.result = told(error);
        }
        answer
    }
}

impl BatchSpace {
    /// The number of the space in 16 bits, and what else it needs.
    fn encode(self) -> (u16, XenAddToPhysmapBatchU) {
        let (MapSpace(space), domain) = match self {
            Self::GrantTable => (MapSpace::GRANT_TABLE, None),
            Self::Own => (MapSpace::GMFN, None),
            Self::ForeignGrant(domain) => (MapSpace::GMFN_FOREIGN, Some(domain)),
            Self::DeviceMemory => (MapSpace::DEV_MMIO, None),
        };
        (
            space as u16,
            domain.map_or(XenAddToPhysmapBatchU::ZEROED, XenAddToPhysmapBatchU::from_foreign_domid),
        )
    }
}

/// What a number in the list of errors says, if it says anything: numbers other than 0 that are no
/// errors are unknown, and promise no page.
fn told(error: i32) -> Option<Result<(), Errno>> {
    match check(error as isize) {
        Ok(0) => Some(Ok(())),
        Ok(_) => None,
        Err(errno) => Some(Err(errno)),
    }
}

fn first_failure(before: usize, entries: &[BatchEntry]) -> Option<BatchError> {
    entries
        .iter()
        .zip(before..)
        .find_map(|(entry, first)| Some(BatchError { first, errno: entry.result?.err()? }))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::{Script, errno};
    use std::vec::Vec;

    fn entries(count: u64) -> Vec<BatchEntry> {
        (0..count).map(|index| BatchEntry::new(index, Frame(0x1000 + index))).collect()
    }

    /// Answers for the entry with this position in the argument.
    fn answer(argument: &XenAddToPhysmapBatch, position: usize, error: i32) {
        assert!(position < argument.size.into());
        // SAFETY: the call under test passed lists of `size` elements.
        unsafe { argument.errs.as_ptr().wrapping_add(position).write(error) };
    }

    #[test]
    fn an_entry_that_fails_does_not_stop_the_others() {
        let xen = Script::new().argument(command::AddToPhysmapBatch, |asked| {
            assert_eq!(
                (asked.domid, asked.space, asked.size),
                (Domid::SELF, MapSpace::GMFN_FOREIGN.0 as u16, 3)
            );
            assert_eq!(asked.u.foreign_domid(), Domid(5));
            // SAFETY: the call under test passed lists of three elements.
            assert_eq!(unsafe { asked.gpfns.as_ptr().wrapping_add(2).read() }, 0x1002);
            [0, -22, 0]
                .into_iter()
                .enumerate()
                .for_each(|(position, error)| answer(asked, position, error));
            0
        });
        let mut entries = entries(3);
        // SAFETY: the script touches no memory.
        let error = unsafe {
            Memory::new(&xen).add_to_physmap_batch(BatchSpace::ForeignGrant(Domid(5)), &mut entries)
        }
        .unwrap_err();
        assert_eq!((error.first, error.errno), (1, Errno::EINVAL));
        assert_eq!(
            entries.iter().map(|entry| entry.result).collect::<Vec<_>>(),
            [Some(Ok(())), Some(Err(Errno::EINVAL)), Some(Ok(()))]
        );
    }

    /// A batch of two entries, to the whole and to each of which this is answered.
    fn two(whole: isize, each: [i32; 2]) -> Result<(), BatchError> {
        let xen = Script::new().argument(command::AddToPhysmapBatch, |asked| {
            each.into_iter()
                .enumerate()
                .for_each(|(position, error)| answer(asked, position, error));
            whole
        });
        // SAFETY: the script touches no memory.
        unsafe { Memory::new(&xen).add_to_physmap_batch(BatchSpace::GrantTable, &mut entries(2)) }
    }

    #[test]
    fn what_xen_does_not_say_of_an_entry_is_no_success() {
        assert_eq!(two(0, [0, 0]), Ok(()));
        for silence in [NOT_REACHED, 5, -5000] {
            assert_eq!(two(0, [0, silence]), Err(BatchError { first: 1, errno: Errno::ENODATA }));
        }
    }

    #[test]
    fn an_error_names_an_entry_or_is_none() {
        assert_eq!(
            two(errno(Errno::EFAULT), [0, NOT_REACHED]),
            Err(BatchError { first: 1, errno: Errno::EFAULT })
        );
        assert_eq!(two(errno(Errno::EFAULT), [0, 0]), Ok(()));
    }

    #[test]
    fn an_error_of_the_whole_leaves_the_rest_without_a_result() {
        let xen = Script::new()
            .argument(command::AddToPhysmapBatch, |asked| {
                (0..LIST).for_each(|position| answer(asked, position, 0));
                0
            })
            .argument(command::AddToPhysmapBatch, |asked| {
                answer(asked, 0, 0);
                errno(Errno::EFAULT)
            });
        let mut entries = entries(LIST as u64 * 3);
        // SAFETY: the script touches no memory.
        let error =
            unsafe { Memory::new(&xen).add_to_physmap_batch(BatchSpace::GrantTable, &mut entries) }
                .unwrap_err();
        assert_eq!((error.first, error.errno), (LIST + 1, Errno::EFAULT));
        assert_eq!(entries.iter().filter(|entry| entry.result == Some(Ok(()))).count(), LIST + 1);
        assert_eq!(entries.iter().filter(|entry| entry.result.is_none()).count(), LIST * 2 - 1);
    }
}
