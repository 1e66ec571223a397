//! Pages that other domains lend, mapped into this one.

use core::fmt;
use core::num::NonZeroU64;
use core::ptr::NonNull;

use xen_pac::grant_table::{
    GnttabMapGrantRef, GnttabUnmapGrantRef, GrantHandle, command, grant_map_flags,
};

use super::bytes::{Bytes, OutOfBounds, PageMemory};
use super::status::{NOT_REACHED, element};
use super::{Access, Error, ForeignGrant, Grants};
use crate::hypercall::{Commands, Hypercall};
use crate::memory::{PageError, frame_of_page};
use crate::platform::{AddressSpace, Frame};

/// A place for another domain's page: an address of this domain's at which nothing is.
pub struct MapTarget {
    page: NonNull<PageMemory>,
    /// The guest-physical address. Xen maps at address 0 too, but such a mapping could not be
    /// ended.
    address: NonZeroU64,
}

// SAFETY: a window is an address, of which there is one value.
unsafe impl Send for MapTarget {}
// SAFETY: as above.
unsafe impl Sync for MapTarget {}

impl MapTarget {
    /// The place behind `page`.
    ///
    /// Best is a frame that has no RAM, never had or no longer
    /// ([`Memory::decrease_reservation`](crate::memory::Memory::decrease_reservation)): RAM that is
    /// there when a grant is mapped disappears, and is not there when the mapping ends.
    ///
    /// # Errors
    ///
    /// [`PageError::Misaligned`] and [`PageError::NotMapped`]; [`PageError::OutOfReach`] for the
    /// frame at address 0, of which no mapping could be ended.
    ///
    /// # Safety
    ///
    /// From now on the guest's page tables map `page` to its frame, with the caching of ordinary
    /// memory; nothing is kept in the frame, and nobody uses it but through this value and the
    /// mappings made with it. (On x86, mapping a grant over another grant crashes the domain.)
    pub unsafe fn new(
        space: &(impl AddressSpace + ?Sized),
        page: NonNull<PageMemory>,
    ) -> Result<Self, PageError> {
        let frame = frame_of_page(space, page.cast())?;
        let address =
            frame.address().and_then(NonZeroU64::new).ok_or(PageError::OutOfReach(frame))?;
        Ok(Self { page, address })
    }

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        Frame::containing(self.address.get())
    }

    /// The pointer that the window was made from.
    #[must_use]
    pub const fn as_ptr(&self) -> NonNull<PageMemory> {
        self.page
    }
}

impl fmt::Debug for MapTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapTarget({:#x})", self.address)
    }
}

/// What is to be mapped, and where.
#[derive(Debug)]
pub struct MapRequest {
    /// The other domain's page.
    pub of: ForeignGrant,
    /// What for. A grant that permits reading only can be mapped for reading only.
    pub access: Access,
    /// Where.
    pub window: MapTarget,
}

/// A page of another domain's that is mapped here. The mapping ends when this is dropped, if Xen
/// lets it.
///
/// The other domain may change the page at any moment: what is read from it is worth nothing until
/// a copy of it is checked.
#[must_use = "a mapping that is dropped ends"]
pub struct Mapping<H: Hypercall> {
    link: Link<H>,
    window: MapTarget,
    bytes: Bytes,
    access: Access,
}

/// What Xen knows of a mapping, which it forgets when this is dropped.
struct Link<H: Hypercall> {
    xen: H,
    address: NonZeroU64,
    handle: GrantHandle,
    of: ForeignGrant,
    mapped: bool,
}

/// A page was not mapped. Here is its window.
#[derive(Debug)]
#[non_exhaustive]
pub struct MapFailedError {
    /// The page.
    pub of: ForeignGrant,
    /// The window, in which nothing is.
    pub window: MapTarget,
    /// Why.
    ///
    /// - `BAD_DOMAIN`: there is no such domain, or it was `SELF`.
    /// - `BAD_GNTREF`: the reference is beyond the table.
    /// - `GENERAL_ERROR`: it is not lent, or to another domain, or for reading only.
    /// - `PERMISSION_DENIED`: the security policy forbids it, which on Arm it does between any two
    ///   guests unless set up otherwise.
    /// - `NO_SPACE` (`NO_DEVICE_SPACE` to Xen 4.15): this domain may have no more mappings.
    /// - `EAGAIN`: later perhaps.
    pub error: Error,
}

impl fmt::Display for MapFailedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForeignGrant { domain, reference } = self.of;
        write!(f, "grant {reference} of domain {domain} cannot be mapped: {}", self.error)
    }
}

impl core::error::Error for MapFailedError {}

/// A mapping did not end. Here it is.
#[non_exhaustive]
pub struct UnmapFailedError<H: Hypercall> {
    /// The mapping, which holds.
    pub mapping: Mapping<H>,
    /// Why.
    pub error: Error,
}

impl<H: Hypercall> fmt::Debug for UnmapFailedError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnmapFailedError")
            .field("mapping", &self.mapping)
            .field("error", &self.error)
            .finish()
    }
}

impl<H: Hypercall> fmt::Display for UnmapFailedError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForeignGrant { domain, reference } = self.mapping.link.of;
        write!(
            f,
            "the mapping of grant {reference} of domain {domain} does not end: {}",
            self.error
        )
    }
}

impl<H: Hypercall> core::error::Error for UnmapFailedError<H> {}

impl<H: Hypercall + Copy> Grants<H> {
    /// Maps a page that another domain lends. Upstream: `GNTTABOP_map_grant_ref`.
    ///
    /// Beware of mapping a grant of one's own on x86 (seen on Xen 4.17): a page of the domain's has
    /// one place there, so it moves to the window. At its frame, where the [`Page`](super::Page)
    /// is, nothing is left: reads give all ones, and copies are refused with `BAD_PAGE`. After
    /// unmapping the page is nowhere, though the domain still has it by Xen's count; the frame has
    /// memory again, another page, once it is [populated](crate::memory::Memory::populate_physmap).
    /// Copies ([`fetch`](Self::fetch), [`store`](Self::store)) do not move it.
    ///
    /// # Errors
    ///
    /// [`MapFailedError`], with the window.
    pub fn map(&self, request: MapRequest) -> Result<Mapping<H>, MapFailedError> {
        let [result] = self.map_all([request]);
        result
    }

    /// Maps several pages by one hypercall; each has its own result.
    pub fn map_all<const N: usize>(
        &self,
        requests: [MapRequest; N],
    ) -> [Result<Mapping<H>, MapFailedError>; N] {
        let mut arguments = requests.each_ref().map(MapRequest::argument);
        // SAFETY: each window is a place at which nothing is kept, and there is no other value for
        // it.
        let answer = if N == 0 {
            Ok(())
        } else {
            unsafe { self.xen.call_unchecked(command::MapGrantRef, &mut arguments) }
        };
        let mut told = arguments.iter();
        requests.map(|request| {
            let (status, handle) =
                told.next().map_or((NOT_REACHED, 0), |argument| (argument.status, argument.handle));
            let MapRequest { of, access, window } = request;
            match element(answer, status) {
                Ok(()) => Ok(self.mapping(of, access, window, handle)),
                Err(error) => Err(MapFailedError { of, window, error }),
            }
        })
    }

    /// Ends several mappings by one hypercall; each has its own result. Upstream:
    /// `GNTTABOP_unmap_grant_ref`.
    pub fn unmap_all<const N: usize>(
        &self,
        mappings: [Mapping<H>; N],
    ) -> [Result<MapTarget, UnmapFailedError<H>>; N] {
        let mut arguments = mappings.each_ref().map(|mapping| mapping.link.argument());
        // SAFETY: the mappings are given away, so nothing points to the pages any more.
        let answer = if N == 0 {
            Ok(())
        } else {
            unsafe { self.xen.call_unchecked(command::UnmapGrantRef, &mut arguments) }
        };
        let mut told = arguments.iter();
        mappings.map(|mut mapping| {
            let status = told.next().map_or(NOT_REACHED, |argument| argument.status);
            match element(answer, status) {
                Ok(()) => {
                    mapping.link.mapped = false;
                    Ok(mapping.window)
                }
                Err(error) => Err(UnmapFailedError { mapping, error }),
            }
        })
    }

    fn mapping(
        &self,
        of: ForeignGrant,
        access: Access,
        window: MapTarget,
        handle: GrantHandle,
    ) -> Mapping<H> {
        let link = Link { xen: self.xen, address: window.address, handle, of, mapped: true };
        // SAFETY: the page is mapped there until the link ends, and whoever made the window
        // promised that nobody else uses it.
        let bytes = unsafe { Bytes::new(window.page) };
        Mapping { link, window, bytes, access }
    }
}

impl MapRequest {
    fn argument(&self) -> GnttabMapGrantRef {
        let map = grant_map_flags::HOST_MAP.val(1).value;
        let flags = match self.access {
            Access::ReadOnly => map | grant_map_flags::READONLY.val(1).value,
            Access::ReadWrite => map,
        };
        let mut argument = GnttabMapGrantRef::new(
            self.window.address.get(),
            flags,
            self.of.reference,
            self.of.domain,
        );
        argument.status = NOT_REACHED;
        argument
    }
}

impl<H: Hypercall> Link<H> {
    fn argument(&self) -> GnttabUnmapGrantRef {
        let mut argument = GnttabUnmapGrantRef::new(self.address.get(), 0, self.handle);
        argument.status = NOT_REACHED;
        argument
    }

    fn end(&mut self) -> Result<(), Error> {
        let mut argument = self.argument();
        // SAFETY: whoever ends the link has the mapping, so nothing else points to the page.
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
            // There is nobody to tell that it failed: the page stays mapped, and its window was
            // lost with the mapping.
            let _ = self.end();
        }
    }
}

impl<H: Hypercall> Mapping<H> {
    /// Whose page it is.
    #[must_use]
    pub const fn of(&self) -> ForeignGrant {
        self.link.of
    }

    /// Fills `into` with the page's bytes from `offset` on, which order nothing: see [`Bytes`].
    ///
    /// # Errors
    ///
    /// When they go beyond the page.
    pub fn copy_to(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.bytes.copy_to(offset, into)
    }

    /// The page's bytes for reading and writing; `None` where it is mapped for reading only.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        (self.access == Access::ReadWrite).then_some(&self.bytes)
    }

    /// Ends the mapping. Upstream: `GNTTABOP_unmap_grant_ref`.
    ///
    /// # Errors
    ///
    /// [`UnmapFailedError`], with the mapping.
    pub fn unmap(mut self) -> Result<MapTarget, UnmapFailedError<H>> {
        match self.link.end() {
            Ok(()) => Ok(self.window),
            Err(error) => Err(UnmapFailedError { mapping: self, error }),
        }
    }
}

impl<H: Hypercall> fmt::Debug for Mapping<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("of", &self.link.of)
            .field("window", &self.window)
            .field("access", &self.access)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::grant::page::tests::Everywhere;
    use crate::hypercall::Errno;
    use crate::testing::{Script, errno};
    use std::boxed::Box;
    use xen_pac::base::Domid;
    use xen_pac::grant_table::GrantStatus;

    const THEIRS: ForeignGrant = ForeignGrant { domain: Domid(3), reference: 77 };

    fn window(frame: u64) -> Result<MapTarget, PageError> {
        let page = NonNull::from(Box::leak(Box::new(PageMemory::new())));
        // SAFETY: the memory is leaked, and used by the window alone.
        unsafe { MapTarget::new(&Everywhere(frame), page) }
    }

    fn request(access: Access) -> MapRequest {
        MapRequest { of: THEIRS, access, window: window(0x20).unwrap() }
    }

    #[test]
    fn nothing_can_be_mapped_at_address_0() {
        assert_eq!(window(0).unwrap_err(), PageError::OutOfReach(Frame(0)));
        assert_eq!(window(1 << 52).unwrap_err(), PageError::OutOfReach(Frame(1 << 52)));
        assert_eq!(window(1).unwrap().frame(), Frame(1));
    }

    #[test]
    fn a_page_is_mapped_and_unmapped() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                assert_eq!(
                    (asked.len(), asked[0].host_addr, asked[0].dom, asked[0].reference),
                    (1, 0x2_0000, Domid(3), 77)
                );
                assert_eq!(asked[0].flags, grant_map_flags::HOST_MAP.val(1).value);
                (asked[0].status, asked[0].handle) = (GrantStatus::OKAY, 9);
                0
            })
            .array(command::UnmapGrantRef, |asked| {
                assert_eq!(
                    (asked.len(), asked[0].host_addr, asked[0].handle, asked[0].dev_bus_addr),
                    (1, 0x2_0000, 9, 0)
                );
                asked[0].status = GrantStatus::OKAY;
                0
            });
        let mapping = Grants::new(&xen).map(request(Access::ReadWrite)).unwrap();
        mapping.bytes().unwrap().copy_from(4095, b"x").unwrap();
        let mut byte = [0];
        mapping.copy_to(4095, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert_eq!(mapping.unmap().unwrap().frame(), Frame(0x20));
    }

    #[test]
    fn a_mapping_that_is_dropped_ends() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                assert_eq!(
                    asked[0].flags,
                    grant_map_flags::HOST_MAP.val(1).value | grant_map_flags::READONLY.val(1).value
                );
                asked[0].status = GrantStatus::OKAY;
                0
            })
            .array(command::UnmapGrantRef, |asked| {
                asked[0].status = GrantStatus::OKAY;
                0
            });
        let mapping = Grants::new(&xen).map(request(Access::ReadOnly)).unwrap();
        assert!(mapping.bytes().is_none());
        drop(mapping);
        xen.done();
    }

    #[test]
    fn a_mapping_that_does_not_end_is_handed_back() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                asked[0].status = GrantStatus::OKAY;
                0
            })
            .array(command::UnmapGrantRef, |asked| {
                asked[0].status = GrantStatus::BAD_HANDLE;
                0
            })
            .array(command::UnmapGrantRef, |_| errno(Errno::EFAULT));
        let mapping = Grants::new(&xen).map(request(Access::ReadOnly)).unwrap();
        let failed = mapping.unmap().unwrap_err();
        assert_eq!(
            (failed.error, failed.mapping.of()),
            (Error::noticed(GrantStatus::BAD_HANDLE), THEIRS)
        );
    }

    #[test]
    fn of_several_each_has_its_result_even_when_the_call_fails() {
        let xen = Script::new()
            .array(command::MapGrantRef, |asked| {
                asked[0].status = GrantStatus::OKAY;
                asked[1].status = GrantStatus::NO_SPACE;
                errno(Errno::EFAULT)
            })
            .array(command::UnmapGrantRef, |asked| {
                asked[0].status = GrantStatus::OKAY;
                0
            });
        let grants = Grants::new(&xen);
        let [first, second, third] = grants.map_all([(); 3].map(|()| request(Access::ReadOnly)));
        assert_eq!(second.unwrap_err().error, Error::noticed(GrantStatus::NO_SPACE));
        assert_eq!(third.unwrap_err().error, Error::Errno(Errno::EFAULT));
        let [window] = grants.unmap_all([first.unwrap()]);
        assert_eq!(window.unwrap().frame(), Frame(0x20));
        assert!(grants.map_all([]).is_empty());
    }
}
