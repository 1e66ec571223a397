//! Copies that Xen makes between domains.

use core::fmt;
use core::ptr::NonNull;

use xen_pac::base::{Domid, XenPfn};
use xen_pac::grant_table::{
    GnttabCopy, GnttabCopyPtr, GnttabCopyPtrU, GrantStatus, command, grant_copy_flags,
};

use super::status::{NOT_REACHED, element};
use super::{Error, ForeignGrant, Grants};
use crate::hypercall::{Commands, Hypercall};
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

/// How many copies one hypercall asks for: their arguments lie on the stack.
const LIST: usize = 16;

/// Where the bytes of a copy are, or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    /// In a page that another domain lends.
    Grant(ForeignGrant),
    /// In a frame of this domain.
    Own(Frame),
}

/// A copy within one page each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRequest {
    /// The page from which, and the first byte in it.
    pub from: (CopyEnd, u16),
    /// The page to which, and the first byte in it.
    pub to: (CopyEnd, u16),
    /// How many bytes. Neither page may end before.
    pub length: u16,
    /// How it went; `None` until it was tried.
    pub result: Option<Result<(), Error>>,
}

impl CopyRequest {
    /// A copy that is yet to be made.
    #[must_use]
    pub const fn new(from: (CopyEnd, u16), to: (CopyEnd, u16), length: u16) -> Self {
        Self { from, to, length, result: None }
    }
}

/// Not all of the copies were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyFailedError {
    /// The first copy that was not made, counted from 0.
    pub first: usize,
    /// Why. `BAD_COPY_ARG` for bytes beyond a page; otherwise as when a grant is
    /// [mapped](super::MapFailedError::error).
    pub error: Error,
}

impl fmt::Display for CopyFailedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "copy {} failed: {}", self.first, self.error)
    }
}

impl core::error::Error for CopyFailedError {}

impl<H: Hypercall> Grants<H> {
    /// Has Xen make copies. Upstream: `GNTTABOP_copy`.
    ///
    /// A copy that fails does not stop the others: after an error look at each result.
    ///
    /// # Errors
    ///
    /// When at least one copy was not made.
    ///
    /// # Safety
    ///
    /// Xen writes to the frames of this domain that are destinations, and reads those that are
    /// sources: the bytes must be this program's to have written, and nobody may rely on them
    /// meanwhile.
    pub unsafe fn copy(&self, copies: &mut [CopyRequest]) -> Result<(), CopyFailedError> {
        copies.iter_mut().for_each(|copy| copy.result = None);
        for list in copies.chunks_mut(LIST) {
            // SAFETY: the caller's promise is the same.
            unsafe { self.copy_list(list) };
        }
        let failure = copies
            .iter()
            .zip(0..)
            .find_map(|(copy, first)| Some(CopyFailedError { first, error: copy.result?.err()? }));
        failure.map_or(Ok(()), Err)
    }

    /// Fills `into` with bytes of a page that another domain lends, from `offset` on, without
    /// mapping it.
    ///
    /// # Errors
    ///
    /// - [`Error::NotMapped`] where the address space does not know the buffer.
    /// - A status: `BAD_COPY_ARG` for bytes beyond the page; otherwise as when a grant is
    ///   [mapped](super::MapFailedError::error).
    ///
    /// After an error the buffer may have been written in part.
    pub fn fetch(
        &self,
        space: &(impl AddressSpace + ?Sized),
        from: ForeignGrant,
        offset: u16,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let (address, length) = (into.as_mut_ptr(), into.len());
        self.transfer(space, address, length, offset, |own, foreign, count| {
            CopyRequest::new((CopyEnd::Grant(from), foreign), own, count)
        })
    }

    /// Writes `from` to a page that another domain lends for writing, from `offset` on, without
    /// mapping it.
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch). After an error the page may have been written in part.
    pub fn store(
        &self,
        space: &(impl AddressSpace + ?Sized),
        from: &[u8],
        to: ForeignGrant,
        offset: u16,
    ) -> Result<(), Error> {
        let (address, length) = (from.as_ptr().cast_mut(), from.len());
        self.transfer(space, address, length, offset, |own, foreign, count| {
            CopyRequest::new(own, (CopyEnd::Grant(to), foreign), count)
        })
    }

    /// Copies between a page of another domain and `length` bytes at `address`, which `request`
    /// names as the source or the destination, and which must be the caller's to be used so.
    fn transfer(
        &self,
        space: &(impl AddressSpace + ?Sized),
        address: *mut u8,
        length: usize,
        offset: u16,
        request: impl Fn((CopyEnd, u16), u16, u16) -> CopyRequest,
    ) -> Result<(), Error> {
        if length > PAGE_SIZE.saturating_sub(offset.into()) {
            return Err(Error::noticed(GrantStatus::BAD_COPY_ARG));
        }
        // Xen reads or writes the bytes by their frame: from here on the compiler must expect it.
        address.expose_provenance();
        let mut done = 0;
        while done < length {
            let place = NonNull::new(address.wrapping_add(done)).ok_or(Error::NotMapped(0))?;
            let within = place.addr().get() % PAGE_SIZE;
            let count = (length - done).min(PAGE_SIZE - within);
            let frame = space.frame_of(place).ok_or(Error::NotMapped(place.addr().get()))?;
            // Each is at most a page's size, and fits.
            let copy = request(
                (CopyEnd::Own(frame), within as u16),
                offset.saturating_add(done as u16),
                count as u16,
            );
            // SAFETY: the bytes are those of a slice which the caller borrows for this, and lie in
            // the frame that the address space names.
            unsafe { self.copy(&mut [copy]) }.map_err(|failed| failed.error)?;
            done += count;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// As for `copy`; there are at most [`LIST`] copies.
    unsafe fn copy_list(&self, copies: &mut [CopyRequest]) {
        let mut arguments = [GnttabCopy::ZEROED; LIST];
        let Some(arguments) = arguments.get_mut(..copies.len()) else { return };
        for (copy, argument) in copies.iter_mut().zip(arguments.iter_mut()) {
            match copy.argument() {
                Some(made) => *argument = made,
                // Without bytes nothing is copied, whatever else the argument says; the result is
                // kept.
                None => copy.result = Some(Err(Error::noticed(GrantStatus::BAD_PAGE))),
            }
        }
        // SAFETY: the arguments hold no pointer; the rest is the caller's promise.
        let answer = unsafe { self.xen.call_unchecked(command::Copy, arguments) };
        for (copy, argument) in copies.iter_mut().zip(arguments) {
            copy.result = copy.result.or_else(|| Some(element(answer, argument.status)));
        }
    }
}

impl CopyRequest {
    /// The argument; `None` for a frame that it cannot hold, which on 32-bit x86 has 32 bits.
    fn argument(&self) -> Option<GnttabCopy> {
        let (source, from_grant) = end(self.from)?;
        let (destination, to_grant) = end(self.to)?;
        let mut flags = 0;
        if from_grant {
            flags |= grant_copy_flags::SOURCE_GREF.val(1).value;
        }
        if to_grant {
            flags |= grant_copy_flags::DEST_GREF.val(1).value;
        }
        let mut argument = GnttabCopy::new(source, destination, self.length, flags);
        argument.status = NOT_REACHED;
        Some(argument)
    }
}

/// An end as an argument holds it, and whether it is a grant. A frame's domain must be SELF, and
/// nothing else that means the caller.
fn end((end, offset): (CopyEnd, u16)) -> Option<(GnttabCopyPtr, bool)> {
    Some(match end {
        CopyEnd::Grant(ForeignGrant { domain, reference }) => {
            (GnttabCopyPtr::new(GnttabCopyPtrU::from_reference(reference), domain, offset), true)
        }
        CopyEnd::Own(Frame(frame)) => {
            #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
            let frame: XenPfn = frame.try_into().ok()?;
            (GnttabCopyPtr::new(GnttabCopyPtrU::from_gmfn(frame), Domid::SELF, offset), false)
        }
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::grant::page::tests::Everywhere;
    use crate::hypercall::Errno;
    use crate::testing::{Script, errno};

    const THEIRS: ForeignGrant = ForeignGrant { domain: Domid(3), reference: 77 };

    /// Every page has the frame that its address says, plus one.
    struct Shifted;

    // SAFETY: the script touches no frame.
    unsafe impl AddressSpace for Shifted {
        fn frame_of(&self, pointer: NonNull<u8>) -> Option<Frame> {
            Some(Frame(Frame::containing(pointer.addr().get() as u64).0 + 1))
        }
    }

    #[test]
    fn each_copy_of_a_list_has_its_result() {
        let xen = Script::new()
            .array(command::Copy, |asked| {
                assert_eq!(asked.len(), LIST);
                asked.iter_mut().for_each(|copy| copy.status = GrantStatus::OKAY);
                asked[5].status = GrantStatus::BAD_GNTREF;
                0
            })
            .array(command::Copy, |asked| {
                assert_eq!(asked.len(), 2);
                asked[0].status = GrantStatus::OKAY;
                errno(Errno::EFAULT)
            });
        let mut copies =
            [CopyRequest::new((CopyEnd::Grant(THEIRS), 1), (CopyEnd::Own(Frame(9)), 2), 3);
                LIST + 2];
        // SAFETY: the script touches no memory.
        let failed = unsafe { Grants::new(&xen).copy(&mut copies) }.unwrap_err();
        assert_eq!((failed.first, failed.error), (5, Error::noticed(GrantStatus::BAD_GNTREF)));
        assert_eq!(copies[LIST].result, Some(Ok(())));
        assert_eq!(copies[LIST + 1].result, Some(Err(Error::Errno(Errno::EFAULT))));
        assert_eq!(copies.iter().filter(|copy| copy.result == Some(Ok(()))).count(), LIST);
    }

    #[test]
    fn a_buffer_over_two_pages_is_filled_by_two_copies() {
        #[repr(align(4096))]
        struct Pages([u8; 2 * PAGE_SIZE]);
        let mut pages = std::boxed::Box::new(Pages([0; 2 * PAGE_SIZE]));
        let first = Frame::containing(pages.0.as_ptr().addr() as u64).0 + 1;
        let xen = Script::new()
            .array(command::Copy, |asked| {
                let copy = asked[0];
                assert_eq!(
                    (copy.source.u.reference(), copy.source.domid, copy.source.offset),
                    (77, Domid(3), 100)
                );
                assert_eq!(
                    (copy.dest.u.gmfn(), copy.dest.domid, copy.dest.offset),
                    (first, Domid::SELF, 4000)
                );
                assert_eq!(
                    (copy.len, copy.flags),
                    (96, grant_copy_flags::SOURCE_GREF.val(1).value)
                );
                asked[0].status = GrantStatus::OKAY;
                0
            })
            .array(command::Copy, |asked| {
                let copy = asked[0];
                assert_eq!(
                    (copy.source.offset, copy.dest.u.gmfn(), copy.dest.offset, copy.len),
                    (196, first + 1, 0, 104)
                );
                asked[0].status = GrantStatus::OKAY;
                0
            });
        Grants::new(&xen).fetch(&Shifted, THEIRS, 100, &mut pages.0[4000..4200]).unwrap();
    }

    #[test]
    fn bytes_are_stored_into_a_grant() {
        let xen = Script::new().array(command::Copy, |asked| {
            assert_eq!(
                (asked[0].source.u.gmfn(), asked[0].dest.u.reference(), asked[0].dest.offset),
                (5, 77, 4093)
            );
            assert_eq!(
                (asked[0].len, asked[0].flags),
                (3, grant_copy_flags::DEST_GREF.val(1).value)
            );
            asked[0].status = GrantStatus::PERMISSION_DENIED;
            0
        });
        let bytes = std::boxed::Box::new(*b"abc");
        let result = Grants::new(&xen).store(&Everywhere(5), &*bytes, THEIRS, 4093);
        assert_eq!(result, Err(Error::noticed(GrantStatus::PERMISSION_DENIED)));
    }

    #[test]
    fn what_goes_beyond_the_page_is_not_tried() {
        let xen = Script::new();
        let grants = Grants::new(&xen);
        let beyond = Err(Error::noticed(GrantStatus::BAD_COPY_ARG));
        assert_eq!(grants.fetch(&Everywhere(5), THEIRS, 4094, &mut [0; 3]), beyond);
        assert_eq!(grants.fetch(&Everywhere(5), THEIRS, u16::MAX, &mut [0; 1]), beyond);
        assert_eq!(grants.fetch(&Everywhere(5), THEIRS, 4096, &mut []), Ok(()));
    }
}
