//! Tests the commands, and the ownership of the channels that they create.

use core::ptr::NonNull;
use std::boxed::Box;
use std::cell::RefCell;
use std::vec::Vec;

use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::{
    EvtchnBindVcpu, EvtchnPriority, EvtchnState, EvtchnStatusU, EvtchnStatusUInterdomain,
    EvtchnStatusUUnbound, command,
};
use xen_pac::shared_info::{SharedInfo, VcpuInfo, raw};

use crate::event::{Binding, Channel, Dispatcher, Events, Kind, Port, Status};
use crate::hypercall::{Errno, Hypercall};
use crate::platform::{Frame, VcpuId};
use crate::testing::{Script, errno};

/// Returns a script's last step: the port is closed.
fn closing(script: Script<'_>, port: u32) -> Script<'_> {
    script.argument(command::Close, move |close| {
        assert_eq!(close.port, port);
        0
    })
}

fn made<H: Hypercall + Copy>(channel: Result<Channel<H>, Errno>) -> (Port, Kind) {
    let channel = channel.unwrap();
    (channel.port(), channel.kind())
}

#[test]
fn each_kind_of_channel_is_made_and_closed() {
    let xen = closing(
        Script::new().argument(command::AllocUnbound, |unbound| {
            assert_eq!((unbound.dom, unbound.remote_dom), (Domid::SELF, Domid(3)));
            unbound.port = 8;
            0
        }),
        8,
    );
    assert_eq!(made(Events::new(&xen).alloc_unbound(Domid(3))), (Port(8), Kind::Unbound));

    let xen = closing(
        Script::new().argument(command::BindInterdomain, |bind| {
            assert_eq!((bind.remote_dom, bind.remote_port), (Domid(3), 12));
            bind.local_port = 9;
            0
        }),
        9,
    );
    assert_eq!(
        made(Events::new(&xen).bind_interdomain(Domid(3), Port(12))),
        (Port(9), Kind::Interdomain)
    );

    let xen = closing(
        Script::new().argument(command::BindVirq, |bind| {
            assert_eq!((bind.virq, bind.vcpu), (Virq::TIMER, 1));
            bind.port = 10;
            0
        }),
        10,
    );
    assert_eq!(made(Events::new(&xen).bind_virq(Virq::TIMER, VcpuId(1))), (Port(10), Kind::Virq));

    let xen = closing(
        Script::new().argument(command::BindIpi, |bind| {
            assert_eq!(bind.vcpu, 2);
            bind.port = 11;
            0
        }),
        11,
    );
    assert_eq!(made(Events::new(&xen).bind_ipi(VcpuId(2))), (Port(11), Kind::Ipi));

    for (share, flags) in [(false, 0), (true, 1)] {
        let bind = Script::new().argument(command::BindPirq, move |bind| {
            assert_eq!((bind.pirq, bind.flags), (16, flags));
            bind.port = 12;
            0
        });
        let xen = closing(bind, 12);
        assert_eq!(made(Events::new(&xen).bind_pirq(16, share)), (Port(12), Kind::Pirq));
    }
}

#[test]
fn what_failed_owns_nothing() {
    let xen = Script::new().argument(command::BindIpi, |_| errno(Errno::ENOSPC));
    assert_eq!(Events::new(&xen).bind_ipi(VcpuId(0)).err(), Some(Errno::ENOSPC));
}

#[test]
fn ownership_can_be_given_up_and_taken_again() {
    let xen = Script::new();
    let channel = Events::new(&xen).adopt(Port(5), Kind::Interdomain, VcpuId(0));
    assert_eq!(channel.into_port(), Port(5));
    xen.done();

    let xen = Script::new().argument(command::Close, |_| errno(Errno::EINVAL));
    let channel = Events::new(&xen).adopt(Port(5), Kind::Interdomain, VcpuId(0));
    assert_eq!(channel.close(), Err(Errno::EINVAL));
}

#[test]
fn a_listen_that_fails_after_the_move_is_undone_by_the_next() {
    let page = NonNull::from(Box::leak(Box::new(raw::SharedInfo::ZEROED)));
    let dispatcher = Dispatcher::<2>::new();
    // SAFETY: the page is never freed, and only such handles access it.
    dispatcher.attach(unsafe { SharedInfo::from_ptr(page) });
    // On Arm, the shared page has no block for this vCPU.
    let info = NonNull::from(Box::leak(Box::new(raw::VcpuInfo::ZEROED)));
    // SAFETY: as for the page.
    dispatcher.attach_vcpu(VcpuId(1), unsafe { VcpuInfo::from_ptr(info) }).unwrap();
    let moves = |vcpu| {
        move |bind: &mut EvtchnBindVcpu| {
            assert_eq!((bind.port, bind.vcpu), (5, vcpu));
            0
        }
    };
    let xen = Script::new()
        .argument(command::BindVcpu, moves(1))
        .argument(command::Unmask, |_| errno(Errno::EINVAL))
        .argument(command::BindVcpu, moves(0))
        .argument(command::Unmask, |_| 0);
    let xen = closing(xen, 5);
    let channel = Events::new(&xen).adopt(Port(5), Kind::Interdomain, VcpuId(0));
    let failed = dispatcher.listen(channel, VcpuId(1)).unwrap_err();
    let listener = dispatcher.listen(failed.channel, VcpuId(0)).unwrap();
    assert_eq!(listener.vcpu(), VcpuId(0));
}

#[test]
fn a_channel_from_before_a_restore_closes_nothing() {
    let xen = Script::new();
    let made = || Events::new(&xen).adopt(Port(5), Kind::Ipi, VcpuId(0));
    let (mut closed, dropped) = (made(), made());
    assert!(closed.is_current());
    xen.count_restore();
    assert!(!closed.is_current() && made().into_port() == Port(5));
    assert_eq!(closed.status(), Err(Errno::EINVAL));
    assert_eq!(closed.bind_vcpu(VcpuId(1)), Err(Errno::EINVAL));
    assert_eq!(closed.close(), Ok(()));
    drop(dropped);
}

#[test]
fn a_channel_is_used_by_its_number() {
    let xen = Script::new()
        .argument(command::Send, |send| {
            assert_eq!(send.port, 5);
            0
        })
        .argument(command::BindVcpu, |bind| {
            assert_eq!((bind.port, bind.vcpu), (5, 1));
            errno(Errno::EINVAL)
        });
    let xen = closing(xen, 5);
    let mut channel = Events::new(&xen).adopt(Port(5), Kind::Ipi, VcpuId(0));
    assert!(std::format!("{channel:?}").starts_with("Channel { port: Port(5), kind: Ipi"));
    channel.send().unwrap();
    assert_eq!(channel.bind_vcpu(VcpuId(1)), Err(Errno::EINVAL));
}

#[test]
fn a_ports_status_is_decoded_by_its_state() {
    let mut unbound = EvtchnStatusUUnbound::ZEROED;
    unbound.dom = Domid(4);
    let mut joined = EvtchnStatusUInterdomain::ZEROED;
    (joined.dom, joined.port) = (Domid(5), 6);
    let later = EvtchnState(77);
    let cases = [
        (EvtchnState::CLOSED, EvtchnStatusU::ZEROED, Binding::Closed),
        (
            EvtchnState::UNBOUND,
            EvtchnStatusU::from_unbound(unbound),
            Binding::Unbound { remote: Domid(4) },
        ),
        (
            EvtchnState::INTERDOMAIN,
            EvtchnStatusU::from_interdomain(joined),
            Binding::Interdomain { remote: Domid(5), port: Port(6) },
        ),
        (EvtchnState::PIRQ, EvtchnStatusU::from_pirq(16), Binding::Pirq(16)),
        (EvtchnState::VIRQ, EvtchnStatusU::from_virq(Virq::TIMER), Binding::Virq(Virq::TIMER)),
        (EvtchnState::IPI, EvtchnStatusU::ZEROED, Binding::Ipi),
        (later, EvtchnStatusU::ZEROED, Binding::Unknown(later)),
    ];
    for (state, union, binding) in cases {
        let xen = Script::new().argument(command::Status, |status| {
            assert_eq!((status.dom, status.port), (Domid::SELF, 3));
            (status.status, status.vcpu, status.u) = (state, 1, union);
            0
        });
        assert_eq!(Events::new(&xen).status(Port(3)), Ok(Status { vcpu: VcpuId(1), binding }));
    }
}

#[test]
fn other_domains_ports_are_numbers_only() {
    let xen = Script::new()
        .argument(command::AllocUnbound, |unbound| {
            assert_eq!((unbound.dom, unbound.remote_dom), (Domid(7), Domid(0)));
            unbound.port = 1;
            0
        })
        .argument(command::Status, |status| {
            assert_eq!((status.dom, status.port), (Domid(7), 1));
            errno(Errno::EPERM)
        });
    let events = Events::new(&xen);
    let port = events.alloc_unbound_for(Domid(7), Domid(0)).unwrap();
    assert_eq!(events.status_of(Domid(7), port), Err(Errno::EPERM));
}

#[test]
fn the_commands_of_the_fifo_form_pass_their_arguments() {
    let seen = RefCell::new(Vec::new());
    let xen = Script::new()
        .argument(command::InitControl, |control| {
            seen.borrow_mut().push((control.control_gfn, control.offset, control.vcpu));
            control.link_bits = 17;
            0
        })
        .argument(command::ExpandArray, |array| {
            assert_eq!(array.array_gfn, 0x81);
            errno(Errno::EOPNOTSUPP)
        })
        .argument(command::SetPriority, |priority| {
            assert_eq!((priority.port, priority.priority), (3, EvtchnPriority::MAX));
            errno(Errno::ENOSYS)
        })
        .argument(command::Reset, |reset| {
            assert_eq!(reset.dom, Domid::SELF);
            0
        });
    let events = Events::new(&xen);
    // SAFETY: the script writes to no frame.
    assert_eq!(unsafe { events.init_control(VcpuId(1), Frame(0x80), 72) }, Ok(17));
    assert_eq!(*seen.borrow(), [(0x80, 72, 1)]);
    // SAFETY: as above.
    assert_eq!(unsafe { events.expand_array(Frame(0x81)) }, Err(Errno::EOPNOTSUPP));
    assert_eq!(events.set_priority(Port(3), EvtchnPriority::MAX), Err(Errno::ENOSYS));
    // SAFETY: there are no channels.
    assert_eq!(unsafe { events.reset(Domid::SELF) }, Ok(()));
}
