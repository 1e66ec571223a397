//! Random operations on the ports of two vCPUs, against a model of which events are due.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::mem::{replace, take};
use std::ops::ControlFlow;

use xen_hal::event::{Dispatcher, Drain, Listener, Port, TwoLevel};
use xen_hal::platform::VcpuId;
use xen_pac::base::Domid;
use xen_sim::{FaultRates, Hypervisor};

use super::{BITS, Domain, with_domain_of};

/// Ports at the edges of words, and neighbours.
const PORTS: [Port; 10] = [
    Port(1),
    Port(2),
    Port(BITS / 2),
    Port(BITS - 1),
    Port(BITS),
    Port(BITS + 1),
    Port(5 * BITS + 7),
    Port(5 * BITS + 8),
    Port(TwoLevel::PORTS - BITS),
    Port(TwoLevel::PORTS - 1),
];

/// What is known of a port besides its bits.
#[derive(Clone, Debug, Default)]
struct Known {
    vcpu: u32,
    pending: bool,
    masked: bool,
    /// While an event is due: how often each other port was handled meanwhile.
    waited: BTreeMap<Port, u32>,
}

struct World<'d> {
    domain: &'d Domain,
    dispatcher: &'d Dispatcher<2>,
    listeners: Vec<Listener<'d, Hypervisor>>,
    /// The ports that raise `PORTS`.
    peers: Vec<Port>,
    known: RefCell<BTreeMap<Port, Known>>,
    /// Whether some dispatches have a handler that cannot stop.
    mixes: bool,
    /// The vCPU whose handlers run, if any do.
    dispatching: Cell<Option<u32>>,
}

impl<'d> World<'d> {
    fn new(domain: &'d Domain, dispatcher: &'d Dispatcher<2>, mixes: bool) -> Self {
        dispatcher.attach(domain.shared);
        let events = domain.xen.events();
        // Ports between the wanted ones are bound, so that these get their numbers.
        let mut channels = Vec::new();
        let mut fillers = Vec::new();
        for port in (1..TwoLevel::PORTS).map(Port) {
            if PORTS.contains(&port) {
                channels.push(events.alloc_unbound(Domid::SELF).unwrap());
            } else {
                fillers.push(events.bind_ipi(VcpuId(0)).unwrap());
            }
        }
        fillers.truncate(fillers.len() - PORTS.len());
        let bind = |port: &Port| events.bind_interdomain(Domid::SELF, *port).unwrap().into_port();
        let peers = PORTS.iter().map(bind).collect();
        fillers.into_iter().for_each(|filler| _ = filler.into_port());
        let listen = |channel| dispatcher.listen(channel, VcpuId(0)).unwrap();
        let listeners = channels.into_iter().map(listen).collect();
        let known = PORTS.map(|port| (port, Known::default())).into();
        Self {
            domain,
            dispatcher,
            listeners,
            peers,
            known: RefCell::new(known),
            mixes,
            dispatching: Cell::new(None),
        }
    }

    fn random(&self, below: usize) -> usize {
        self.domain.guest.random() as usize % below
    }

    /// A random operation by `here`.
    fn step(&self, here: u32) {
        let index = self.random(PORTS.len());
        let (listener, port) = (&self.listeners[index], PORTS[index]);
        let mut all = self.known.borrow_mut();
        let known = all.get_mut(&port).unwrap();
        match self.random(11) {
            0 => assert_eq!(listener.mask(), replace(&mut known.masked, true)),
            1 | 2 => {
                listener.unmask(VcpuId(here)).unwrap();
                known.masked = false;
            }
            3 => {
                let was = take(&mut known.pending);
                assert_eq!(self.domain.bitmaps().clear(port), was);
            }
            // A handler must not wait for its own vCPU.
            4 if self.dispatching.get() != Some(known.vcpu) => {
                let vcpu = self.random(2) as u32;
                listener.migrate(VcpuId(vcpu), || panic!("no handler runs there")).unwrap();
                known.vcpu = vcpu;
                known.waited.clear();
            }
            _ => {
                self.domain.raise(self.peers[index]);
                known.pending = true;
            }
        }
        for known in all.values_mut().filter(|known| !known.pending || known.masked) {
            known.waited.clear();
        }
    }

    /// A port's handler is called on a vCPU: there must be an event for it.
    fn handle(&self, vcpu: u32, port: Port) {
        let mut all = self.known.borrow_mut();
        let known = all.get_mut(&port).expect("a port that is listened to");
        let due = known.pending && !known.masked && known.vcpu == vcpu;
        assert!(due, "{port:?} on {vcpu}: {known:?}");
        known.pending = false;
        known.waited.clear();
        for (waiting, known) in
            all.iter_mut().filter(|(_, known)| known.pending && !known.masked && known.vcpu == vcpu)
        {
            let times = known.waited.entry(port).or_default();
            *times += 1;
            let most = if self.mixes { 3 } else { 2 };
            assert!(*times <= most, "{port:?} was handled {times} times while {waiting:?} waited");
        }
    }

    /// Dispatches with `steps` operations of the handlers, which stop after `stop` events.
    fn dispatch(&self, vcpu: u32, steps: usize, stop: usize) {
        let (mut left, mut count) = (steps, 0);
        self.dispatching.set(Some(vcpu));
        let mut handler = |port| {
            self.handle(vcpu, port);
            if left > 0 {
                left -= 1;
                self.step(vcpu);
            }
            count += 1;
            if count == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let drain = if self.mixes && stop == 0 && self.random(2) == 0 {
            self.dispatcher.dispatch(VcpuId(vcpu), |port| _ = handler(port))
        } else {
            self.dispatcher.try_dispatch(VcpuId(vcpu), handler)
        };
        self.dispatching.set(None);
        match drain {
            Drain::Finished => assert_eq!(self.due(vcpu), [], "left behind"),
            Drain::Unfinished => assert!(self.domain.upcall_pending(vcpu)),
        }
    }

    /// The ports that a vCPU has to handle.
    fn due(&self, vcpu: u32) -> Vec<Port> {
        let all = self.known.borrow();
        all.iter()
            .filter(|(_, known)| known.pending && !known.masked && known.vcpu == vcpu)
            .map(|(port, _)| *port)
            .collect()
    }

    /// Of each port that is due, its vCPU knows: the upcall is pending, and the selector names the
    /// word.
    fn check(&self) {
        for vcpu in 0..2 {
            for port in self.due(vcpu) {
                let selected = self.domain.selector(vcpu) >> (port.0 / BITS) & 1 != 0;
                let told = selected && self.domain.upcall_pending(vcpu);
                assert!(told, "vCPU {vcpu} does not know of {port:?}");
            }
        }
        for (port, known) in self.known.borrow().iter() {
            let bitmaps = self.domain.bitmaps();
            let bits = (bitmaps.is_pending(*port), bitmaps.is_masked(*port));
            assert_eq!(bits, (known.pending, known.masked), "{port:?}");
        }
    }
}

#[test]
fn no_event_is_lost_doubled_or_starved() {
    for seed in 0..20 {
        with_domain_of(seed, FaultRates::none(), move |domain| {
            let dispatcher = Dispatcher::new();
            let world = World::new(domain, &dispatcher, seed % 2 == 0);
            for _ in 0..2_000 {
                let vcpu = world.random(2) as u32;
                if world.random(5) < 3 {
                    world.step(vcpu);
                } else {
                    world.dispatch(vcpu, world.random(12), world.random(4));
                }
                world.check();
            }
            for vcpu in 0..2 {
                world.dispatch(vcpu, 0, 0);
                assert_eq!(world.due(vcpu), []);
            }
        });
    }
}
