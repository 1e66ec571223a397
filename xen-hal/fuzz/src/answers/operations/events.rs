//! Event channels.

use xen_hal::Xen;
use xen_hal::event::{Channel, Kind, Port, PortSet, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_hal::platform::VcpuId;
use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{EvtchnClose, EvtchnPriority, command};
use xen_pac::shared_info::SharedInfo;

use super::super::hypervisor::Hostile;
use super::super::{debug, display, good};
use super::Operation;
use crate::input::Input;
use crate::memory::Pages;

thread_local! {
    static SHARED: Pages = Pages::leak(1);
}

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, input| _ = good(Xen::new(xen).events().status(Port(input.number() as u32))),
    |xen, _| channel(xen, Xen::new(xen).events().alloc_unbound(Domid(1)), Kind::Unbound),
    |xen, _| {
        channel(xen, Xen::new(xen).events().bind_interdomain(Domid(1), Port(9)), Kind::Interdomain)
    },
    |xen, _| channel(xen, Xen::new(xen).events().bind_virq(Virq::TIMER, VcpuId(0)), Kind::Virq),
    |xen, _| channel(xen, Xen::new(xen).events().bind_pirq(4, true), Kind::Pirq),
    |xen, _| channel(xen, Xen::new(xen).events().bind_ipi(VcpuId(0)), Kind::Ipi),
    |xen, _| {
        _ = good(Xen::new(xen).events().alloc_unbound_for(Domid(1), Domid(2)))
            .map(|port| display(&port))
    },
    |xen, _| _ = good(Xen::new(xen).events().send(Port(3))),
    |xen, _| _ = good(Xen::new(xen).events().set_priority(Port(3), EvtchnPriority(7))),
    unmask,
    migrate,
];

/// A channel has the port that it was told, and closes that one, once.
fn channel(xen: &Hostile<'_>, made: Result<Channel<&Hostile<'_>>, Errno>, kind: Kind) {
    let Some(channel) = good(made) else { return assert!(xen.calls(command::Close).is_empty()) };
    let port = channel.port();
    assert_eq!(channel.kind(), kind);
    good(channel.send());
    good(channel.status());
    drop(channel);
    let closed: Vec<u32> = xen
        .calls(command::Close)
        .iter()
        .flat_map(super::super::hypervisor::Call::asked::<EvtchnClose>)
        .map(|asked| asked.port)
        .collect();
    assert_eq!(closed, [port.0]);
}

/// The bitmaps of a page.
fn bitmaps() -> TwoLevel<'static> {
    let page = SHARED.with(|pages| *pages);
    page.clear();
    // SAFETY: the page stays, and is touched by handles alone.
    TwoLevel::new(unsafe { SharedInfo::from_ptr(page.at(0)) })
}

/// If the hypercall fails, the port is masked. It is not made for a port of the own set that
/// has no event.
fn unmask(xen: &Hostile<'_>, input: &Input) {
    let (bitmaps, own) = (bitmaps(), PortSet::new());
    let port = Port(input.u16().into());
    let is_own = input.byte() % 2 == 0 && own.insert(port);
    bitmaps.mask(port);
    let unmasked = good(bitmaps.unmask(Xen::new(xen).events(), port, &own));
    let calls = xen.calls(command::Unmask).len();
    assert_eq!(calls, usize::from(port.0 < TwoLevel::PORTS && !is_own));
    assert_eq!(
        unmasked.is_none(),
        port.0 >= TwoLevel::PORTS || calls != 0 && bitmaps.is_masked(port) && unmasked.is_none()
    );
}

/// A port is in one of the two sets, and in the new one if Xen moved it.
fn migrate(xen: &Hostile<'_>, input: &Input) {
    let (bitmaps, from, to) = (bitmaps(), PortSet::new(), PortSet::new());
    let port = Port(input.u16().into());
    let known = from.insert(port);
    let moved = good(bitmaps.migrate(Xen::new(xen).events(), port, VcpuId(1), &from, &to));
    debug(&(&from, &to));
    let told = xen
        .calls(command::BindVcpu)
        .iter()
        .any(|call| xen_hal::hypercall::check(call.answer).is_ok());
    assert_eq!((from.contains(port), to.contains(port)), (known && !told, known && told));
    assert!(moved.is_none() || told);
}
