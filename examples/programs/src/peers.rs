//! Two domains that share a granted page and send each other events. Each prints its part of one
//! transcript while the other waits.

use core::fmt::Arguments;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_hal::event::{Channel, Dispatcher, Drain, Listener, Port, TwoLevel};
use xen_hal::grant::{Access, GrantRef, GrantTable, MapError, MapTarget, Mapping, Page};
use xen_hal::hypercall::Hypercall;
use xen_hal::platform::{AddressSpace, VcpuId};
use xen_hal::{Error, Xen};
use xen_pac::base::Domid;
use xen_pac::shared_info::SharedInfo;

/// The reference of the page that is offered, the first that the HAL gives out: eight are the
/// toolstack's.
pub const OFFERED: GrantRef = GrantRef(8);

/// Where the page holds the port, the accepter's message and the answer.
const PORT: usize = 0;
const MESSAGE: usize = 64;
const ANSWER: usize = 128;

/// The events of one of the domains, which its upcall handler counts.
#[derive(Debug)]
pub struct Arrivals {
    dispatcher: Dispatcher,
    count: AtomicU32,
}

impl Arrivals {
    /// Creates the value before the first event.
    #[must_use]
    pub const fn new() -> Self {
        Self { dispatcher: Dispatcher::new(), count: AtomicU32::new(0) }
    }

    /// Attaches the shared page. Call it once, before interrupts are on.
    pub fn attach(&self, shared: SharedInfo<'static>) {
        self.dispatcher.attach(shared);
    }

    /// Handles an upcall.
    pub fn handle(&self) {
        // Bounded: on Arm, Xen raises no interrupt again for events that are left.
        for _ in 0..16 {
            let count = |_| _ = self.count.fetch_add(1, Ordering::AcqRel);
            if self.dispatcher.dispatch(VcpuId(0), count) == Drain::Finished {
                break;
            }
        }
    }

    fn listen<X: Hypercall + Copy>(&self, channel: Channel<X>) -> Result<Listener<'_, X>, Error> {
        Ok(self.dispatcher.listen(channel, VcpuId(0)).map_err(|refused| refused.error)?)
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

/// What both domains use.
pub struct Peer<'p> {
    /// The events, whose handler is the domain's upcall handler.
    pub arrivals: &'static Arrivals,
    /// Sleeps with interrupts on until the function returns true.
    pub wait_until: &'p dyn Fn(&dyn Fn() -> bool),
    /// Gets the lines of the transcript.
    pub print: &'p mut dyn FnMut(Arguments<'_>),
}

impl Peer<'_> {
    /// Waits until that many events have arrived.
    fn await_event(&self, count: u32) {
        (self.wait_until)(&|| self.arrivals.count.load(Ordering::Acquire) >= count);
    }

    fn tell(&mut self, line: Arguments<'_>) {
        (self.print)(line);
    }
}

/// Grants a page to a domain, which accepts it, and takes it back.
///
/// # Errors
///
/// Xen's.
///
/// # Panics
///
/// If the table has other grants.
pub fn offer<X: Hypercall + Copy, A: AddressSpace>(
    xen: X,
    table: &GrantTable<'_, X, A>,
    page: Page,
    to: Domid,
    mut peer: Peer<'_>,
) -> Result<(), Error> {
    let channel = peer.arrivals.listen(Xen::new(xen).events().alloc_unbound(to)?)?;
    page.copy_from(PORT, &channel.port().0.to_le_bytes())?;
    peer.tell(format_args!("offers a page and port {}", channel.port().0));
    let grant = table.lend(page, to, Access::ReadWrite).expect("an entry is free");
    assert_eq!(grant.reference(), OFFERED, "no other page is lent");
    peer.await_event(1);
    let mut message = [0; 5];
    grant.bytes().copy_to(MESSAGE, &mut message)?;
    peer.tell(format_args!("reads the peer's message: {}", &message == b"hello"));
    let show_usage = |peer: &mut Peer<'_>| {
        let usage = grant.usage();
        peer.tell(format_args!("the page is read: {}, written: {}", usage.reading, usage.writing));
    };
    show_usage(&mut peer);
    grant.bytes().copy_from(ANSWER, b"world")?;
    channel.send()?;
    peer.await_event(2);
    show_usage(&mut peer);
    peer.tell(format_args!("takes the page back: {}", grant.revoke().is_ok()));
    Ok(())
}

/// Maps the page that a domain offers over `target`, and answers. `map` maps the page
/// [`OFFERED`] of that domain.
///
/// # Errors
///
/// Xen's.
///
/// # Panics
///
/// If `map` maps the page for reading only.
pub fn accept<'t, X: Hypercall + Copy>(
    xen: X,
    shared: SharedInfo<'_>,
    mut target: MapTarget<'t>,
    from: Domid,
    map: &mut dyn FnMut(MapTarget<'t>) -> Result<Mapping<'t, X>, MapError<'t>>,
    mut peer: Peer<'_>,
) -> Result<(), Error> {
    // The peer may not have granted the page yet.
    let mapping = loop {
        match map(target) {
            Ok(mapping) => break mapping,
            Err(failed) => target = failed.target,
        }
        Xen::new(xen).sched().yield_now()?;
    };
    let bytes = mapping.bytes().expect("the page can be written");
    let mut port = [0; 4];
    bytes.copy_to(PORT, &mut port)?;
    let port = Port(u32::from_le_bytes(port));
    peer.tell(format_args!("maps the page and finds port {}", port.0));
    let channel = Xen::new(xen).events().bind_interdomain(from, port)?;
    // Xen marks a port as pending when it is bound.
    let is_pending = TwoLevel::new(shared).clear(channel.port());
    peer.tell(format_args!("a new port is pending: {is_pending}"));
    let channel = peer.arrivals.listen(channel)?;
    bytes.copy_from(MESSAGE, b"hello")?;
    channel.send()?;
    peer.await_event(1);
    let mut answer = [0; 5];
    bytes.copy_to(ANSWER, &mut answer)?;
    peer.tell(format_args!("reads the peer's answer: {}", &answer == b"world"));
    peer.tell(format_args!("unmaps the page: {}", mapping.unmap().is_ok()));
    Ok(channel.send()?)
}
