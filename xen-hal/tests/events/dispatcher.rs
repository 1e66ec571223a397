//! The dispatcher and its listeners.

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use xen_hal::Xen;
use xen_hal::event::{Dispatcher, Drain, EventError, Kind, Port, PortSet, TwoLevel};
use xen_hal::hypercall::Errno;
use xen_hal::memory::WidthLatch;
use xen_hal::platform::{Interrupts, VcpuId};
use xen_hal::vcpu::Area;
use xen_pac::base::Domid;
use xen_pac::hvm::CallbackVia;
use xen_pac::shared_info::raw;
use xen_sim::{DomainConfig, FaultRates, Guest, Machine, Profile, for_each_seed};

use super::with_domain;

const FIRST: VcpuId = VcpuId(0);
const SECOND: VcpuId = VcpuId(1);

/// Dispatches on a vCPU. Returns which ports were handled.
fn handled<const VCPUS: usize>(dispatcher: &Dispatcher<VCPUS>, vcpu: VcpuId) -> Vec<Port> {
    let mut ports = Vec::new();
    assert_eq!(dispatcher.dispatch(vcpu, |port| ports.push(port)), Drain::Finished);
    ports
}

#[test]
fn it_finds_nothing_unless_it_is_attached() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        domain.bind_ipis(1, |_| 0);
        domain.raise(Port(1));
        assert_eq!(handled(&dispatcher, FIRST), []);
        assert!(domain.upcall_pending(0), "the upcall is not taken");
        assert!(!dispatcher.mask(Port(1)) && !dispatcher.clear(Port(1)));
        let channel = domain.xen.events().bind_ipi(FIRST).unwrap();
        let refused = dispatcher.listen(channel, FIRST).unwrap_err();
        assert_eq!(refused.error, EventError::NotAttached);
        assert_eq!(refused.channel.port(), Port(2));
        assert!(format!("{refused:?}").starts_with("ListenError { channel: Channel {"));

        dispatcher.attach(domain.shared);
        assert_eq!(handled(&dispatcher, VcpuId(2)), [], "there is no such vCPU");
        let refused = dispatcher.listen(refused.channel, VcpuId(2)).unwrap_err();
        assert_eq!(refused.error, EventError::NoSuchVcpu(VcpuId(2)));
        let listener = dispatcher.listen(refused.channel, FIRST).unwrap();
        assert!(format!("{listener:?}").starts_with("Listener { channel: Channel {"));
        assert_eq!(format!("{dispatcher:?}"), "[{Port(2)}, {}]");
        dispatcher.detach();
        listener.send().unwrap();
        assert_eq!(handled(&dispatcher, FIRST), []);
        assert_eq!(listener.unmask(FIRST), Err(EventError::NotAttached));
    });
}

#[test]
fn attaching_masks_all_ports_and_listening_unmasks_one() {
    with_domain(|domain| {
        domain.bind_ipis(3, |port| u32::from(port == 3));
        let dispatcher = Dispatcher::<1>::new();
        dispatcher.attach(domain.shared);
        let bitmaps = domain.bitmaps();
        assert!((1..TwoLevel::PORTS).all(|port| bitmaps.is_masked(Port(port))));
        let channel = domain.xen.events().adopt(Port(2), Kind::Ipi, FIRST);
        // An event that arrived before is not lost.
        domain.raise(Port(2));
        let listener = dispatcher.listen(channel, FIRST).unwrap();
        assert_eq!((listener.port(), listener.vcpu()), (Port(2), FIRST));
        assert_eq!(handled(&dispatcher, FIRST), [Port(2)]);
        domain.raise(Port(1));
        assert_eq!(handled(&dispatcher, FIRST), []);
        assert!(dispatcher.clear(Port(1)), "it is pending");
        assert!(!dispatcher.clear(Port(1)), "it was taken");

        // The block of the second vCPU stands for one that the first has registered.
        bitmaps.unmask(domain.xen.events(), Port(3), PortSet::new()).unwrap();
        domain.raise(Port(3));
        assert_eq!(handled(&dispatcher, FIRST), []);
        dispatcher.attach_vcpu(FIRST, domain.vcpu(1)).unwrap();
        assert_eq!(handled(&dispatcher, FIRST), [Port(3)]);
        let refused = dispatcher.attach_vcpu(SECOND, domain.vcpu(1));
        assert_eq!(refused, Err(EventError::NoSuchVcpu(SECOND)));
    });
}

#[test]
fn a_channel_moves_to_the_vcpu_that_listens() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        dispatcher.attach(domain.shared);
        let (near, far) = domain.bind_pair();
        let channel = domain.xen.events().adopt(near, Kind::Unbound, FIRST);
        let listener = dispatcher.listen(channel, SECOND).unwrap();
        domain.raise(far);
        assert!(domain.upcall_pending(1) && !domain.upcall_pending(0));
        assert_eq!(handled(&dispatcher, FIRST), []);
        assert_eq!(handled(&dispatcher, SECOND), [near]);
        assert_eq!(listener.channel().status().unwrap().vcpu, SECOND);

        // An IPI stays where it is.
        let ipi = domain.xen.events().bind_ipi(FIRST).unwrap();
        let refused = dispatcher.listen(ipi, SECOND).unwrap_err();
        assert_eq!(EventError::from(refused), EventError::Hypercall(Errno::EINVAL));
        assert_eq!(domain.xen.events().bind_ipi(FIRST).unwrap().port(), Port(far.0 + 1));
    });
}

#[test]
fn the_next_owner_of_a_port_starts_afresh() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        dispatcher.attach(domain.shared);
        let events = domain.xen.events();
        // Their events let each vCPU look at the word in which the port is.
        let others = [FIRST, SECOND]
            .map(|vcpu| dispatcher.listen(events.bind_ipi(vcpu).unwrap(), vcpu).unwrap());
        let first = dispatcher.listen(events.bind_ipi(FIRST).unwrap(), FIRST).unwrap();
        let port = first.port();
        first.send().unwrap();
        drop(first);
        assert!(domain.bitmaps().is_masked(port));
        assert_eq!(handled(&dispatcher, FIRST), [], "the event went with its channel");

        let second = dispatcher.listen(events.bind_ipi(SECOND).unwrap(), SECOND).unwrap();
        assert_eq!(second.port(), port);
        second.send().unwrap();
        others[0].send().unwrap();
        assert_eq!(handled(&dispatcher, FIRST), [others[0].port()]);
        assert_eq!(handled(&dispatcher, SECOND), [port]);

        // So does one whose number was closed behind the listener's back.
        events.close(port).unwrap();
        let third = dispatcher.listen(events.bind_ipi(FIRST).unwrap(), FIRST).unwrap();
        assert_eq!(third.port(), port);
        third.send().unwrap();
        others[1].send().unwrap();
        assert_eq!(handled(&dispatcher, SECOND), [others[1].port()]);
        assert_eq!(handled(&dispatcher, FIRST), [port]);
        std::mem::forget(second);
    });
}

#[test]
fn a_channel_can_be_taken_back() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        dispatcher.attach(domain.shared);
        let events = domain.xen.events();
        let channel = dispatcher.listen(events.bind_ipi(SECOND).unwrap(), SECOND).unwrap();
        let channel = channel.into_channel();
        channel.send().unwrap();
        assert!(domain.bitmaps().is_masked(channel.port()) && !domain.upcall_pending(1));
        assert!(domain.bitmaps().clear(channel.port()));
        assert_eq!((channel.kind(), channel.status().unwrap().vcpu), (Kind::Ipi, SECOND));
        assert_eq!(channel.close(), Ok(()));
    });
}

#[test]
fn a_listener_masks_unmasks_and_migrates() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        dispatcher.attach(domain.shared);
        let (near, far) = domain.bind_pair();
        let channel = domain.xen.events().adopt(near, Kind::Unbound, FIRST);
        let listener = dispatcher.listen(channel, FIRST).unwrap();
        let bitmaps = domain.bitmaps();
        let calls = |work: &dyn Fn()| {
            let before = domain.guest.hypercalls();
            work();
            domain.guest.hypercalls() - before
        };
        let pause = || panic!("no handler runs");
        assert!(!listener.mask() && listener.mask() && dispatcher.mask(near));
        assert_eq!(calls(&|| listener.unmask(FIRST).unwrap()), 0, "its own vCPU unmasks it");
        assert_eq!(calls(&|| listener.unmask(SECOND).unwrap()), 1, "another vCPU asks Xen");

        // An event that the old vCPU was told of is the new one's.
        domain.raise(far);
        listener.migrate(SECOND, pause).unwrap();
        assert_eq!((listener.vcpu(), bitmaps.is_masked(near)), (SECOND, false));
        assert_eq!(handled(&dispatcher, FIRST), []);
        assert_eq!(handled(&dispatcher, SECOND), [near]);

        // A masked channel moves masked.
        let events = domain.xen.events();
        listener.mask();
        dispatcher.migrate(events, near, FIRST, pause).unwrap();
        assert!(listener.vcpu() == FIRST && bitmaps.is_masked(near));
        dispatcher.unmask(events, near, FIRST).unwrap();

        // What cannot move stays.
        assert_eq!(listener.migrate(VcpuId(2), pause), Err(EventError::NoSuchVcpu(VcpuId(2))));
        let ipi = dispatcher.listen(domain.xen.events().bind_ipi(FIRST).unwrap(), FIRST).unwrap();
        assert_eq!(ipi.migrate(SECOND, pause), Err(EventError::Hypercall(Errno::EINVAL)));
        assert!(!bitmaps.is_masked(ipi.port()));
        domain.raise(far);
        ipi.send().unwrap();
        let mut ports = handled(&dispatcher, FIRST);
        ports.sort_unstable();
        assert_eq!(ports, [near, ipi.port()]);
    });
}

/// A kernel on two vCPUs, for what happens between them.
fn on_two_vcpus(
    seed: u64,
    rates: FaultRates,
    first: impl Fn(Guest, &'static Dispatcher<2>) -> Result<(), Box<dyn Error>> + Send + 'static,
    second: impl FnOnce(Guest) + Send + 'static,
    handler: impl Fn(VcpuId, Port) + Send + Sync + 'static,
) {
    let mut machine = Machine::new(Profile::DOM0, seed).unwrap().fault_rates(rates);
    let program = move |guest: Guest| -> Result<(), Box<dyn Error>> {
        let xen = Xen::new(guest.xen());
        let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
        // SAFETY: nothing else uses the page, and the domain does not outlive its machine.
        let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
        let dispatcher: &'static Dispatcher<2> = Box::leak(Box::default());
        dispatcher.attach(shared);
        guest.on_interrupt(0xf3, move || {
            let me = guest.vcpu();
            let _: Drain = dispatcher.dispatch(me, |port| handler(me, port));
        });
        guest.start(SECOND, move |guest: Guest| {
            guest.enable_interrupts();
            second(guest);
        })?;
        guest.enable_interrupts();
        first(guest, dispatcher)
    };
    machine.domain(DomainConfig::new().vcpus(2), program).unwrap();
    if let Err(failure) = machine.run() {
        panic!("{failure}");
    }
}

/// On Arm, a vCPU that is down loses the upcall of the registration of its `vcpu_info`.
#[test]
fn a_vcpu_that_was_down_when_it_was_attached_gets_upcalls() {
    for_each_seed(20, |seed| {
        let mut machine = Machine::new(Profile::DOM0LESS, seed)?.fault_rates(FaultRates::storm());
        let kernel = |guest: Guest| -> Result<(), Box<dyn Error>> {
            let xen = Xen::new(guest.xen());
            let latch = WidthLatch::new(guest.xen())?;
            // SAFETY: nothing else uses the page, and the domain does not outlive its machine.
            let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
            let dispatcher: &'static Dispatcher<2> = Box::leak(Box::default());
            dispatcher.attach(shared);
            let handled = Arc::new(AtomicU32::new(0));
            let counts = Arc::clone(&handled);
            guest.on_interrupt(31, move || {
                let me = guest.vcpu();
                let _: Drain = dispatcher.dispatch(me, |_| {
                    assert_eq!(me, SECOND);
                    counts.fetch_add(1, Ordering::SeqCst);
                });
            });
            // SAFETY: nothing else uses the page; zeroes are an area.
            let area = unsafe { guest.page(1).cast::<Area<raw::VcpuInfo>>().as_ref() };
            let info = xen.vcpu(SECOND).register_vcpu_info(&guest.space(), latch, area)?;
            dispatcher.attach_vcpu(SECOND, info)?;
            let listener = dispatcher.listen(xen.events().bind_ipi(SECOND)?, SECOND)?;
            let seen = Arc::clone(&handled);
            guest.start(SECOND, move |guest: Guest| {
                guest.enable_interrupts();
                while seen.load(Ordering::SeqCst) == 0 {
                    guest.relax();
                }
            })?;
            listener.send()?;
            let mut turns = 0;
            while handled.load(Ordering::SeqCst) == 0 {
                turns += 1;
                assert!(turns < 100_000, "the upcall is lost");
                guest.relax();
            }
            Ok(())
        };
        machine.domain(DomainConfig::domu().vcpus(2), kernel)?;
        Ok(machine.run()?)
    });
}

#[test]
fn a_handler_never_runs_on_two_vcpus_at_once() {
    for seed in 0..30 {
        // Which vCPU runs the handler, plus one.
        let (running, handled, over) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counts, done, ends) = (Arc::clone(&handled), Arc::clone(&over), Arc::clone(&over));
        let first = move |guest: Guest, dispatcher: &'static Dispatcher<2>| {
            let events = Xen::new(guest.xen()).events();
            let near = events.alloc_unbound(Domid::SELF)?;
            let far = events.bind_interdomain(Domid::SELF, near.port())?;
            let listener = dispatcher.listen(near, FIRST)?;
            for round in 1..=20_u32 {
                far.send()?;
                let to = if round % 2 == 0 { FIRST } else { SECOND };
                listener.migrate(to, || guest.relax())?;
                far.send()?;
                while counts.load(Ordering::SeqCst) < round {
                    guest.relax();
                }
            }
            done.store(true, Ordering::SeqCst);
            Ok(())
        };
        let second = move |guest: Guest| {
            while !ends.load(Ordering::SeqCst) {
                guest.relax();
            }
        };
        let handler = move |me: VcpuId, _| {
            assert_eq!(running.swap(me.0 + 1, Ordering::SeqCst), 0, "it runs on the other vCPU");
            for _ in 0..3 {
                // The processor can be taken away here.
                let _ = Xen::new(xen_sim::Hypervisor).sched().yield_now();
            }
            assert_eq!(running.swap(0, Ordering::SeqCst), me.0 + 1);
            handled.fetch_add(1, Ordering::SeqCst);
        };
        let rates = FaultRates { preempt_accesses: 4, ..FaultRates::new() };
        on_two_vcpus(seed, rates, first, second, handler);
    }
}

/// A peer that signals whenever it can: the handler masks the port, and a task unmasks it when it
/// has done its work. Without the mask, the first vCPU would never get to the task.
#[test]
fn late_acknowledgement_bounds_a_storm() {
    for_each_seed(20, |seed| {
        let mut machine = Machine::new(Profile::DOM0, seed)?.fault_rates(FaultRates::storm());
        machine.domain(DomainConfig::new(), |guest: Guest| -> Result<(), Box<dyn Error>> {
            let xen = Xen::new(guest.xen());
            let latch = xen.hvm().set_callback_via(CallbackVia::vector(0xf3)?)?;
            // SAFETY: nothing else uses the page, and the domain does not outlive its machine.
            let shared = unsafe { latch.map_shared_info(&guest.space(), guest.page(0).cast()) }?;
            let (dispatcher, work, calls) = (
                Arc::new(Dispatcher::<1>::new()),
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicU32::new(0)),
            );
            dispatcher.attach(shared);
            let (events, woken, handled) =
                (Arc::clone(&dispatcher), Arc::clone(&work), Arc::clone(&calls));
            guest.on_interrupt(0xf3, move || {
                let _: Drain = events.dispatch(FIRST, |port| {
                    events.mask(port);
                    handled.fetch_add(1, Ordering::Relaxed);
                    woken.store(true, Ordering::Release);
                    // The peer signals again at once.
                    let _ = xen.events().send(port);
                });
            });
            guest.enable_interrupts();
            let bell = dispatcher.listen(xen.events().bind_ipi(FIRST)?, FIRST)?;
            bell.send()?;
            for round in 1..=10 {
                guest.interrupts().wait_until(|| work.swap(false, Ordering::Acquire));
                assert_eq!(calls.load(Ordering::Relaxed), round, "one call per round of the task");
                bell.unmask(FIRST)?;
            }
            Ok(())
        })?;
        Ok(machine.run()?)
    });
}

#[test]
fn a_dispatch_in_a_handler_is_part_of_the_outer_one() {
    with_domain(|domain| {
        let dispatcher = Dispatcher::<2>::new();
        dispatcher.attach(domain.shared);
        let bind = || domain.xen.events().bind_ipi(FIRST).unwrap();
        let listeners = [bind(), bind()].map(|channel| dispatcher.listen(channel, FIRST).unwrap());
        listeners[0].send().unwrap();
        let ports = RefCell::new(Vec::new());
        let drain = dispatcher.dispatch(FIRST, |port| {
            ports.borrow_mut().push(port);
            if ports.borrow().len() == 1 {
                listeners[1].send().unwrap();
                let nested = handled(&dispatcher, FIRST);
                ports.borrow_mut().extend(nested);
                // The outer handler still runs.
                let mut turns = 0;
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    dispatcher.wait_until_idle(FIRST, || {
                        turns += 1;
                        assert!(turns < 3, "it waits for itself");
                    });
                }))
                .expect_err("it must wait");
            }
        });
        assert_eq!(drain, Drain::Finished);
        assert_eq!(*ports.borrow(), listeners.each_ref().map(|listener| listener.port()));
        dispatcher.wait_until_idle(FIRST, || panic!("nothing runs"));
        dispatcher.wait_until_idle(VcpuId(9), || panic!("there is no such vCPU"));
    });
}
