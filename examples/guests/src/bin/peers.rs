//! Two domains that share a granted page and send each other events. One offers the page to the
//! other: `offer PEER`; the other maps it: `accept PEER`.
#![no_std]
#![no_main]

use core::fmt::Arguments;

use programs::{Arrivals, OFFERED, Peer, accept, offer};
use rt::{Boot, Page, interrupts, println};
use xen_hal::grant::{
    Access, ForeignGrant, GrantRefAllocator, GrantTable, MapRequest, MapTarget, Page as GrantPage,
};
use xen_hal::hypercall::{Errno, Hypercall};
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, IdentityMap};
use xen_hal::{Error, Xen};
use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;
use xen_pac::shared_info::SharedInfo;

rt::entry!(main);

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
/// The granted page, or the page over which a foreign grant is mapped.
static SHARED: Page = Page::new();
static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static ARRIVALS: Arrivals = Arrivals::new();

fn main(boot: Boot) -> Result<(), Error> {
    let mut words = boot.command_line().split(' ').rev();
    let peer = words.next().and_then(|word| word.parse().ok()).map(Domid);
    let peer = peer.expect("the last word of the command line is a domain's number");
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO).expect("Xen has a shared page");
    ARRIVALS.attach(shared);
    rt::on_upcall(|| ARRIVALS.handle());
    match words.next() {
        Some("offer") => offers(&boot.xen, peer),
        Some("accept") => {
            accepts(&boot.xen, shared, peer)?;
            // The peer reports the status of both domains. This domain ends silently.
            match Xen::new(&boot.xen).sched().shutdown(ShutdownReason::POWEROFF)? {}
        }
        _ => panic!("expected `offer` or `accept` before the number"),
    }
}

fn space() -> IdentityMap {
    // SAFETY: the runtime's memory is mapped to itself.
    unsafe { IdentityMap::new() }
}

/// Calls a function with what both domains use.
fn with_peer<T>(work: impl FnOnce(Peer<'_>) -> T) -> T {
    work(Peer {
        arrivals: &ARRIVALS,
        wait_until: &|done| interrupts::wait_until(done),
        print: &mut |line: Arguments<'_>| println!("| {line}"),
    })
}

fn offers(xen: &(impl Hypercall + Copy), to: Domid) -> Result<(), Error> {
    // SAFETY: the page is used for the table only, which is mapped once, and the domain is not
    // suspended.
    let table = unsafe { GrantTable::map(*xen, space(), TABLE.as_ptr(), &REFS, 1) }?;
    // SAFETY: the page is used through this value only from now on.
    let page = unsafe { GrantPage::from_raw(&space(), SHARED.as_ptr()) }?;
    with_peer(|peer| offer(*xen, &table, page, to, peer))
}

fn accepts(
    xen: &(impl Hypercall + Copy),
    shared: SharedInfo<'_>,
    from: Domid,
) -> Result<(), Error> {
    let frame = space().frame_of(SHARED.as_ptr()).expect("memory is mapped to itself");
    // SAFETY: the page holds no data in use.
    unsafe { Xen::new(*xen).memory().decrease_reservation([frame], Extent::PAGE) }
        .map_err(|refused| refused.errno.unwrap_or(Errno::EINVAL))?;
    // SAFETY: the frame is empty and used through the target only.
    let target = unsafe { MapTarget::new(&space(), SHARED.as_ptr()) }?;
    let of = ForeignGrant { domain: from, reference: OFFERED };
    let map = &mut |target| {
        // SAFETY: the grant is another domain's.
        unsafe { Xen::new(*xen).grants().map(MapRequest { of, access: Access::ReadWrite, target }) }
    };
    with_peer(|peer| accept(*xen, shared, target, from, map, peer))
}
