//! Makes hypercalls fail with `FaultInjector`, on real Xen. When a hypercall of an operation fails,
//! the HAL returns the error and undoes the rest, and a later attempt succeeds.
#![no_std]
#![no_main]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use rt::{AnyBackend, Boot, During, Failure, Page, interrupts, println};
use xen_hal::Xen;
use xen_hal::event::{Binding, Dispatcher, Drain, EventError, Port};
use xen_hal::grant::{
    Access, ForeignGrant, GrantError, GrantRefAllocator, GrantTable, MapRequest, MapTarget,
    Page as GrantPage,
};
use xen_hal::hypercall::{Errno, Fault, FaultInjector};
use xen_hal::memory::{Extent, PartialReservation};
use xen_hal::platform::{Frame, IdentityMap, VcpuId};
use xen_pac::base::Domid;

rt::entry!(main);

type Injector = FaultInjector<AnyBackend>;

static SHARED_INFO: Page = Page::new();
static TABLE: [Page; 2] = [const { Page::new() }; 2];
static GRANTED: Page = Page::new();
static TARGET: Page = Page::new();

static EVENTS: Dispatcher = Dispatcher::new();
static REFS: GrantRefAllocator<2> = GrantRefAllocator::new();
/// How many events arrived.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

/// The number of events that are sent while hypercalls fail.
const SENT: u32 = 200;

fn main(boot: Boot) -> Result<(), Failure> {
    EVENTS.attach(rt::map_shared_info(&boot.xen, &SHARED_INFO)?);
    rt::on_upcall(upcall);
    let table = map_table(&boot.xen)?;
    let state = || State::read(&boot.xen, table.available());
    each_fails(&boot.xen, "a channel and its other end", state, |xen| {
        let events = Xen::new(xen).events();
        let near = events.alloc_unbound(Domid::SELF)?;
        let _far = events.bind_interdomain(Domid::SELF, near.port())?;
        Ok::<_, Errno>(xen.made())
    })?;
    each_fails(&boot.xen, "a channel that the dispatcher listens to", state, |xen| {
        let channel = Xen::new(xen).events().bind_ipi(VcpuId(0))?;
        let _listener = EVENTS.listen(channel, VcpuId(0)).map_err(|error| error.error)?;
        Ok::<_, EventError>(xen.made())
    })?;
    let mut lender = Lender::new(&boot.xen, table)?;
    each_fails(&boot.xen, "a page that is granted and mapped", state, |xen| lender.map(xen))?;
    each_fails(&boot.xen, "a page that is returned to Xen and replaced", state, |xen| {
        let (memory, frame) = (Xen::new(xen).memory(), [TARGET.frame()]);
        // SAFETY: nothing is kept in the frame.
        unsafe { memory.decrease_reservation(frame, Extent::PAGE) }?;
        // SAFETY: as above.
        let populated = unsafe { memory.populate_physmap(frame, Extent::PAGE) };
        if populated.is_err() {
            // The frame has no memory, until this attempt.
            refill(&boot.xen, TARGET.frame())?;
        }
        populated.map(|()| xen.made())
    })?;
    send_again(&boot.xen)
}

/// What Xen and the HAL hold for the domain.
#[derive(Clone, Copy, PartialEq)]
struct State {
    /// The port that Xen allocates next: the lowest that is free.
    port: Port,
    /// The domain's pages.
    pages: usize,
    /// The free references.
    references: u32,
}

impl State {
    fn read(xen: &AnyBackend, references: u32) -> Result<Self, Failure> {
        const READING: &str = "reading the state";
        let hal = Xen::new(xen);
        let port = hal.events().alloc_unbound(Domid::SELF).during(READING)?.port();
        let pages = hal.memory().current_reservation().during(READING)?;
        Ok(Self { port, pages, references })
    }
}

/// Makes each hypercall of an operation fail in turn, and compares the states. The operation
/// returns the number of its hypercalls, without those that release its result.
fn each_fails<E>(
    xen: &AnyBackend,
    name: &'static str,
    state: impl Fn() -> Result<State, Failure>,
    mut operation: impl FnMut(&Injector) -> Result<u32, E>,
) -> Result<(), Failure> {
    let undisturbed = FaultInjector::new(*xen, Fault::Nth(u64::MAX, Errno::ENOMEM));
    let hypercalls = operation(&undisturbed);
    let hypercalls = hypercalls.map_err(|_| Failure::new(name, "Xen refuses it"))?;
    // After the operation: on x86, one that maps the domain's own page loses the page.
    let before = state()?;
    for nth in 1..=hypercalls {
        let injector = FaultInjector::new(*xen, Fault::Nth(nth.into(), Errno::ENOMEM));
        if operation(&injector).is_ok() || injector.failed() != 1 {
            return Err(Failure::new(name, "expected an error, found none"));
        }
        if state()? != before {
            return Err(Failure::new(name, "expected no trace of a failure, found one"));
        }
    }
    println!("{name}: {hypercalls} hypercalls, each failed once, without a trace");
    Ok(())
}

/// Maps the grant table while a hypercall of each attempt fails. The next attempt continues.
fn map_table(xen: &AnyBackend) -> Result<GrantTable<'static, AnyBackend, IdentityMap>, Failure> {
    const MAPPING: &str = "mapping the grant table";
    let place = NonNull::from(&TABLE).cast();
    for nth in 1..10 {
        let injector = FaultInjector::new(*xen, Fault::Nth(nth, Errno::ENOMEM));
        // SAFETY: the pages are used for the table only, and the domain is not suspended.
        match unsafe { GrantTable::map(&injector, space(), place, &REFS, 2) } {
            Ok(_) => {
                println!("the grant table: mapped after {} attempts that failed", nth - 1);
                // SAFETY: as above; the table is mapped, with these references.
                return unsafe { GrantTable::map(*xen, space(), place, &REFS, 2) }
                    .map_err(|_| Failure::new(MAPPING, "Xen refuses it"));
            }
            Err(_) if injector.failed() == 1 => {}
            Err(_) => return Err(Failure::new(MAPPING, "Xen refuses it")),
        }
    }
    Err(Failure::new(MAPPING, "expected an attempt without a failure, found none"))
}

/// A page that the domain grants to itself, and where it is mapped.
struct Lender {
    xen: AnyBackend,
    table: GrantTable<'static, AnyBackend, IdentityMap>,
    me: Domid,
    page: Option<GrantPage>,
    target: Option<MapTarget<'static>>,
}

impl Lender {
    fn new(
        xen: &AnyBackend,
        table: GrantTable<'static, AnyBackend, IdentityMap>,
    ) -> Result<Self, Failure> {
        const PREPARING: &str = "preparing a grant";
        let events = Xen::new(xen).events();
        let channel = events.alloc_unbound(Domid::SELF).during(PREPARING)?;
        // Xen names the peer of a channel, here the domain itself.
        let Binding::Unbound { remote: me } = channel.status().during(PREPARING)?.binding else {
            return Err(Failure::new(PREPARING, "the channel has no peer"));
        };
        // SAFETY: the page is used through this value only.
        let page = unsafe { GrantPage::from_raw(&space(), GRANTED.as_ptr()) };
        // SAFETY: the frame holds no data, and is used through the target, or while it is free.
        let target = unsafe { MapTarget::new(&space(), TARGET.as_ptr()) };
        Ok(Self { xen: *xen, table, me, page: page.ok(), target: target.ok() })
    }

    /// Grants the page, maps it, unmaps it, and takes it back.
    fn map(&mut self, xen: &Injector) -> Result<u32, GrantError> {
        let (Some(page), Some(target)) = (self.page.take(), self.target.take()) else {
            return Err(GrantError::Full);
        };
        let frames = [page.frame(), target.frame()];
        let grant =
            self.table.lend(page, self.me, Access::ReadWrite).map_err(|error| error.error())?;
        let of = ForeignGrant { domain: self.me, reference: grant.reference() };
        // SAFETY: nothing is kept in the target's frame.
        let _ = unsafe {
            Xen::new(&self.xen).memory().decrease_reservation([target.frame()], Extent::PAGE)
        };
        let request = MapRequest { of, access: Access::ReadWrite, target };
        // SAFETY: the page is not used while it is mapped.
        let result = match unsafe { Xen::new(xen).grants().map(request) } {
            Ok(mapping) => {
                let made = xen.made();
                self.target = mapping.unmap().ok();
                Ok(made)
            }
            Err(failed) => {
                self.target = Some(failed.target);
                Err(failed.error)
            }
        };
        self.page = grant.revoke().ok().map(|(_slot, page)| page);
        // On x86, the page has moved to the target, and its own frame is empty.
        for frame in frames {
            refill(&self.xen, frame).map_err(|_| GrantError::Errno(Errno::ENOMEM))?;
        }
        result
    }
}

/// Gets memory for a frame, whether it has some or not.
fn refill(xen: &AnyBackend, frame: Frame) -> Result<(), PartialReservation> {
    let memory = Xen::new(xen).memory();
    // It fails if the frame has no memory.
    // SAFETY: nothing is kept in the frame.
    let _ = unsafe { memory.decrease_reservation([frame], Extent::PAGE) };
    // SAFETY: as above.
    unsafe { memory.populate_physmap([frame], Extent::PAGE) }
}

/// Sends events while one in four hypercalls fails, each until Xen takes it. None is lost.
fn send_again(xen: &AnyBackend) -> Result<(), Failure> {
    const SENDING: &str = "sending events";
    let injector = FaultInjector::new(*xen, Fault::OneIn(4, 7, Errno::EAGAIN));
    let channel = Xen::new(xen).events().bind_ipi(VcpuId(0)).during(SENDING)?;
    let listener = EVENTS
        .listen(channel, VcpuId(0))
        .map_err(|_| Failure::new(SENDING, "the dispatcher refuses the channel"))?;
    interrupts::enable();
    let events = Xen::new(&injector).events();
    for count in 1..=SENT {
        while let Err(error) = events.send(listener.port()) {
            if error != Errno::EAGAIN {
                return Err(error).during(SENDING);
            }
        }
        interrupts::wait_until(|| ARRIVED.load(Ordering::Acquire) >= count);
    }
    let (arrived, failed) = (ARRIVED.load(Ordering::Acquire), injector.failed());
    if arrived != SENT || failed == 0 {
        return Err(Failure::new(SENDING, "expected each event once, found another number"));
    }
    println!("{arrived} events arrived, for which {failed} hypercalls failed and were repeated");
    Ok(())
}

fn upcall() {
    let count = |_| _ = ARRIVED.fetch_add(1, Ordering::AcqRel);
    // Bounded: on Arm, Xen raises no interrupt again for events that are left.
    for _ in 0..16 {
        if EVENTS.dispatch(VcpuId(0), count) == Drain::Finished {
            break;
        }
    }
}

fn space() -> IdentityMap {
    // SAFETY: the runtime's memory is mapped to itself.
    unsafe { IdentityMap::new() }
}
