//! Two domains that share a granted page and send each other events. One offers the page to the
//! other: `offer PEER`; the other maps it: `accept PEER`. Each prints its part of the transcript
//! while the other waits.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use rt::{Boot, During, Failure, Page, interrupts, println};
use xen_hal::Xen;
use xen_hal::event::{Channel, Dispatcher, Drain, Listener, Port, TwoLevel};
use xen_hal::grant::{
    Access, ForeignGrant, GrantRef, GrantRefAllocator, GrantTable, MapRequest, MapTarget,
    Page as GrantPage,
};
use xen_hal::hypercall::Hypercall;
use xen_hal::memory::Extent;
use xen_hal::platform::{AddressSpace, IdentityMap, VcpuId};
use xen_hal::sched::Sched;
use xen_pac::base::Domid;
use xen_pac::sched::ShutdownReason;
use xen_pac::shared_info::SharedInfo;

rt::entry!(main);

static SHARED_INFO: Page = Page::new();
static TABLE: Page = Page::new();
/// The granted page, or the page over which a foreign grant is mapped.
static SHARED: Page = Page::new();
/// The first reference that the HAL gives out: eight are the toolstack's.
const REFERENCE: GrantRef = GrantRef(8);
/// Where the page holds the port, the accepter's message and the answer.
const PORT: usize = 0;
const MESSAGE: usize = 64;
const ANSWER: usize = 128;

static REFS: GrantRefAllocator<1> = GrantRefAllocator::new();
static EVENTS: Dispatcher = Dispatcher::new();
/// How many events arrived.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

fn main(boot: Boot) -> Result<(), Failure> {
    let mut words = boot.command_line().split(' ').rev();
    let peer = words.next().and_then(|word| word.parse().ok()).map(Domid);
    let peer =
        peer.ok_or(Failure::new("reading the command line", "expected a domain's number"))?;
    let shared = rt::map_shared_info(&boot.xen, &SHARED_INFO)?;
    EVENTS.attach(shared);
    rt::on_upcall(upcall);
    match words.next() {
        Some("offer") => offer(&boot.xen, peer),
        Some("accept") => accept(&boot.xen, shared, peer),
        _ => Err(Failure::new("reading the command line", "expected `offer` or `accept`")),
    }
}

fn upcall() {
    // Bounded: on Arm, Xen raises no interrupt again for events that are left.
    for _ in 0..16 {
        let count = |_| _ = ARRIVED.fetch_add(1, Ordering::AcqRel);
        if EVENTS.dispatch(VcpuId(0), count) == Drain::Finished {
            break;
        }
    }
}

/// Listens to a channel, for [`upcall`] to count its events.
fn listen<X: Hypercall + Copy>(channel: Channel<X>) -> Result<Listener<'static, X>, Failure> {
    EVENTS
        .listen(channel, VcpuId(0))
        .map_err(|_| Failure::new("listening to a channel", "Xen refuses to unmask it"))
}

/// Waits until that many events have arrived.
fn await_event(count: u32) {
    interrupts::wait_until(|| ARRIVED.load(Ordering::Acquire) >= count);
}

fn space() -> IdentityMap {
    // SAFETY: the runtime's memory is mapped to itself.
    unsafe { IdentityMap::new() }
}

fn offer(xen: &impl Hypercall, peer: Domid) -> Result<(), Failure> {
    const LENDING: &str = "lending a page";
    // SAFETY: the page is used for the table only, which is mapped once, and the domain is not
    // suspended.
    let table = unsafe { GrantTable::map(xen, space(), TABLE.as_ptr(), &REFS, 1) }
        .map_err(|_| Failure::new(LENDING, "the table cannot be mapped"))?;
    // SAFETY: the page is used through this value only from now on.
    let page = unsafe { GrantPage::from_raw(&space(), SHARED.as_ptr()) }
        .map_err(|_| Failure::new(LENDING, "the page has no frame"))?;
    let channel = Xen::new(xen).events().alloc_unbound(peer).during("setting a port aside")?;
    let channel = listen(channel)?;
    page.copy_from(PORT, &channel.port().0.to_le_bytes()).map_err(bounds)?;
    println!("| offers a page and port {}", channel.port().0);
    let grant = table
        .lend(page, peer, Access::ReadWrite)
        .map_err(|_| Failure::new(LENDING, "no entry is free"))?;
    if grant.reference() != REFERENCE {
        return Err(Failure::new(LENDING, "expected the first reference, found another"));
    }
    await_event(1);
    let mut message = [0; 5];
    grant.bytes().copy_to(MESSAGE, &mut message).map_err(bounds)?;
    println!("| reads the peer's message: {}", &message == b"hello");
    println!("| the page is read: {}, written: {}", grant.usage().reading, grant.usage().writing);
    grant.bytes().copy_from(ANSWER, b"world").map_err(bounds)?;
    channel.send().during("sending an event")?;
    await_event(2);
    println!("| the page is read: {}, written: {}", grant.usage().reading, grant.usage().writing);
    println!("| takes the page back: {}", grant.revoke().is_ok());
    Ok(())
}

fn accept(xen: &impl Hypercall, shared: SharedInfo<'_>, peer: Domid) -> Result<(), Failure> {
    const MAPPING: &str = "mapping a page";
    let of = ForeignGrant { domain: peer, reference: REFERENCE };
    let frame = space().frame_of(SHARED.as_ptr()).ok_or(Failure::new(MAPPING, "no frame"))?;
    let memory = Xen::new(xen).memory();
    // SAFETY: the page holds no data in use.
    unsafe { memory.decrease_reservation([frame], Extent::PAGE) }
        .map_err(|_| Failure::new(MAPPING, "the frame cannot be emptied"))?;
    // SAFETY: the frame is empty and used through the target only.
    let mut target = unsafe { MapTarget::new(&space(), SHARED.as_ptr()) }
        .map_err(|_| Failure::new(MAPPING, "the target has no frame"))?;
    // The peer may not have granted the page yet.
    let mapping = loop {
        let request = MapRequest { of, access: Access::ReadWrite, target };
        // SAFETY: the grant is another domain's.
        match unsafe { Xen::new(xen).grants().map(request) } {
            Ok(mapping) => break mapping,
            Err(failed) => target = failed.target,
        }
        Sched::new(xen).yield_now().during("yielding")?;
    };
    let bytes = mapping.bytes().ok_or(Failure::new(MAPPING, "the page cannot be written"))?;
    let mut port = [0; 4];
    bytes.copy_to(PORT, &mut port).map_err(bounds)?;
    let port = Port(u32::from_le_bytes(port));
    println!("| maps the page and finds port {}", port.0);
    let channel = Xen::new(xen).events().bind_interdomain(peer, port).during("binding a port")?;
    // Xen marks a port as pending when it is bound.
    println!("| a new port is pending: {}", TwoLevel::new(shared).clear(channel.port()));
    let channel = listen(channel)?;
    bytes.copy_from(MESSAGE, b"hello").map_err(bounds)?;
    channel.send().during("sending an event")?;
    await_event(1);
    let mut answer = [0; 5];
    bytes.copy_to(ANSWER, &mut answer).map_err(bounds)?;
    println!("| reads the peer's answer: {}", &answer == b"world");
    println!("| unmaps the page: {}", mapping.unmap().is_ok());
    channel.send().during("sending an event")?;
    // The peer reports the status of both domains. This domain ends silently.
    match Sched::new(xen).shutdown(ShutdownReason::POWEROFF).during("shutting down")? {}
}

fn bounds<E>(_: E) -> Failure {
    Failure::new("using the page", "the offset is beyond it")
}
