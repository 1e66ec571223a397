//! Event channels.

use xen_hal::event::{AllPorts, Dispatcher};
use xen_hal::platform::VcpuId;
use xen_pac::base::{Domid, Virq};
use xen_pac::event_channel::EvtchnPriority;

use super::{Leaves, Operation, single};

const FIRST: VcpuId = VcpuId(0);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        single("Events::alloc_unbound", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().events().alloc_unbound(Domid::SELF));
        }),
        single("Events::alloc_unbound_for", |kernel, attempt| {
            attempt.during(kernel.guest, || {
                kernel.xen().events().alloc_unbound_for(Domid::SELF, Domid(1))
            });
        }),
        single("Events::bind_interdomain", |kernel, attempt| {
            let events = kernel.xen().events();
            let near = events.alloc_unbound(Domid::SELF).expect("a port is free");
            attempt.during(kernel.guest, || events.bind_interdomain(Domid::SELF, near.port()));
        }),
        single("Events::bind_virq", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().events().bind_virq(Virq::TIMER, FIRST));
        }),
        single("Events::bind_pirq", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().events().bind_pirq(9, false));
        }),
        single("Events::bind_ipi", |kernel, attempt| {
            attempt.during(kernel.guest, || kernel.xen().events().bind_ipi(FIRST));
        }),
        single("Channel::close", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            attempt.during(kernel.guest, || channel.close());
        }),
        single("Channel::send", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            attempt.during(kernel.guest, || channel.send());
        }),
        single("Channel::status", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            attempt.during(kernel.guest, || channel.status());
        }),
        single("Events::status_of", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            attempt
                .during(kernel.guest, || kernel.xen().events().status_of(Domid(0), channel.port()));
        }),
        single("Channel::bind_vcpu", |kernel, attempt| {
            let mut channel =
                kernel.xen().events().alloc_unbound(Domid::SELF).expect("a port is free");
            attempt.during(kernel.guest, || channel.bind_vcpu(VcpuId(1)));
        }),
        single("Events::unmask", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            kernel.bitmaps().mask(channel.port());
            attempt.during(kernel.guest, || kernel.xen().events().unmask(channel.port()));
        }),
        single("TwoLevel::unmask, with an event pending", |kernel, attempt| {
            let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
            kernel.bitmaps().mask(channel.port());
            channel.send().expect("the port is an IPI's");
            attempt.during(kernel.guest, || {
                kernel.bitmaps().unmask(kernel.xen().events(), channel.port(), AllPorts)
            });
        }),
        Operation {
            name: "Dispatcher::listen, on another vCPU",
            hypercalls: 2,
            leaves: Leaves::WhatWasDone { from: 2, says: "the port has moved and is masked" },
            run: |kernel, attempt| {
                let dispatcher: &'static Dispatcher<2> = Box::leak(Box::default());
                dispatcher.attach(kernel.shared);
                let channel =
                    kernel.xen().events().alloc_unbound(Domid::SELF).expect("a port is free");
                attempt.during(kernel.guest, || dispatcher.listen(channel, VcpuId(1)));
            },
        },
        Operation {
            name: "Listener::migrate",
            hypercalls: 2,
            leaves: Leaves::WhatWasDone { from: 2, says: "the port has moved and is masked" },
            run: |kernel, attempt| {
                let dispatcher: &'static Dispatcher<2> = Box::leak(Box::default());
                dispatcher.attach(kernel.shared);
                let channel =
                    kernel.xen().events().alloc_unbound(Domid::SELF).expect("a port is free");
                let listener = dispatcher.listen(channel, FIRST).expect("the port is its own");
                attempt.during(kernel.guest, || listener.migrate(VcpuId(1), || ()));
            },
        },
        Operation {
            name: "Events::set_priority, which the two-level form refuses",
            hypercalls: 1,
            leaves: Leaves::Nothing,
            run: |kernel, attempt| {
                let channel = kernel.xen().events().bind_ipi(FIRST).expect("a port is free");
                attempt.during(kernel.guest, || {
                    match kernel.xen().events().set_priority(channel.port(), EvtchnPriority(7)) {
                        Err(xen_hal::hypercall::Errno::ENOSYS) => Ok(()),
                        other => other,
                    }
                });
            },
        },
        single("Events::reset", |kernel, attempt| {
            let port = kernel.xen().events().bind_ipi(FIRST).expect("a port is free").into_port();
            assert_eq!(port.0, 1);
            // SAFETY: no channel is dropped afterwards.
            attempt.during(kernel.guest, || unsafe { kernel.xen().events().reset(Domid::SELF) });
        }),
    ]
}
