//! Lending a page, and getting it back.

use core::fmt;
use core::sync::atomic::Ordering;

use xen_pac::base::Domid;
use xen_pac::grant_table::{GrantEntryV1, GrantRef, grant_entry_flags};

use super::page::Page;
use super::ref_allocator::GrantRefAllocator;

/// What the other domain may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read it.
    ReadOnly,
    /// Read and write it.
    ReadWrite,
}

impl Access {
    const fn flags(self) -> u16 {
        let permit = grant_entry_flags::kind::PERMIT_ACCESS.value;
        match self {
            Self::ReadOnly => {
                permit | grant_entry_flags::READONLY.mask << grant_entry_flags::READONLY.shift
            }
            Self::ReadWrite => permit,
        }
    }
}

/// An entry of the grant table that is this program's to use, and that lends nothing yet. Dropping
/// it makes its reference free again.
pub struct GrantSlot<'t> {
    entry: GrantEntryV1<'t>,
    references: &'t GrantRefAllocator<'t>,
    reference: GrantRef,
    /// The flags with which the entry was published; 0 when it is not.
    published: u16,
}

impl<'t> GrantSlot<'t> {
    /// The entry must be that of the reference, free, and the reference taken.
    pub(super) const fn new(
        entry: GrantEntryV1<'t>,
        references: &'t GrantRefAllocator<'t>,
        reference: GrantRef,
    ) -> Self {
        Self { entry, references, reference, published: 0 }
    }

    /// The reference that the other domain will need to know.
    #[must_use]
    pub const fn reference(&self) -> GrantRef {
        self.reference
    }

    /// Lends `page` to `peer`, which can use it from now on.
    ///
    /// `peer` is a domain's own number: the special ones, [`Domid::SELF`] among them, are no
    /// domain's, and nobody could use the grant.
    ///
    /// The page belongs to the grant until that is revoked:
    ///
    /// ```compile_fail,E0382
    /// # use xen_hal::grant::{Access, Page, GrantSlot};
    /// # use xen_pac::base::Domid;
    /// fn reuse(slot: GrantSlot<'_>, page: Page) {
    ///     let _grant = slot.lend(page, Domid(1), Access::ReadWrite);
    ///     page.into_raw();
    /// }
    /// ```
    ///
    /// Upstream: `grant_entry_v1`, and the comments on it.
    #[inline]
    pub fn lend(mut self, page: Page, peer: Domid, access: Access) -> Grant<'t> {
        self.published = access.flags();
        self.entry.domid().set(peer.0);
        self.entry.frame().set(page.number());
        // Xen may look at any time, and believes the rest of the entry once there are flags: they
        // are written last. The entry was free, so the old ones are 0.
        let _ = self.entry.flags().swap(self.published, Ordering::Release);
        Grant { slot: self, page }
    }

    /// Makes the entry lend nothing, unless the page is being used.
    #[inline]
    fn withdraw(&mut self) -> bool {
        // Xen adds to the flags as long as somebody uses the page. If they are just what was
        // published, nobody does, and after the exchange nobody can. Acquire: what the peer did to
        // the page comes before what the program does with it next.
        let withdrawn = match self.entry.flags().compare_exchange(
            self.published,
            0,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => true,
            Err(now) => was_replaced(now),
        };
        if withdrawn {
            self.published = 0;
        }
        withdrawn
    }
}

/// Whether an entry with these flags, instead of those that were published, is that of another
/// table: after a resume there is a new one, in which nothing is lent and nobody uses anything.
#[cold]
const fn was_replaced(flags: u16) -> bool {
    flags == 0
}

impl Drop for GrantSlot<'_> {
    #[inline]
    fn drop(&mut self) {
        // A page still in use stays lent, and its reference taken.
        if self.published == 0 || self.withdraw() {
            // The reference was taken when the slot was made, so it is there to be given back.
            let _ = self.references.free(self.reference);
        }
    }
}

impl fmt::Debug for GrantSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantSlot({})", self.reference)
    }
}

/// A page that is lent to another domain, together with the entry that lends it.
///
/// The other domain may read the page, or write it, at any moment; what it wrote is to be copied,
/// checked and then used. Dropped, a grant is revoked if it can be, and else stays as it is for
/// ever; the page is lost either way.
#[must_use = "a grant that is dropped loses its page"]
pub struct Grant<'t> {
    slot: GrantSlot<'t>,
    page: Page,
}

/// Whether the other domain uses a lent page, at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The page is mapped, or being copied.
    pub reading: bool,
    /// The page is mapped, or being copied to, so that it can be written.
    pub writing: bool,
}

/// A grant cannot be revoked, because the other domain has the page mapped or is copying it. Here
/// it is back, with its page, as if nothing had happened.
///
/// Tell the other domain, through whatever the two share, to let go, and try again; it may never do
/// so, and then the page is never to be used for anything else.
#[must_use = "dropping this loses the page"]
pub struct StillInUse<'t>(pub Grant<'t>);

impl<'t> Grant<'t> {
    /// The reference by which the other domain names the page.
    #[must_use]
    pub const fn reference(&self) -> GrantRef {
        self.slot.reference
    }

    /// The page, which both sides can use.
    #[must_use]
    pub const fn page(&self) -> &Page {
        &self.page
    }

    /// Whether the other domain uses the page now. It may begin to right afterwards: only revoking
    /// tells for certain.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let flags = self.slot.entry.flags().load(Ordering::Relaxed);
        Usage {
            reading: grant_entry_flags::READING.is_set(flags),
            writing: grant_entry_flags::WRITING.is_set(flags),
        }
    }

    /// Takes the page back, and the slot for the next one. Upstream: the comments on
    /// `grant_entry_v1`.
    ///
    /// # Errors
    ///
    /// While the other domain uses the page; the error holds the grant.
    #[inline]
    pub fn revoke(mut self) -> Result<(GrantSlot<'t>, Page), StillInUse<'t>> {
        if self.slot.withdraw() { Ok((self.slot, self.page)) } else { Err(StillInUse(self)) }
    }
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("reference", &self.slot.reference)
            .field("page", &self.page)
            .field("usage", &self.usage())
            .finish()
    }
}

impl<'t> StillInUse<'t> {
    /// The grant.
    pub fn into_grant(self) -> Grant<'t> {
        self.0
    }
}

impl fmt::Debug for StillInUse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StillInUse").field(&self.0).finish()
    }
}

impl fmt::Display for StillInUse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the page of grant {} is still in use", self.0.reference())
    }
}

impl core::error::Error for StillInUse<'_> {}
