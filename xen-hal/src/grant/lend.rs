//! Grants a page to another domain and revokes the grant.

use core::fmt;
use core::mem::ManuallyDrop;

use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, grant_entry_flags};

use super::refs::Word;
use super::{Bytes, GrantRef, Page};
use crate::atomic::Ordering;
use crate::platform::Frame;

/// The flags that Xen sets in an entry while the peer uses the page.
const IN_USE: u16 =
    grant_entry_flags::READING.val(1).value | grant_entry_flags::WRITING.val(1).value;

/// What the peer may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Access {
    /// The peer may read the page.
    ReadOnly = PERMIT | grant_entry_flags::READONLY.val(1).value,
    /// The peer may read and write the page.
    ReadWrite = PERMIT,
}

/// The flags of an entry that grants a page.
const PERMIT: u16 = grant_entry_flags::kind::PERMIT_ACCESS.value;

/// An entry whose reference was allocated.
#[derive(Clone, Copy)]
pub(super) struct Allocated<'t> {
    pub(super) entry: GrantEntryV1<'t>,
    /// The word that holds the reference's bits.
    pub(super) word: &'static Word,
    pub(super) reference: GrantRef,
}

impl<'t> Allocated<'t> {
    /// Publishes the page in the entry, which is free.
    #[inline(always)]
    pub(super) fn publish(self, page: Page, peer: Domid, access: Access) -> Grant<'t> {
        let entry = self.entry;
        entry.domid().set(peer.0);
        entry.frame().set(page.number());
        // Xen reads the entry at any time and uses it once its flags permit that, so they are
        // written last. The old flags are 0.
        let _ = entry.flags().swap(access as u16, Ordering::Release);
        Grant { lent: Lent(self), page }
    }

    /// Frees the reference.
    #[inline(always)]
    pub(super) fn free(&self) {
        self.word.free(self.reference);
    }
}

/// Clears an entry, unless the page is in use.
///
/// Xen sets flags while the page is used. A table that is not mapped reads as all ones. An entry
/// without flags belongs to a new table, after a restore: no peer uses the page.
#[inline(always)]
pub(super) fn withdraw(entry: GrantEntryV1<'_>) -> bool {
    let now = entry.flags().load(Ordering::Relaxed);
    // If the flags are still the same, the page is not in use, and stays unused after the exchange.
    // Acquire: what the peer did to the page happens before what this program does with it next.
    now & IN_USE == 0
        && entry.flags().compare_exchange(now, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// Owns an entry of the grant table that grants no page yet. Dropping it frees its reference.
pub struct GrantSlot<'t>(Allocated<'t>);

impl<'t> GrantSlot<'t> {
    /// Creates the slot of a free entry.
    #[inline(always)]
    pub(super) const fn new(entry: Allocated<'t>) -> Self {
        Self(entry)
    }

    /// Returns the reference, which the peer needs.
    #[must_use]
    pub const fn reference(&self) -> GrantRef {
        self.0.reference
    }

    /// Grants `page` to `peer`. The peer can use the page from now. Upstream: `grant_entry_v1` and
    /// its comments.
    ///
    /// `peer` must be a real domain number. With a reserved one such as [`Domid::SELF`], no domain
    /// can use the grant.
    ///
    /// The grant owns the page until it is revoked:
    ///
    /// ```compile_fail,E0382
    /// # use xen_hal::grant::{Access, Page, GrantSlot};
    /// # use xen_pac::base::Domid;
    /// fn reuse(slot: GrantSlot<'_>, page: Page) {
    ///     let _grant = slot.lend(page, Domid(1), Access::ReadWrite);
    ///     page.into_raw();
    /// }
    /// ```
    #[inline]
    pub fn lend(self, page: Page, peer: Domid, access: Access) -> Grant<'t> {
        ManuallyDrop::new(self).0.publish(page, peer, access)
    }
}

impl Drop for GrantSlot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.free();
    }
}

impl fmt::Debug for GrantSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantSlot({})", self.reference())
    }
}

/// An entry that grants a page. Dropping it clears the entry, or defers that.
struct Lent<'t>(Allocated<'t>);

impl Drop for Lent<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        withdraw_or_defer(self.0.entry, self.0.word, self.0.reference);
    }
}

/// Frees the reference of an entry, or defers that to [`GrantTable::reclaim`]. Takes no pointer to
/// the grant, so a grant that is revoked stays in registers.
///
/// [`GrantTable::reclaim`]: super::GrantTable::reclaim
#[inline(never)]
fn withdraw_or_defer(entry: GrantEntryV1<'_>, word: &Word, reference: GrantRef) {
    if withdraw(entry) {
        word.free(reference);
    } else {
        word.defer(reference);
    }
}

/// Owns a page that is granted to another domain, and its entry.
///
/// The peer may read or write the page at any moment. Copy what it wrote, check the copy, then use
/// the copy.
///
/// [`revoke`](Self::revoke) returns the page. Dropping the grant clears the entry, but leaks the
/// page. If the peer still uses the page, the reference is deferred: [`GrantTable::reclaim`] frees
/// it once the peer no longer uses the page.
///
/// [`GrantTable::reclaim`]: super::GrantTable::reclaim
#[must_use = "dropping a grant leaks its page"]
pub struct Grant<'t> {
    lent: Lent<'t>,
    page: Page,
}

/// How the peer uses a granted page at the moment of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantUsage {
    /// The page is mapped or being copied.
    pub reading: bool,
    /// The page is mapped or being copied to, so that it can be written.
    pub writing: bool,
}

impl<'t> Grant<'t> {
    /// Returns the reference by which the peer names the page.
    #[must_use]
    pub const fn reference(&self) -> GrantRef {
        self.lent.0.reference
    }

    /// Returns the page's bytes, which both domains can use.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.page
    }

    /// Returns the page's guest frame.
    #[inline]
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.page.frame()
    }

    /// Returns how the peer uses the page now. The peer can start to use it right afterwards; only
    /// [`revoke`](Self::revoke) prevents that.
    #[must_use]
    pub fn usage(&self) -> GrantUsage {
        let flags = self.lent.0.entry.flags().load(Ordering::Relaxed);
        GrantUsage {
            reading: grant_entry_flags::READING.is_set(flags),
            writing: grant_entry_flags::WRITING.is_set(flags),
        }
    }

    /// Revokes the grant. Returns the page, and the slot for another grant. Upstream: the comments
    /// on `grant_entry_v1`.
    ///
    /// # Errors
    ///
    /// If the peer uses the page. The error holds the grant.
    #[inline]
    pub fn revoke(self) -> Result<(GrantSlot<'t>, Page), GrantInUseError<'t>> {
        if withdraw(self.lent.0.entry) {
            Ok((GrantSlot(ManuallyDrop::new(self.lent).0), self.page))
        } else {
            Err(GrantInUseError(self))
        }
    }

    /// Ends the grant without waiting for the peer. The page can be recovered later.
    ///
    /// No grant may outlive a suspend: call this before a suspend if [`revoke`](Self::revoke)
    /// fails.
    pub fn defer(self) -> DeferredGrant {
        let Allocated { word, reference, .. } = ManuallyDrop::new(self.lent).0;
        DeferredGrant { word, reference, page: Some(self.page) }
    }
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("reference", &self.reference())
            .field("frame", &self.frame())
            .field("usage", &self.usage())
            .finish()
    }
}

/// The grant was not revoked, because the peer has the page mapped or is copying it. The grant is
/// unchanged.
///
/// Ask the peer, over the protocol that the two use, to stop using the page, and try again. If the
/// peer never does, [`Grant::defer`] the grant or drop it.
#[must_use = "dropping this leaks the page"]
pub struct GrantInUseError<'t>(Grant<'t>);

impl<'t> GrantInUseError<'t> {
    /// Returns the grant.
    pub fn into_grant(self) -> Grant<'t> {
        self.0
    }
}

impl fmt::Debug for GrantInUseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrantInUseError").field(&self.0).finish()
    }
}

impl fmt::Display for GrantInUseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the page of grant {} is still in use", self.0.reference())
    }
}

impl core::error::Error for GrantInUseError<'_> {}

/// A page of a [deferred](Grant::defer) grant, which the peer may still use.
///
/// It borrows no table, so it outlives a suspend. [`GrantTable::recover`] returns the page.
/// Dropping it leaks the page; [`GrantTable::reclaim`] frees the reference later.
///
/// [`GrantTable::reclaim`]: super::GrantTable::reclaim
/// [`GrantTable::recover`]: super::GrantTable::recover
#[must_use = "dropping this leaks the page"]
pub struct DeferredGrant {
    word: &'static Word,
    reference: GrantRef,
    /// `None` after the page was recovered.
    page: Option<Page>,
}

impl DeferredGrant {
    /// Returns the reference of the grant.
    #[must_use]
    pub const fn reference(&self) -> GrantRef {
        self.reference
    }

    /// Returns the page's guest frame; `None` after the page was recovered.
    #[cfg(any(feature = "blk", feature = "net"))]
    pub(crate) fn frame(&self) -> Option<Frame> {
        self.page.as_ref().map(Page::frame)
    }

    /// Returns the grant, whose entry `entry` returns for the word and the reference.
    pub(super) fn resume<'t>(
        mut self,
        entry: impl FnOnce(&Word, GrantRef) -> Option<GrantEntryV1<'t>>,
    ) -> Result<Grant<'t>, Self> {
        let (word, reference) = (self.word, self.reference);
        let Some(entry) = entry(word, reference) else { return Err(self) };
        match self.page.take() {
            Some(page) => Ok(Grant { lent: Lent(Allocated { entry, word, reference }), page }),
            None => Err(self),
        }
    }

    /// Calls `withdraw` with the word and the reference. If it succeeds, returns the page and frees
    /// the reference.
    pub(super) fn recover(
        mut self,
        withdraw: impl FnOnce(&Word, GrantRef) -> bool,
    ) -> Result<Page, Self> {
        match self.page.take_if(|_| withdraw(self.word, self.reference)) {
            Some(page) => {
                self.word.free(self.reference);
                Ok(page)
            }
            None => Err(self),
        }
    }
}

impl Drop for DeferredGrant {
    fn drop(&mut self) {
        if self.page.is_some() {
            self.word.defer(self.reference);
        }
    }
}

impl fmt::Debug for DeferredGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredGrant")
            .field("reference", &self.reference())
            .field("page", &self.page)
            .finish()
    }
}
