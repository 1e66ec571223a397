//! Pages that a driver grants to its backend.

use core::mem;

use xen_pac::base::Domid;

use crate::grant::{Access, Bytes, DeferredGrant, Grant, GrantError, GrantRef, GrantTable, Page};
use crate::platform::{Frame, PAGE_SIZE};

/// A page that a driver grants to its backend repeatedly.
///
/// The caller owns the pages, and a driver borrows them while the device is connected. When the
/// driver is dropped, it withdraws all grants. If the backend still uses a page, its grant is
/// deferred: [`into_page`](Self::into_page) or the next driver recovers the page once the backend
/// no longer uses it.
#[derive(Debug)]
pub struct DevicePage<'t> {
    state: State<'t>,
    /// True if the page can hold data of a former backend. It is cleared before it is granted.
    stale: bool,
    /// True if a suspended driver needs the page's content. A page that the caller has taken
    /// returns as a new value, in which this is false.
    kept: bool,
}

#[derive(Debug)]
enum State<'t> {
    Owned(Page),
    Lent(Grant<'t>),
    Deferred(DeferredGrant),
    /// The page's grant was moved to a ring.
    Away,
}

impl From<Page> for DevicePage<'_> {
    fn from(page: Page) -> Self {
        Self { state: State::Owned(page), stale: false, kept: false }
    }
}

impl From<DeferredGrant> for DevicePage<'_> {
    fn from(deferred: DeferredGrant) -> Self {
        Self { state: State::Deferred(deferred), stale: false, kept: false }
    }
}

impl<'t> DevicePage<'t> {
    /// Returns the page.
    ///
    /// # Errors
    ///
    /// The deferred grant if the backend still uses the page; `None` if a driver was leaked while
    /// its ring was in the page.
    pub fn into_page<H, A>(
        mut self,
        table: &GrantTable<'_, H, A>,
    ) -> Result<Page, Option<DeferredGrant>> {
        self.take_back();
        match self.state {
            State::Owned(page) => Ok(page),
            State::Deferred(deferred) => table.recover(deferred).map_err(Some),
            State::Lent(grant) => Err(Some(grant.defer())),
            State::Away => Err(None),
        }
    }
}

impl DevicePage<'_> {
    /// Returns a value that borrows no grant table, so it outlives a suspend. Call it after the
    /// driver was suspended, such as by `BlockDevice::suspend`. Defers a grant of the page.
    #[must_use]
    pub fn detach(mut self) -> DevicePage<'static> {
        self.defer();
        let state = match self.state {
            State::Owned(page) => State::Owned(page),
            State::Deferred(deferred) => State::Deferred(deferred),
            State::Lent(_) | State::Away => State::Away,
        };
        DevicePage { state, stale: self.stale, kept: self.kept }
    }
}

/// The operations of drivers.
impl<'t> DevicePage<'t> {
    /// Returns whether the page is free. Recovers a deferred page if the backend no longer uses it.
    /// Clears a page that was deferred or that holds data of a former backend, because the next
    /// backend can be another one.
    pub(crate) fn is_free<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> bool {
        let is_stale = self.stale || self.is_deferred();
        let is_free = self.recover(table);
        self.kept = false;
        if is_stale {
            self.clear();
        }
        is_free
    }

    /// Returns whether the page is free, as [`is_free`](Self::is_free) does, but keeps its content.
    pub(crate) fn recover<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> bool {
        self.state = match mem::replace(&mut self.state, State::Away) {
            State::Deferred(deferred) => match table.recover(deferred) {
                Ok(page) => State::Owned(page),
                Err(deferred) => State::Deferred(deferred),
            },
            other => other,
        };
        matches!(self.state, State::Owned(_))
    }

    /// Clears the page if it is free, so a backend does not see its former content.
    pub(crate) fn clear(&mut self) {
        self.clear_from(0);
    }

    /// Clears the page as [`clear`](Self::clear) does, but keeps the first `start` bytes.
    pub(crate) fn clear_from(&mut self, start: usize) {
        if let State::Owned(page) = &self.state {
            const ZEROS: [u8; 64] = [0; 64];
            for offset in (start..PAGE_SIZE).step_by(ZEROS.len()) {
                // The bytes are within the page.
                let _ = page.copy_from(offset, &ZEROS[..ZEROS.len().min(PAGE_SIZE - offset)]);
            }
            self.stale = false;
        }
    }

    /// Records that the page holds data of a former backend.
    pub(crate) fn set_stale(&mut self) {
        self.stale = true;
    }

    /// Returns the page's content, unless its grant is deferred.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.state {
            State::Owned(page) => Some(page),
            State::Lent(grant) => Some(grant.bytes()),
            State::Deferred(_) | State::Away => None,
        }
    }

    /// True if the page is granted for a request.
    #[cfg(feature = "net")]
    pub(crate) const fn is_lent(&self) -> bool {
        matches!(self.state, State::Lent(_))
    }

    /// Lends the page, which is free.
    pub(crate) fn lend<H, A>(
        &mut self,
        table: &GrantTable<'t, H, A>,
        peer: Domid,
        access: Access,
    ) -> Result<GrantRef, GrantError> {
        match self.lend_away(table, peer, access) {
            Ok(grant) => {
                let reference = grant.reference();
                self.state = State::Lent(grant);
                Ok(reference)
            }
            Err(error) => Err(error),
        }
    }

    /// Grants the page, which is free, and returns the grant for a ring.
    pub(crate) fn lend_away<H, A>(
        &mut self,
        table: &GrantTable<'t, H, A>,
        peer: Domid,
        access: Access,
    ) -> Result<Grant<'t>, GrantError> {
        match mem::replace(&mut self.state, State::Away) {
            State::Owned(page) => table.lend(page, peer, access).map_err(|error| {
                let reason = error.error();
                self.state = State::Owned(error.page);
                reason
            }),
            other => {
                self.state = other;
                Err(GrantError::Full)
            }
        }
    }

    /// Withdraws the page from the backend, or defers its grant.
    pub(crate) fn take_back(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Away) {
            State::Lent(grant) => withdraw(grant),
            other => other,
        };
    }

    /// Takes the grant out of a ring.
    pub(crate) fn put_back(&mut self, grant: Grant<'t>) {
        self.state = withdraw(grant);
    }

    /// Takes the grant out of a ring, and defers it.
    pub(crate) fn put_back_deferred(&mut self, grant: Grant<'t>) {
        self.state = State::Deferred(grant.defer());
    }

    /// Defers the page's grant, if it is granted.
    pub(crate) fn defer(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Away) {
            State::Lent(grant) => State::Deferred(grant.defer()),
            other => other,
        };
    }

    /// Records that a suspended driver needs the page's content, if its grant is deferred.
    pub(crate) fn keep(&mut self) {
        self.kept |= self.is_deferred();
    }

    /// True if the page has the content that a suspended driver needs.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept
    }

    /// True if the page's grant is deferred.
    const fn is_deferred(&self) -> bool {
        matches!(self.state, State::Deferred(_))
    }

    /// Returns the page's guest frame; `None` if the page's grant was moved to a ring.
    pub(crate) fn frame(&self) -> Option<Frame> {
        match &self.state {
            State::Owned(page) => Some(page.frame()),
            State::Lent(grant) => Some(grant.frame()),
            State::Deferred(deferred) => deferred.frame(),
            State::Away => None,
        }
    }

    /// Returns the reference of the page, if it is granted for a request.
    #[cfg(feature = "blk")]
    pub(crate) const fn reference(&self) -> Option<GrantRef> {
        match &self.state {
            State::Lent(grant) => Some(grant.reference()),
            _ => None,
        }
    }

    /// Takes the page's grant, which was deferred before a suspend. If the domain was restored, the
    /// new table does not grant the page to any domain.
    pub(crate) fn resume<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> Option<Grant<'t>> {
        match mem::replace(&mut self.state, State::Away) {
            State::Deferred(deferred) => table
                .resume(deferred)
                .map_err(|deferred| self.state = State::Deferred(deferred))
                .ok(),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Records that the page is granted.
    pub(crate) fn set_lent(&mut self, grant: Grant<'t>) {
        self.state = State::Lent(grant);
    }
}

fn withdraw(grant: Grant<'_>) -> State<'_> {
    match grant.revoke() {
        Ok((_, page)) => State::Owned(page),
        Err(in_use) => State::Deferred(in_use.into_grant().defer()),
    }
}
