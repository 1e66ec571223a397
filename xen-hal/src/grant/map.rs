//! Maps foreign grants into this domain.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU64;
use core::ptr::NonNull;

use xen_pac::grant_table::{GnttabMapGrantRef, GnttabUnmapGrantRef, command, grant_map_flags};

use super::{
    Access, Bytes, ForeignGrant, GrantError, GrantHandle, Grants, NOT_REACHED, PageMemory, element,
};
use crate::hypercall::{Commands, Hypercall};
use crate::memory::{MemoryError, frame_of_page};
use crate::platform::{AddressSpace, Frame};

/// An unused address at which a foreign page can be mapped. It stays usable for all of `'a`.
pub struct MapTarget<'a> {
    page: NonNull<PageMemory>,
    /// The guest-physical address. Xen also maps at address 0, but cannot unmap from there.
    address: NonZeroU64,
    mapped: PhantomData<&'a ()>,
}

// SAFETY: the value is an address, and the only value for that address.
unsafe impl Send for MapTarget<'_> {}
// SAFETY: as above.
unsafe impl Sync for MapTarget<'_> {}

impl MapTarget<'_> {
    /// Creates the target at `page`.
    ///
    /// Use a frame that has no RAM: one that never had any, or whose RAM was returned
    /// ([`Memory::decrease_reservation`](crate::memory::Memory::decrease_reservation)). If the
    /// frame has RAM when a grant is mapped there, that RAM is lost, also after the mapping ends.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Misaligned`] and [`MemoryError::NotMapped`]; [`MemoryError::OutOfReach`] for
    /// the frame at address 0, from which Xen cannot unmap.
    ///
    /// # Safety
    ///
    /// For all of `'a`, which the caller chooses:
    /// - the guest's page tables map `page` to its frame, with the caching of ordinary memory;
    /// - the frame holds no data in use, and is accessed only through this value and the mappings
    ///   made with it (on x86, mapping a grant over another grant crashes the domain);
    /// - the domain is not restored, because a restore unmaps the frame.
    pub unsafe fn new(
        space: &(impl AddressSpace + ?Sized),
        page: NonNull<PageMemory>,
    ) -> Result<Self, MemoryError> {
        let frame = frame_of_page(space, page.cast())?;
        let address =
            frame.address().and_then(NonZeroU64::new).ok_or(MemoryError::OutOfReach(frame))?;
        Ok(Self { page, address, mapped: PhantomData })
    }

    /// Returns the frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        Frame::containing(self.address.get())
    }

    /// Returns the pointer that the target was made from.
    #[must_use]
    pub const fn as_ptr(&self) -> NonNull<PageMemory> {
        self.page
    }
}

impl fmt::Debug for MapTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapTarget({:#x})", self.address)
    }
}

/// The grant to map, and the target.
#[derive(Debug)]
pub struct MapRequest<'a> {
    /// The foreign grant.
    pub of: ForeignGrant,
    /// The access of the mapping. A read-only grant can only be mapped for reading.
    pub access: Access,
    /// Where to map the page.
    pub target: MapTarget<'a>,
}

/// A mapped foreign grant. Dropping it unmaps the page, if Xen permits.
///
/// The other domain may change the page at any moment: copy the data, check the copy, then use the
/// copy.
#[must_use = "dropping a mapping unmaps it"]
pub struct Mapping<'a, H: Hypercall> {
    link: Link<H>,
    target: MapTarget<'a>,
    bytes: Bytes,
    access: Access,
}

/// A mapping in Xen. Dropping it unmaps the page.
struct Link<H: Hypercall> {
    xen: H,
    address: NonZeroU64,
    handle: GrantHandle,
    of: ForeignGrant,
    mapped: bool,
}

/// A page was not mapped. Holds the target.
#[derive(Debug)]
#[non_exhaustive]
pub struct MapError<'a> {
    /// The foreign grant.
    pub of: ForeignGrant,
    /// The target, which is unused.
    pub target: MapTarget<'a>,
    /// The reason.
    ///
    /// - `BAD_DOMAIN`: the domain does not exist, or was `SELF`.
    /// - `BAD_GNTREF`: the reference is beyond the table.
    /// - `GENERAL_ERROR`: the reference grants no page, or grants it to a different domain, or only
    ///   for reading.
    /// - `PERMISSION_DENIED`: the security policy forbids it. Arm's default policy forbids it
    ///   between any two guests.
    /// - `NO_SPACE` (`NO_DEVICE_SPACE` up to Xen 4.15): this domain has reached its limit of
    ///   mappings.
    /// - `EAGAIN`: a later attempt may succeed.
    pub error: GrantError,
}

impl fmt::Display for MapError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map {}: {}", self.of, self.error)
    }
}

impl core::error::Error for MapError<'_> {}

/// A page was not unmapped. Holds the mapping.
#[non_exhaustive]
pub struct UnmapError<'a, H: Hypercall> {
    /// The mapping, which is unchanged.
    pub mapping: Mapping<'a, H>,
    /// The reason.
    pub error: GrantError,
}

impl<H: Hypercall> fmt::Debug for UnmapError<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnmapError")
            .field("mapping", &self.mapping)
            .field("error", &self.error)
            .finish()
    }
}

impl<H: Hypercall> fmt::Display for UnmapError<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot unmap {}: {}", self.mapping.of(), self.error)
    }
}

impl<H: Hypercall> core::error::Error for UnmapError<'_, H> {}

impl<H: Hypercall + Copy> Grants<H> {
    /// Maps a foreign grant. Upstream: `GNTTABOP_map_grant_ref`.
    ///
    /// # Errors
    ///
    /// [`MapError`], which returns the target for another attempt.
    ///
    /// # Safety
    ///
    /// On x86, if the grant is this domain's own, no code may access the granted page at its old
    /// frame after this call, unless the frame is populated again.
    ///
    /// x86 maps each page of a domain at one frame only. Mapping the domain's own grant therefore
    /// moves the page to the target, even if the call fails (seen on Xen 4.17). The old frame, to
    /// which the [`Page`](super::Page) points, is then empty: reads return all ones, and grant
    /// copies fail with `BAD_PAGE`. Unmapping the target loses the page, which Xen still counts.
    /// [Populating](crate::memory::Memory::populate_physmap) the old frame gives it new memory.
    /// Grant copies do not move a page.
    pub unsafe fn map<'a>(&self, request: MapRequest<'a>) -> Result<Mapping<'a, H>, MapError<'a>> {
        // SAFETY: the caller's obligations are the same.
        let [result] = unsafe { self.map_all([request]) };
        result
    }

    /// Maps several grants with one hypercall. Each has its own result.
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map), for each of the pages.
    pub unsafe fn map_all<'a, const N: usize>(
        &self,
        requests: [MapRequest<'a>; N],
    ) -> [Result<Mapping<'a, H>, MapError<'a>>; N] {
        let mut arguments = requests.each_ref().map(MapRequest::argument);
        let answer = if N == 0 {
            Ok(())
        } else {
            // SAFETY: a target's frame holds no data in use, and each value is the only one for its
            // address. The caller's obligations for the pages are the same.
            unsafe { self.xen.call_unchecked(command::MapGrantRef, &mut arguments) }
        };
        let mut results = arguments.iter();
        requests.map(|request| {
            let (status, handle) = results
                .next()
                .map_or((NOT_REACHED, 0), |argument| (argument.status, argument.handle));
            let MapRequest { of, access, target } = request;
            match element(answer, status) {
                Ok(()) => {
                    let (xen, address, handle) = (self.xen, target.address, GrantHandle(handle));
                    // SAFETY: the page is mapped there until the link ends, and only the target
                    // gives access to it.
                    let bytes = unsafe { Bytes::new(target.page) };
                    let link = Link { xen, address, handle, of, mapped: true };
                    Ok(Mapping { link, target, bytes, access })
                }
                Err(error) => Err(MapError { of, target, error }),
            }
        })
    }

    /// Unmaps several grants with one hypercall. Each has its own result. Upstream:
    /// `GNTTABOP_unmap_grant_ref`.
    pub fn unmap_all<'a, const N: usize>(
        &self,
        mappings: [Mapping<'a, H>; N],
    ) -> [Result<MapTarget<'a>, UnmapError<'a, H>>; N] {
        let mut arguments = mappings.each_ref().map(|mapping| mapping.link.argument());
        let answer = if N == 0 {
            Ok(())
        } else {
            // SAFETY: the mappings were moved here, so nothing points to the pages.
            unsafe { self.xen.call_unchecked(command::UnmapGrantRef, &mut arguments) }
        };
        let mut results = arguments.iter();
        mappings.map(|mut mapping| {
            let status = results.next().map_or(NOT_REACHED, |argument| argument.status);
            match element(answer, status) {
                Ok(()) => {
                    mapping.link.mapped = false;
                    Ok(mapping.target)
                }
                Err(error) => Err(UnmapError { mapping, error }),
            }
        })
    }
}

impl MapRequest<'_> {
    fn argument(&self) -> GnttabMapGrantRef {
        let map = grant_map_flags::HOST_MAP.val(1).value;
        let flags = match self.access {
            Access::ReadOnly => map | grant_map_flags::READONLY.val(1).value,
            Access::ReadWrite => map,
        };
        let ForeignGrant { domain, reference } = self.of;
        let mut argument =
            GnttabMapGrantRef::new(self.target.address.get(), flags, reference.0, domain);
        argument.status = NOT_REACHED;
        argument
    }
}

impl<H: Hypercall> Link<H> {
    fn argument(&self) -> GnttabUnmapGrantRef {
        let mut argument = GnttabUnmapGrantRef::new(self.address.get(), 0, self.handle.0);
        argument.status = NOT_REACHED;
        argument
    }

    fn end(&mut self) -> Result<(), GrantError> {
        let mut argument = self.argument();
        // SAFETY: the mapping's owner calls this, so nothing else points to the page.
        let answer = unsafe {
            self.xen.call_unchecked(command::UnmapGrantRef, core::slice::from_mut(&mut argument))
        };
        element(answer, argument.status)?;
        self.mapped = false;
        Ok(())
    }
}

impl<H: Hypercall> Drop for Link<H> {
    fn drop(&mut self) {
        if self.mapped {
            // A failure cannot be reported. The page stays mapped; its target was dropped with the
            // mapping, so the address is not used again.
            let _ = self.end();
        }
    }
}

impl<'a, H: Hypercall> Mapping<'a, H> {
    /// Returns the foreign grant.
    #[must_use]
    pub const fn of(&self) -> ForeignGrant {
        self.link.of
    }

    /// Returns the number that Xen gave the mapping.
    #[must_use]
    pub const fn handle(&self) -> GrantHandle {
        self.link.handle
    }

    /// Fills `into` with the page's bytes that start at `offset`. The copy is not ordered with
    /// other accesses: see [`Bytes`].
    ///
    /// # Errors
    ///
    /// [`GrantError::OutOfBounds`]; nothing was copied.
    pub fn copy_to(&self, offset: usize, into: &mut [u8]) -> Result<(), GrantError> {
        self.bytes.copy_to(offset, into)
    }

    /// Returns the page's bytes for reading and writing; `None` if it is mapped only for reading.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        (self.access == Access::ReadWrite).then_some(&self.bytes)
    }

    /// Unmaps the page and returns the target. Upstream: `GNTTABOP_unmap_grant_ref`.
    ///
    /// # Errors
    ///
    /// [`UnmapError`], with the mapping.
    pub fn unmap(mut self) -> Result<MapTarget<'a>, UnmapError<'a, H>> {
        match self.link.end() {
            Ok(()) => Ok(self.target),
            Err(error) => Err(UnmapError { mapping: self, error }),
        }
    }
}

impl<H: Hypercall> fmt::Debug for Mapping<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("of", &self.link.of)
            .field("target", &self.target)
            .field("access", &self.access)
            .finish()
    }
}
