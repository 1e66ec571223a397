//! Event channels.

use xen_hal::event::{Channel, Dispatcher, Kind, Port, PortSet, TwoLevel};
use xen_hal::hypercall::{Errno, check};
use xen_hal::platform::VcpuId;
use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{EvtchnPriority, command};
use xen_pac::shared_info::SharedInfo;

use super::hostile::Hostile;
use super::{Operation, debug, display, good};
use crate::fake::{Fake, page};
use crate::input::Input;

pub(super) const OPERATIONS: &[Operation] = &[
    |xen, input| _ = good(xen.hal().events().status(Port(input.number() as u32))),
    |xen, _| channel(xen, xen.hal().events().alloc_unbound(Domid(1)), Kind::Unbound),
    |xen, _| {
        channel(xen, xen.hal().events().bind_interdomain(Domid(1), Port(9)), Kind::Interdomain)
    },
    |xen, _| channel(xen, xen.hal().events().bind_virq(Virq::TIMER, VcpuId(0)), Kind::Virq),
    |xen, _| channel(xen, xen.hal().events().bind_pirq(4, true), Kind::Pirq),
    |xen, _| channel(xen, xen.hal().events().bind_ipi(VcpuId(0)), Kind::Ipi),
    |xen, _| {
        _ = good(xen.hal().events().alloc_unbound_for(Domid(1), Domid(2)))
            .map(|port| display(&port))
    },
    |xen, _| _ = good(xen.hal().events().send(Port(3))),
    |xen, _| _ = good(xen.hal().events().set_priority(Port(3), EvtchnPriority(7))),
    unmask,
    listen,
];

/// A channel has the port that it was told, and closes that one, once.
fn channel(xen: &Hostile<'_>, made: Result<Channel<&Fake<'_>>, Errno>, kind: Kind) {
    let Some(channel) = good(made) else { return assert!(xen.calls(command::Close).is_empty()) };
    let port = channel.port();
    assert_eq!(channel.kind(), kind);
    good(channel.send());
    good(channel.status());
    drop(channel);
    let closed = xen.asked_and_told(command::Close).into_iter().map(|(asked, _)| asked.port);
    assert_eq!(closed.collect::<Vec<_>>(), [port.0]);
}

/// The shared page.
fn shared() -> SharedInfo<'static> {
    // SAFETY: the page stays, and is accessed by handles alone.
    unsafe { SharedInfo::from_ptr(page(0)) }
}

/// If the hypercall fails, the port is masked. It is not made for a port of the own set that
/// has no event.
fn unmask(xen: &Hostile<'_>, input: &Input) {
    let (bitmaps, own) = (TwoLevel::new(shared()), PortSet::new());
    let port = Port(input.u16().into());
    let is_own = input.byte() % 2 == 0 && own.insert(port);
    bitmaps.mask(port);
    let unmasked = good(bitmaps.unmask(xen.hal().events(), port, &own));
    let calls = xen.calls(command::Unmask).len();
    assert_eq!(calls, usize::from(port.0 < TwoLevel::PORTS && !is_own));
    let may_fail = port.0 >= TwoLevel::PORTS || calls != 0 && bitmaps.is_masked(port);
    assert!(unmasked.is_some() || may_fail);
    assert!(unmasked.is_none() || port.0 < TwoLevel::PORTS);
}

/// A listener is on the vCPU to which Xen moved its port. The channel closes once, with the port
/// masked.
fn listen(xen: &Hostile<'_>, input: &Input) {
    let (dispatcher, port) = (Dispatcher::<2>::new(), Port(input.u16().into()));
    dispatcher.attach(shared());
    let channel = xen.hal().events().adopt(port, Kind::Unbound, VcpuId(0));
    let moved = || xen.calls(command::BindVcpu).iter().any(|call| check(call.answer).is_ok());
    if let Some(listener) = good(dispatcher.listen(channel, VcpuId(1))) {
        assert!(moved() && listener.vcpu() == VcpuId(1));
        good(listener.unmask(VcpuId(1)));
        let migrated = good(listener.migrate(VcpuId(0), || panic!("no handler runs")));
        let moved = moved();
        assert_eq!(listener.vcpu(), VcpuId(u32::from(!moved)));
        assert!(migrated.is_none() || moved);
        debug(&dispatcher);
    }
    assert!(port.0 >= TwoLevel::PORTS || TwoLevel::new(shared()).is_masked(port));
    assert_eq!(xen.calls(command::Close).len(), 1);
}
