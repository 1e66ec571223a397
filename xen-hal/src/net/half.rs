//! Implements one direction of an interface: a ring whose requests grant a page each.

use xen_pac::base::Domid;

use super::NetError;
use crate::grant::{Access, Bytes, GrantError, GrantRef, GrantTable};
use crate::ring::{DevicePage, DeviceRing, PageUse, Protocol, Suspension};

/// The maximum number of pages: a request's number has a byte for the index of its page.
const PAGES: usize = 256;

/// A ring, and the number of times that each page was granted. A request's number holds the index
/// of its page and, in the upper byte, the low bits of this count. So a response to an earlier
/// request does not match a later one.
pub(super) struct Half<'a, 't, P: Protocol> {
    ring: DeviceRing<'a, 't, P>,
    serials: [u8; PAGES],
}

/// What continues one direction after a suspend.
pub(super) struct SuspendedHalf {
    ring: Suspension,
    serials: [u8; PAGES],
    /// The pages of requests in flight.
    lent: [bool; PAGES],
}

impl<'a, 't, P: Protocol> Half<'a, 't, P> {
    pub(super) fn new<H, A>(
        table: &GrantTable<'t, H, A>,
        peer: Domid,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Self, NetError> {
        // One more page holds the ring.
        let count = pages.len().min(1 + PAGES);
        let ring = DeviceRing::new(table, peer, &mut pages[..count])?.ok_or(NetError::NoPages)?;
        Ok(Self { ring, serials: [0; PAGES] })
    }

    /// Gives up the ring, and defers the grants of all pages.
    pub(super) fn suspend(mut self) -> SuspendedHalf {
        let mut lent = [false; PAGES];
        for (lent, page) in lent.iter_mut().zip(self.ring.pages()) {
            *lent = page.is_lent();
        }
        SuspendedHalf { ring: self.ring.suspend(), serials: self.serials, lent }
    }

    /// Continues after a suspend: see [`DeviceRing::resume`]. If the domain was restored, no domain
    /// has the ring or its pages.
    pub(super) fn resume<H, A>(
        table: &GrantTable<'t, H, A>,
        suspended: &mut SuspendedHalf,
        pages: &'a mut [DevicePage<'t>],
    ) -> Result<Option<Self>, GrantError> {
        let SuspendedHalf { ring, serials, lent } = suspended;
        let count = pages.len().min(1 + PAGES);
        let is_lent = |index: usize| lent.get(index).is_some_and(|lent| *lent);
        let used = |index| is_lent(index).then_some(PageUse::Received);
        let ring = DeviceRing::resume(table, ring, None, &mut pages[..count], used)?;
        Ok(ring.map(|ring| Self { ring, serials: *serials }))
    }

    /// Returns the number of requests in flight.
    pub(super) fn in_flight(&mut self) -> u64 {
        self.ring.pages().iter().filter(|page| page.is_lent()).count() as u64
    }

    /// Returns the grant reference of the ring.
    pub(super) fn reference(&self) -> GrantRef {
        self.ring.reference()
    }

    /// Returns whether a page and an entry of the ring are free.
    pub(super) fn can_lend<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> bool {
        self.ring.ring().free() > 0 && self.ring.free_page(table).is_some()
    }

    /// Calls `prepare` with a free page, then grants it. Returns the request's number and the
    /// reference.
    pub(super) fn begin<H, A>(
        &mut self,
        table: &GrantTable<'t, H, A>,
        peer: Domid,
        access: Access,
        prepare: impl FnOnce(&Bytes) -> Result<(), GrantError>,
    ) -> Result<Option<(u16, GrantRef)>, GrantError> {
        if self.ring.ring().free() == 0 {
            return Ok(None);
        }
        let Some(index) = self.ring.free_page(table) else { return Ok(None) };
        let page = &mut self.ring.pages()[index];
        page.bytes().map_or(Ok(()), prepare)?;
        let reference = page.lend(table, peer, access)?;
        self.serials[index] = self.serials[index].wrapping_add(1);
        Ok(Some((u16::from(self.serials[index]) << 8 | index as u16, reference)))
    }

    /// Puts the request with this number into the ring.
    pub(super) fn push(&mut self, id: u16, request: &P::Request) -> Result<(), NetError> {
        let pushed = self.ring.ring().push(request);
        pushed.map_err(|_| {
            self.end(id);
            NetError::Busy
        })
    }

    /// Makes the requests visible to the backend. Returns true if the backend must be notified.
    pub(super) fn publish(&mut self) -> bool {
        self.ring.ring().publish()
    }

    /// Takes a response. If there is none, requests an event for the next one.
    pub(super) fn next(&mut self) -> Option<P::Response> {
        let ring = self.ring.ring();
        ring.pop().or_else(|| if ring.rearm() { ring.pop() } else { None })
    }

    /// Calls `use_page` with the page of a request in flight, then withdraws the page. Returns
    /// `None` if no such request is in flight.
    pub(super) fn finish<T>(&mut self, id: u16, use_page: impl FnOnce(&Bytes) -> T) -> Option<T> {
        let index = usize::from(id & 0xff);
        let page = self.ring.pages().get_mut(index)?;
        if !page.is_lent() || self.serials[index] != (id >> 8) as u8 {
            return None;
        }
        let result = page.bytes().map(use_page);
        page.take_back();
        result
    }

    /// Withdraws the page of a request. Returns false if no such request is in flight.
    pub(super) fn end(&mut self, id: u16) -> bool {
        self.finish(id, |_| ()).is_some()
    }
}
