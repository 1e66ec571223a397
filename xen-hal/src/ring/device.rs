//! The frontend's ring of a device, with the pages that its requests grant.

use core::mem::ManuallyDrop;

use xen_pac::base::Domid;

use super::{DevicePage, FrontPosition, FrontRing, Protocol};
use crate::grant::{Access, Grant, GrantError, GrantRef, GrantTable};

/// A ring in one of a driver's pages. The other pages hold data. Dropping it withdraws all pages.
pub(crate) struct DeviceRing<'a, 't, P: Protocol> {
    ring: ManuallyDrop<FrontRing<Grant<'t>, P>>,
    ring_page: &'a mut DevicePage<'t>,
    pages: &'a mut [DevicePage<'t>],
    /// The page at which the next search starts.
    cursor: usize,
}

/// How a page that was granted before a suspend is used afterwards.
#[derive(Clone, Copy)]
pub(crate) enum PageUse {
    /// For a request without a response. After a restore, the page is granted again, and only this
    /// number of bytes at its start is kept.
    Lent(Access, usize),
    /// For a request with a response. After a restore, the page is not granted again with its
    /// content.
    Received,
}

/// What continues a ring after a suspend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspension {
    position: FrontPosition,
    /// The number of pages, that of the ring included.
    count: usize,
    /// The [`fingerprint`] of the pages.
    pages: u64,
}

impl Suspension {
    /// Returns the pages of the ring. Returns `None` if `pages` does not start with them, in the
    /// same order.
    fn own<'a, 't>(&self, pages: &'a mut [DevicePage<'t>]) -> Option<&'a mut [DevicePage<'t>]> {
        pages.get_mut(..self.count).filter(|pages| fingerprint(pages.iter()) == self.pages)
    }
}

/// Returns a hash of the pages' frames in their order: FNV-1a, with words instead of bytes. Other
/// pages, or another order, give a different one, except by an unlikely collision.
fn fingerprint<'p>(pages: impl Iterator<Item = &'p DevicePage<'p>>) -> u64 {
    pages.fold(0xcbf2_9ce4_8422_2325, |hash, page| {
        let frame = page.frame().map_or(u64::MAX, |frame| frame.0);
        (hash ^ frame).wrapping_mul(0x100_0000_01b3)
    })
}

impl<'a, 't, P: Protocol> DeviceRing<'a, 't, P> {
    /// Grants a page with an empty ring to `peer`. Returns `None` if fewer than two pages are free.
    /// Clears the pages, so the peer does not see their former content.
    pub(crate) fn new<H, A>(
        table: &GrantTable<'t, H, A>,
        peer: Domid,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Option<Self>, GrantError> {
        let mut free = 0;
        for index in 0..pages.len() {
            if pages[index].is_free(table) {
                pages[index].clear();
                // The first page holds the ring, and may be deferred.
                if free == 0 {
                    pages.swap(0, index);
                }
                free += 1;
            }
        }
        let Some((ring_page, pages)) = pages.split_first_mut().filter(|_| free >= 2) else {
            return Ok(None);
        };
        let ring = FrontRing::new(ring_page.lend_away(table, peer, Access::ReadWrite)?);
        Ok(Some(Self { ring: ManuallyDrop::new(ring), ring_page, pages, cursor: 0 }))
    }

    /// Gives up the ring, and defers the grants of all pages. The backend can still use them.
    pub(crate) fn suspend(self) -> Suspension {
        let mut ring = ManuallyDrop::new(self);
        for page in ring.pages.iter_mut() {
            page.defer();
            page.keep();
        }
        // SAFETY: nothing uses the ring after this.
        let (grant, position) = unsafe { ManuallyDrop::take(&mut ring.ring) }.into_parts();
        ring.ring_page.put_back_deferred(grant);
        ring.ring_page.keep();
        let count = 1 + ring.pages.len();
        let pages = fingerprint(core::iter::once(&*ring.ring_page).chain(ring.pages.iter()));
        Suspension { position, count, pages }
    }

    /// Continues a ring after a suspend, with the pages that it had; further pages are not used. If
    /// the suspend was cancelled, the backend still uses the ring. If the domain was restored, the
    /// pages are granted to the domain `restored`, with an empty ring. Of the former content, that
    /// domain sees only what [`PageUse::Lent`] keeps. Call [`take_responses`](Self::take_responses)
    /// first.
    ///
    /// `used` returns how a page is used; `None` if it is free. Returns `None` if the pages are not
    /// those of the ring in the same order, if a page in use was taken meanwhile, or if a grant
    /// cannot be withdrawn. Unless this succeeds, the pages stay deferred or free, and another
    /// attempt can succeed.
    pub(crate) fn resume<H, A>(
        table: &GrantTable<'t, H, A>,
        suspension: &mut Suspension,
        restored: Option<Domid>,
        pages: &'a mut [DevicePage<'t>],
        used: impl Fn(usize) -> Option<PageUse>,
    ) -> Result<Option<Self>, GrantError> {
        let own = suspension.own(pages).and_then(|pages| pages.split_first_mut());
        let Some((ring_page, pages)) = own else { return Ok(None) };
        let mut data = pages.iter().enumerate().filter(|(index, _)| used(*index).is_some());
        if !ring_page.is_kept() || data.any(|(_, page)| !page.is_kept()) {
            return Ok(None);
        }
        let grant = |page: &mut DevicePage<'t>, used| match (restored, used) {
            (Some(peer), PageUse::Lent(access, kept)) => {
                if !page.recover(table) {
                    return Ok(None);
                }
                page.clear_from(kept);
                page.lend_away(table, peer, access).map(Some)
            }
            (Some(_), PageUse::Received) => {
                page.set_stale();
                Ok(page.resume(table))
            }
            (None, _) => Ok(page.resume(table)),
        };
        let granted = grant(ring_page, PageUse::Lent(Access::ReadWrite, 0))?;
        let Some(granted) = granted else { return Ok(None) };
        let ring = match restored {
            Some(_) => FrontRing::new(granted),
            None => FrontRing::from_parts(granted, suspension.position),
        };
        let resumed = Self { ring: ManuallyDrop::new(ring), ring_page, pages, cursor: 0 };
        for index in 0..resumed.pages.len() {
            let Some(used) = used(index) else {
                if restored.is_some() {
                    resumed.pages[index].clear();
                }
                continue;
            };
            match grant(&mut resumed.pages[index], used) {
                Ok(Some(granted)) => resumed.pages[index].set_lent(granted),
                failed => {
                    suspension.position = resumed.suspend().position;
                    return failed.map(|_| None);
                }
            }
        }
        Ok(Some(resumed))
    }

    /// Calls `take` with the ring that a domain had before it was restored. The ring's page stays
    /// deferred. Does nothing and returns false if the pages are not those of the ring.
    #[cfg(feature = "blk")]
    pub(crate) fn take_responses<H, A>(
        table: &GrantTable<'t, H, A>,
        suspension: &mut Suspension,
        pages: &mut [DevicePage<'t>],
        take: impl FnOnce(&mut FrontRing<Grant<'t>, P>),
    ) -> bool {
        let own = suspension.own(pages).and_then(|pages| pages.first_mut());
        let Some(page) = own else { return false };
        let Some(grant) = page.resume(table) else { return false };
        let mut ring = FrontRing::from_parts(grant, suspension.position);
        take(&mut ring);
        let (grant, position) = ring.into_parts();
        suspension.position = position;
        page.put_back_deferred(grant);
        true
    }

    /// Returns the grant reference of the ring.
    pub(crate) fn reference(&self) -> GrantRef {
        self.ring.memory().reference()
    }

    #[inline]
    pub(crate) fn ring(&mut self) -> &mut FrontRing<Grant<'t>, P> {
        &mut self.ring
    }

    /// Returns the pages for data.
    #[inline]
    pub(crate) fn pages(&mut self) -> &mut [DevicePage<'t>] {
        self.pages
    }

    /// Returns the index of a free page. Free pages are used in turn.
    pub(crate) fn free_page<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> Option<usize> {
        let (count, cursor) = (self.pages.len(), self.cursor);
        let mut turns = (0..count).map(|step| (cursor + step) % count);
        let index = turns.find(|index| self.pages[*index].is_free(table))?;
        self.cursor = index + 1;
        Some(index)
    }
}

impl<P: Protocol> Drop for DeviceRing<'_, '_, P> {
    fn drop(&mut self) {
        self.pages.iter_mut().for_each(DevicePage::take_back);
        // SAFETY: nothing uses the ring after this.
        let ring = unsafe { ManuallyDrop::take(&mut self.ring) };
        self.ring_page.put_back(ring.into_memory());
    }
}
