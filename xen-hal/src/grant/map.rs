//! Pages that other domains lend, mapped into this one.

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
    /// Returns the target at `page`.
    ///
    /// Use a frame that has no RAM: one that never had any, or whose RAM was returned
    /// ([`Memory::decrease_reservation`](crate::memory::Memory::decrease_reservation)). RAM that is
    /// there when a grant is mapped is lost, and does not come back when the mapping ends.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Misaligned`] and [`MemoryError::NotMapped`]; [`MemoryError::OutOfReach`] for
    /// the frame at address 0, from which no mapping could be unmapped.
    ///
    /// # Safety
    ///
    /// For all of `'a`, which the caller chooses:
    /// - the guest's page tables map `page` to its frame, with the caching of ordinary memory;
    /// - nothing is kept in the frame, and it is used only through this value and the mappings made
    ///   with it (on x86, mapping a grant over another grant crashes the domain);
    /// - the domain is not restored, which would leave nothing at the frame.
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

/// Which page to map, and where.
#[derive(Debug)]
pub struct MapRequest<'a> {
    /// The other domain's page.
    pub of: ForeignGrant,
    /// What the mapping is for. A grant that permits only reading can only be mapped for that.
    pub access: Access,
    /// Where to map it.
    pub target: MapTarget<'a>,
}

/// A page of another domain that is mapped here. Dropping it unmaps the page, if Xen permits.
///
/// The other domain may change the page at any moment: copy what is read from it, and check the
/// copy.
#[must_use = "dropping a mapping unmaps it"]
pub struct Mapping<'a, H: Hypercall> {
    link: Link<H>,
    target: MapTarget<'a>,
    bytes: Bytes,
    access: Access,
}

/// Xen's side of a mapping. Dropping it unmaps the page.
struct Link<H: Hypercall> {
    xen: H,
    address: NonZeroU64,
    handle: GrantHandle,
    of: ForeignGrant,
    mapped: bool,
}

/// A page was not mapped. The target is returned.
#[derive(Debug)]
#[non_exhaustive]
pub struct MapError<'a> {
    /// The page.
    pub of: ForeignGrant,
    /// The target, which is unused.
    pub target: MapTarget<'a>,
    /// The reason.
    ///
    /// - `BAD_DOMAIN`: the domain does not exist, or was `SELF`.
    /// - `BAD_GNTREF`: the reference is beyond the table.
    /// - `GENERAL_ERROR`: the page is not lent, or to another domain, or only for reading.
    /// - `PERMISSION_DENIED`: the security policy forbids it. Arm's default does between any two
    ///   guests.
    /// - `NO_SPACE` (`NO_DEVICE_SPACE` to Xen 4.15): this domain may have no more mappings.
    /// - `EAGAIN`: it may succeed later.
    pub error: GrantError,
}

impl fmt::Display for MapError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map {}: {}", self.of, self.error)
    }
}

impl core::error::Error for MapError<'_> {}

/// A page was not unmapped. The mapping is returned.
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
    /// Maps a page that another domain lends. Upstream: `GNTTABOP_map_grant_ref`.
    ///
    /// # Errors
    ///
    /// [`MapError`], with the target.
    ///
    /// # Safety
    ///
    /// On x86, the grant is not one of this domain, or nothing uses the page that it lends.
    ///
    /// There a page of the domain has one place, so a mapping of its own grant moves it to the
    /// target; a failed one may unmap it too (seen on Xen 4.17). At its old frame, to which its
    /// [`Page`](super::Page) points, nothing is left: reads return all ones, and copies are refused
    /// with `BAD_PAGE`. Once unmapped from the target, the page is lost, although Xen counts it.
    /// The frame has memory again after it is
    /// [populated](crate::memory::Memory::populate_physmap). Copies do not move a page.
    pub unsafe fn map<'a>(&self, request: MapRequest<'a>) -> Result<Mapping<'a, H>, MapError<'a>> {
        // SAFETY: the caller's obligations are the same.
        let [result] = unsafe { self.map_all([request]) };
        result
    }

    /// Maps several pages by one hypercall. Each has its own result.
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
            // SAFETY: nothing is kept at a target, and each value is the only one for its address.
            // The caller's obligations for the pages are the same.
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
                    // SAFETY: the page is mapped there until the link ends, and used through the
                    // target alone.
                    let bytes = unsafe { Bytes::new(target.page) };
                    let link = Link { xen, address, handle, of, mapped: true };
                    Ok(Mapping { link, target, bytes, access })
                }
                Err(error) => Err(MapError { of, target, error }),
            }
        })
    }

    /// Unmaps several pages by one hypercall. Each has its own result. Upstream:
    /// `GNTTABOP_unmap_grant_ref`.
    pub fn unmap_all<'a, const N: usize>(
        &self,
        mappings: [Mapping<'a, H>; N],
    ) -> [Result<MapTarget<'a>, UnmapError<'a, H>>; N] {
        let mut arguments = mappings.each_ref().map(|mapping| mapping.link.argument());
        let answer = if N == 0 {
            Ok(())
        } else {
            // SAFETY: the mappings are moved here, so nothing points to the pages any more.
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
    /// Returns which page it is.
    #[must_use]
    pub const fn of(&self) -> ForeignGrant {
        self.link.of
    }

    /// Returns Xen's number of the mapping.
    #[must_use]
    pub const fn handle(&self) -> GrantHandle {
        self.link.handle
    }

    /// Fills `into` with the page's bytes from `offset` on. The copy orders nothing: see [`Bytes`].
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

    /// Unmaps the page. Upstream: `GNTTABOP_unmap_grant_ref`.
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
