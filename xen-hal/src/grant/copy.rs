//! Copies bytes between domains through Xen.

use core::ptr::NonNull;

use xen_pac::base::{Domid, XenPfn};
use xen_pac::grant_table::{
    GnttabCopy, GnttabCopyPtr, GnttabCopyPtrU, GrantStatus, command, grant_copy_flags,
};

use super::{ForeignGrant, GrantError, Grants, NOT_REACHED, element};
use crate::hypercall::{Commands, Hypercall};
use crate::platform::{AddressSpace, Frame, PAGE_SIZE};

/// The number of copies per hypercall. Their arguments are on the stack.
pub(super) const LIST: usize = 16;

/// The page that a copy reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    /// A page that another domain grants.
    Grant(ForeignGrant),
    /// A frame of this domain.
    Own(Frame),
}

/// A request to copy bytes from one page to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRequest {
    /// The page to read, and the offset of the first byte.
    pub from: (CopyEnd, u16),
    /// The page to write, and the offset of the first byte.
    pub to: (CopyEnd, u16),
    /// The number of bytes. They must lie within both pages.
    pub length: u16,
    /// The result; `None` before the copy was attempted.
    pub result: Option<Result<(), GrantError>>,
}

impl CopyRequest {
    /// Creates a request without a result.
    #[must_use]
    pub const fn new(from: (CopyEnd, u16), to: (CopyEnd, u16), length: u16) -> Self {
        Self { from, to, length, result: None }
    }
}

impl<H: Hypercall> Grants<H> {
    /// Asks Xen to make the copies. Upstream: `GNTTABOP_copy`.
    ///
    /// A copy that fails does not stop the others: after an error, look at each result.
    ///
    /// # Errors
    ///
    /// Returns the error of the first copy that failed: `BAD_COPY_ARG` for bytes beyond a page;
    /// otherwise the errors of [mapping a grant](super::MapError::error).
    ///
    /// # Safety
    ///
    /// Xen writes to the frames of this domain that are destinations, and reads those that are
    /// sources. The program must own the bytes that Xen writes, and must not use them during the
    /// call.
    pub unsafe fn copy(&self, copies: &mut [CopyRequest]) -> Result<(), GrantError> {
        copies.iter_mut().for_each(|copy| copy.result = None);
        for list in copies.chunks_mut(LIST) {
            // SAFETY: the caller's obligations are the same.
            unsafe { self.copy_list(list) };
        }
        copies.iter().find_map(|copy| copy.result?.err()).map_or(Ok(()), Err)
    }

    /// Fills `into` with bytes of a foreign grant, starting at `offset`, without mapping it.
    ///
    /// # Errors
    ///
    /// - [`GrantError::NotMapped`] if the address space has no frame for the buffer.
    /// - `BAD_COPY_ARG` for bytes beyond the page; otherwise the errors of [mapping a
    ///   grant](super::MapError::error).
    ///
    /// After an error, part of the buffer may have been written.
    pub fn copy_from_grant(
        &self,
        space: &(impl AddressSpace + ?Sized),
        from: ForeignGrant,
        offset: u16,
        into: &mut [u8],
    ) -> Result<(), GrantError> {
        let (address, length) = (into.as_mut_ptr(), into.len());
        let request =
            |own, foreign, count| CopyRequest::new((CopyEnd::Grant(from), foreign), own, count);
        // SAFETY: `into` is borrowed exclusively for the call, and Xen writes only its bytes.
        unsafe { self.transfer(space, address, length, offset, request) }
    }

    /// Writes `from` to a foreign grant that permits writing, starting at `offset`, without mapping
    /// it.
    ///
    /// # Errors
    ///
    /// As for [`copy_from_grant`](Self::copy_from_grant). After an error, part of the page may have
    /// been written.
    pub fn copy_to_grant(
        &self,
        space: &(impl AddressSpace + ?Sized),
        from: &[u8],
        to: ForeignGrant,
        offset: u16,
    ) -> Result<(), GrantError> {
        let (address, length) = (from.as_ptr().cast_mut(), from.len());
        let request =
            |own, foreign, count| CopyRequest::new(own, (CopyEnd::Grant(to), foreign), count);
        // SAFETY: `from` is borrowed for the call, and Xen only reads its bytes.
        unsafe { self.transfer(space, address, length, offset, request) }
    }

    /// Copies between a foreign grant and `length` bytes at `address`. `request` decides which of
    /// the two is the source.
    ///
    /// # Safety
    ///
    /// The bytes must be valid during the call: for reads if `request` makes them the source;
    /// otherwise for writes, and then nothing else may use them during the call.
    unsafe fn transfer(
        &self,
        space: &(impl AddressSpace + ?Sized),
        address: *mut u8,
        length: usize,
        offset: u16,
        request: impl Fn((CopyEnd, u16), u16, u16) -> CopyRequest,
    ) -> Result<(), GrantError> {
        if length > PAGE_SIZE.saturating_sub(offset.into()) {
            return Err(GrantError::Status(GrantStatus::BAD_COPY_ARG));
        }
        if length == 0 {
            return Ok(());
        }
        // Xen reads or writes the bytes by their frame, so their provenance is exposed.
        address.expose_provenance();
        let copy = |done: usize, count: usize| -> Result<_, GrantError> {
            let place = NonNull::new(address.wrapping_add(done)).ok_or(GrantError::NotMapped(0))?;
            let frame = space.frame_of(place).ok_or(GrantError::NotMapped(place.addr().get()))?;
            let within = place.addr().get() % PAGE_SIZE;
            // Each is at most a page's size, so it fits.
            Ok(request(
                (CopyEnd::Own(frame), within as u16),
                offset.saturating_add(done as u16),
                count as u16,
            ))
        };
        // The bytes lie in one page or two. There is one hypercall for both cases.
        let first = length.min(PAGE_SIZE - address.addr() % PAGE_SIZE);
        let one = copy(0, first)?;
        if first == length {
            // SAFETY: the caller guarantees that the bytes may be used so, and they lie in the
            // frame that the address space names.
            return unsafe { self.copy(&mut [one]) };
        }
        let mut both = [one, copy(first, length - first)?];
        // SAFETY: as above.
        unsafe { self.copy(&mut both) }
    }

    /// # Safety
    ///
    /// As for `copy`. There are at most [`LIST`] copies.
    unsafe fn copy_list(&self, copies: &mut [CopyRequest]) {
        let mut arguments = [GnttabCopy::ZEROED; LIST];
        let Some(arguments) = arguments.get_mut(..copies.len()) else { return };
        for (copy, argument) in copies.iter_mut().zip(arguments.iter_mut()) {
            match copy.argument() {
                Some(made) => *argument = made,
                // For an argument of zeros, Xen copies no bytes. The result stays as set here.
                None => copy.result = Some(Err(GrantError::Status(GrantStatus::BAD_PAGE))),
            }
        }
        // SAFETY: the arguments hold no pointer; the caller's obligations are the same.
        let answer = unsafe { self.xen.call_unchecked(command::Copy, arguments) };
        for (copy, argument) in copies.iter_mut().zip(arguments) {
            copy.result = copy.result.or_else(|| Some(element(answer, argument.status)));
        }
    }
}

impl CopyRequest {
    /// Returns the argument; `None` for a frame that does not fit, because 32-bit x86 has 32 bits
    /// for it.
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

/// Returns an end as an argument holds it, and whether it is a grant. For a frame, the domain must
/// be SELF and not the domain's own number.
fn end((end, offset): (CopyEnd, u16)) -> Option<(GnttabCopyPtr, bool)> {
    Some(match end {
        CopyEnd::Grant(ForeignGrant { domain, reference }) => {
            (GnttabCopyPtr::new(GnttabCopyPtrU::from_reference(reference.0), domain, offset), true)
        }
        CopyEnd::Own(Frame(frame)) => {
            #[allow(clippy::useless_conversion, reason = "the types differ on 32-bit x86")]
            let frame: XenPfn = frame.try_into().ok()?;
            (GnttabCopyPtr::new(GnttabCopyPtrU::from_gmfn(frame), Domid::SELF, offset), false)
        }
    })
}
