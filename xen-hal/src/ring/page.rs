//! Pages that a driver grants to its backend.

use core::mem;

use xen_pac::base::Domid;

use crate::grant::{Access, Bytes, DeferredGrant, Grant, GrantError, GrantRef, GrantTable, Page};
use crate::platform::PAGE_SIZE;

/// A page that a driver grants to its backend repeatedly.
///
/// The caller owns the pages, and a driver borrows them while the device is connected. When the
/// driver is dropped, it withdraws all grants. If the backend still uses a page, its grant is
/// deferred: [`into_page`](Self::into_page) or the next driver recovers the page once the backend
/// no longer uses it.
#[derive(Debug)]
pub struct DevicePage<'t>(State<'t>);

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
        Self(State::Owned(page))
    }
}

impl From<DeferredGrant> for DevicePage<'_> {
    fn from(deferred: DeferredGrant) -> Self {
        Self(State::Deferred(deferred))
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
        match self.0 {
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
        DevicePage(match self.0 {
            State::Owned(page) => State::Owned(page),
            State::Deferred(deferred) => State::Deferred(deferred),
            State::Lent(_) | State::Away => State::Away,
        })
    }
}

/// The operations of drivers.
impl<'t> DevicePage<'t> {
    /// Returns whether the page is free. Recovers a deferred page if the backend no longer uses it,
    /// and clears it, because the next backend can be another one.
    pub(crate) fn is_free<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> bool {
        let was_deferred = self.deferred().is_some();
        let is_free = self.recover(table);
        if was_deferred {
            self.clear();
        }
        is_free
    }

    /// Returns whether the page is free, as [`is_free`](Self::is_free) does, but keeps its content.
    pub(crate) fn recover<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> bool {
        self.0 = match mem::replace(&mut self.0, State::Away) {
            State::Deferred(deferred) => match table.recover(deferred) {
                Ok(page) => State::Owned(page),
                Err(deferred) => State::Deferred(deferred),
            },
            other => other,
        };
        matches!(self.0, State::Owned(_))
    }

    /// Clears the page if it is free, so a backend does not see its former content.
    pub(crate) fn clear(&self) {
        if let State::Owned(page) = &self.0 {
            const ZEROS: [u8; 64] = [0; 64];
            for offset in (0..PAGE_SIZE).step_by(ZEROS.len()) {
                // The offsets are within the page.
                let _ = page.copy_from(offset, &ZEROS);
            }
        }
    }

    /// Returns the page's content, unless its grant is deferred.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            State::Owned(page) => Some(page),
            State::Lent(grant) => Some(grant.bytes()),
            State::Deferred(_) | State::Away => None,
        }
    }

    /// True if the page is granted for a request.
    #[cfg(feature = "net")]
    pub(crate) const fn is_lent(&self) -> bool {
        matches!(self.0, State::Lent(_))
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
                self.0 = State::Lent(grant);
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
        match mem::replace(&mut self.0, State::Away) {
            State::Owned(page) => table.lend(page, peer, access).map_err(|error| {
                let reason = error.error();
                self.0 = State::Owned(error.page);
                reason
            }),
            other => {
                self.0 = other;
                Err(GrantError::Full)
            }
        }
    }

    /// Withdraws the page from the backend, or defers its grant.
    pub(crate) fn take_back(&mut self) {
        self.0 = match mem::replace(&mut self.0, State::Away) {
            State::Lent(grant) => withdraw(grant),
            other => other,
        };
    }

    /// Takes the grant out of a ring.
    pub(crate) fn put_back(&mut self, grant: Grant<'t>) {
        self.0 = withdraw(grant);
    }

    /// Takes the grant out of a ring, and defers it.
    pub(crate) fn put_back_deferred(&mut self, grant: Grant<'t>) {
        self.0 = State::Deferred(grant.defer());
    }

    /// Defers the page's grant, if it is granted.
    pub(crate) fn defer(&mut self) {
        self.0 = match mem::replace(&mut self.0, State::Away) {
            State::Lent(grant) => State::Deferred(grant.defer()),
            other => other,
        };
    }

    /// Returns the reference of a deferred grant.
    pub(crate) const fn deferred(&self) -> Option<GrantRef> {
        match &self.0 {
            State::Deferred(deferred) => Some(deferred.reference()),
            _ => None,
        }
    }

    /// Returns the reference of the page, if it is granted for a request.
    #[cfg(feature = "blk")]
    pub(crate) const fn reference(&self) -> Option<GrantRef> {
        match &self.0 {
            State::Lent(grant) => Some(grant.reference()),
            _ => None,
        }
    }

    /// Takes the page's grant, which was deferred before a suspend. If the domain was restored, the
    /// new table does not grant the page to any domain.
    pub(crate) fn resume<H, A>(&mut self, table: &GrantTable<'t, H, A>) -> Option<Grant<'t>> {
        match mem::replace(&mut self.0, State::Away) {
            State::Deferred(deferred) => {
                table.resume(deferred).map_err(|deferred| self.0 = State::Deferred(deferred)).ok()
            }
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// Records that the page is granted.
    pub(crate) fn set_lent(&mut self, grant: Grant<'t>) {
        self.0 = State::Lent(grant);
    }
}

fn withdraw(grant: Grant<'_>) -> State<'_> {
    match grant.revoke() {
        Ok((_, page)) => State::Owned(page),
        Err(in_use) => State::Deferred(in_use.into_grant().defer()),
    }
}
