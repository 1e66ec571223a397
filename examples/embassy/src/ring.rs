//! A producer and a consumer over a page that the domain grants to itself.

use core::mem;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use xen_hal::Xen;
use xen_hal::event::{AsyncListener, Binding, Port};
use xen_hal::grant::{
    Access, ForeignGrant, GrantRefAllocator, GrantTable, MapRequest, MapTarget, Page, PageMemory,
};
use xen_hal::hypercall::{Errno, Installed, installed};
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, VcpuId};
use xen_hal::ring::{BackRing, FrontRing, Protocol, RingPage};
use xen_pac::base::Domid;
use xen_pac::grant_table::raw::GrantTableV1Page;

use crate::{EVENTS, Error, STATUS, WAKERS};

/// Numbers, which are answered by their complement.
enum Numbers {}

impl Protocol for Numbers {
    type Request = u64;
    type Response = u64;
}

/// Where a page was mapped that the domain has granted to itself. Both ends use it, as both would
/// if the consumer were another domain.
struct Mapped(NonNull<PageMemory>);

// SAFETY: `ring` maps the page for ever, and nothing but the two ends of one ring accesses it, by
// atomics.
unsafe impl RingPage for Mapped {
    fn page(&self) -> NonNull<PageMemory> {
        self.0
    }
}

// SAFETY: the page is mapped on every vCPU, and is accessed by atomics.
unsafe impl Send for Mapped {}

/// An end's events: those that it gets, and the port of the other end.
struct Bell {
    mine: AsyncListener<'static, Installed>,
    theirs: Port,
}

impl Bell {
    fn ring(&self) -> Result<(), Errno> {
        Xen::new(installed()).events().send(self.theirs)
    }
}

/// Three pages for the ring: of the grant table, the one that is granted, and the one in whose
/// place it is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The page of the grant table.
    pub table: NonNull<GrantTableV1Page>,
    /// The page that is granted.
    pub granted: NonNull<PageMemory>,
    /// The page in whose place it is mapped.
    pub mapped: NonNull<PageMemory>,
}

/// The end that puts numbers in.
pub struct Producer {
    ring: FrontRing<Mapped, Numbers>,
    bell: Bell,
}

/// The end that answers them.
pub struct Consumer {
    ring: BackRing<Mapped, Numbers>,
    bell: Bell,
}

static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();

/// Grants a page to the domain itself, maps it, and makes the ends of a ring in it: the producer's
/// on vCPU 0, the consumer's on `vcpu`.
///
/// # Errors
///
/// Xen's.
///
/// # Safety
///
/// The pages are used for nothing else, for ever.
pub unsafe fn ring(
    space: &impl AddressSpace,
    pages: Pages,
    vcpu: VcpuId,
) -> Result<(Producer, Consumer), xen_hal::Error> {
    let xen = Xen::new(installed());
    // Xen names the peer of a channel, here the domain itself.
    let status = xen.events().alloc_unbound(Domid::SELF)?.status()?;
    let Binding::Unbound { remote: me } = status.binding else { return Err(Errno::EINVAL.into()) };

    // SAFETY: the page is the table's alone, and the domain is not suspended.
    let table = unsafe { GrantTable::map(xen.hypercall(), space, pages.table, &REFS, 1) }?;
    // SAFETY: the page is this value's alone.
    let page = unsafe { Page::from_raw(space, pages.granted) }?;
    // It fails if no entry of the table is free.
    let grant = table.lend(page, me, Access::ReadWrite).map_err(|_| Errno::ENOSPC)?;
    let frame = space.frame_of(pages.mapped.cast()).ok_or(Errno::EINVAL)?;
    // SAFETY: nothing is kept in the page.
    let given_back = unsafe { xen.memory().decrease_reservation([frame], Extent::PAGE) };
    given_back.map_err(|_| Errno::ENOMEM)?;
    // SAFETY: the frame is empty, and used through the target alone.
    let target = unsafe { MapTarget::new(space, pages.mapped) }?;
    let of = ForeignGrant { domain: me, reference: grant.reference() };
    // SAFETY: the page is not used where it was: on x86 it moves to the target.
    let mapping = unsafe { xen.grants().map(MapRequest { of, access: Access::ReadWrite, target }) };
    // The page stays granted and mapped until the domain ends.
    mem::forget(mapping.map_err(|error| error.error)?);
    mem::forget((grant, table));

    let listen = |vcpu| {
        let channel = xen.events().bind_ipi(vcpu)?;
        WAKERS.listen(&EVENTS, channel, vcpu).map_err(|error| xen_hal::Error::from(error.error))
    };
    let (near, far) = (listen(VcpuId(0))?, listen(vcpu)?);
    let (near_port, far_port) = (near.port(), far.port());
    let front = FrontRing::new(Mapped(pages.mapped));
    let back = BackRing::new(Mapped(pages.mapped));
    Ok((
        Producer { ring: front, bell: Bell { mine: near, theirs: far_port } },
        Consumer { ring: back, bell: Bell { mine: far, theirs: near_port } },
    ))
}

impl Producer {
    /// Puts that many numbers in and checks the answers.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`], and Xen's.
    pub(crate) async fn run(mut self, count: u64) -> Result<(), Error> {
        let (mut next, mut answered) = (0, 0);
        while answered < count {
            while next < count && self.ring.push(&next).is_ok() {
                next += 1;
            }
            if self.ring.publish() {
                self.bell.ring()?;
            }
            while let Some(found) = self.ring.pop() {
                if found != !answered {
                    return Err(Error::Answer { expected: answered, found });
                }
                answered += 1;
                STATUS.numbers.fetch_add(1, Ordering::Relaxed);
            }
            let full = next == count || self.ring.free() == 0;
            if answered < count && full && !self.ring.rearm() {
                self.bell.mine.wait().await;
            }
        }
        Ok(())
    }
}

impl Consumer {
    /// Answers that many numbers.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub(crate) async fn run(mut self, count: u64) -> Result<(), Error> {
        let mut taken = 0;
        while taken < count {
            while let Some(number) = self.ring.pop() {
                // A request was taken, so there is room for its answer.
                let _ = self.ring.push(&!number);
                taken += 1;
            }
            if self.ring.publish() {
                self.bell.ring()?;
            }
            if taken < count && !self.ring.rearm() {
                self.bell.mine.wait().await;
            }
        }
        Ok(())
    }
}
