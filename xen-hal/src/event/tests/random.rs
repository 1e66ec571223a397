//! Anything that a kernel and its peers may do, at random, against a model of which events are due.

use core::cell::RefCell;
use core::mem::{replace, take};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::model::{BITS, Xen};
use crate::event::{Drain, Events, Port, PortSet, ScanCursor, TwoLevel};
use crate::platform::VcpuId;

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

#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(Port),
    Mask(Port),
    Unmask(Port),
    Clear(Port),
    Migrate(Port, u32),
}

impl Step {
    fn port(self) -> Port {
        let (Self::Raise(port)
        | Self::Mask(port)
        | Self::Unmask(port)
        | Self::Clear(port)
        | Self::Migrate(port, _)) = self;
        port
    }
}

#[derive(Clone, Debug)]
enum Action {
    Step(Step),
    /// A vCPU dispatches: before each answer its handler takes the next of the steps, and it stops
    /// after so many events.
    Dispatch {
        vcpu: u32,
        steps: Vec<Step>,
        stop: usize,
    },
}

/// What is known of a port besides its bits.
#[derive(Clone, Debug, Default)]
struct Known {
    vcpu: u32,
    pending: bool,
    masked: bool,
    /// While an event is due: how often each other port was handled meanwhile.
    waited: BTreeMap<Port, u32>,
}

struct World {
    xen: Xen,
    own: [PortSet; 2],
    cursors: [ScanCursor; 2],
    ports: RefCell<BTreeMap<Port, Known>>,
    /// The vCPU that runs.
    here: usize,
}

impl World {
    fn new() -> Self {
        let own = [PortSet::new(), PortSet::new()];
        for port in PORTS {
            own[0].insert(port);
        }
        let ports = PORTS.map(|port| (port, Known::default())).into();
        Self {
            xen: Xen::new(),
            own,
            cursors: Default::default(),
            ports: RefCell::new(ports),
            here: 0,
        }
    }

    fn step(&self, step: Step) {
        let (bitmaps, events) = (self.xen.bitmaps(), Events::new(&self.xen));
        let mut ports = self.ports.borrow_mut();
        let known = ports.get_mut(&step.port()).unwrap();
        match step {
            Step::Raise(port) => {
                self.xen.raise(port);
                known.pending = true;
            }
            Step::Mask(port) => assert_eq!(bitmaps.mask(port), replace(&mut known.masked, true)),
            Step::Unmask(port) => {
                bitmaps.unmask(events, port, &self.own[self.here]).unwrap();
                known.masked = false;
            }
            Step::Clear(port) => assert_eq!(bitmaps.clear(port), take(&mut known.pending)),
            Step::Migrate(port, vcpu) => {
                let (from, to) = (&self.own[known.vcpu as usize], &self.own[vcpu as usize]);
                bitmaps.migrate(events, port, VcpuId(vcpu), from, to).unwrap();
                known.vcpu = vcpu;
                known.waited.clear();
            }
        }
        for known in ports.values_mut().filter(|known| !known.pending || known.masked) {
            known.waited.clear();
        }
    }

    /// A port's handler is called on a vCPU: there must be an event for it.
    fn handle(&self, vcpu: u32, port: Port) {
        let mut ports = self.ports.borrow_mut();
        let known = ports.get_mut(&port).expect("a port that was never raised");
        assert!(
            known.pending && !known.masked && known.vcpu == vcpu,
            "{port:?} on {vcpu}: {known:?}"
        );
        known.pending = false;
        known.waited.clear();
        for (waiting, known) in ports
            .iter_mut()
            .filter(|(_, known)| known.pending && !known.masked && known.vcpu == vcpu)
        {
            let times = known.waited.entry(port).or_default();
            *times += 1;
            assert!(*times <= 2, "{port:?} was handled {times} times while {waiting:?} waited");
        }
    }

    fn dispatch(&self, vcpu: u32, steps: &[Step], stop: usize) {
        let (own, cursor) = (&self.own[vcpu as usize], &self.cursors[vcpu as usize]);
        let (mut steps, mut count) = (steps.iter(), 0);
        let progress = self.xen.bitmaps().dispatch(self.xen.vcpu(vcpu), own, cursor, |port| {
            self.handle(vcpu, port);
            steps.next().into_iter().for_each(|step| self.step(*step));
            count += 1;
            if count == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let due = self.due(vcpu);
        match progress {
            Drain::Finished => assert_eq!(due, [], "were left behind"),
            Drain::Unfinished => assert!(self.xen.upcall_pending(vcpu)),
        }
    }

    /// The ports that a vCPU has to handle.
    fn due(&self, vcpu: u32) -> Vec<Port> {
        let ports = self.ports.borrow();
        ports
            .iter()
            .filter(|(_, known)| known.pending && !known.masked && known.vcpu == vcpu)
            .map(|(port, _)| *port)
            .collect()
    }

    /// Whatever is due, its vCPU knows of: the upcall is pending, and the selector names the word.
    fn check(&self) {
        for vcpu in 0..2 {
            for port in self.due(vcpu) {
                let selected = self.xen.selector(vcpu) >> (port.0 / BITS) & 1 != 0;
                assert!(
                    selected && self.xen.upcall_pending(vcpu),
                    "vCPU {vcpu} does not know of {port:?}"
                );
            }
        }
        for (port, known) in self.ports.borrow().iter() {
            let bits = (self.xen.bitmaps().is_pending(*port), self.xen.bitmaps().is_masked(*port));
            assert_eq!(bits, (known.pending, known.masked), "{port:?}");
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let port = || prop::sample::select(PORTS.as_slice());
    prop_oneof![
        6 => port().prop_map(Step::Raise),
        1 => port().prop_map(Step::Mask),
        2 => port().prop_map(Step::Unmask),
        1 => port().prop_map(Step::Clear),
        1 => (port(), 0..2_u32).prop_map(|(port, vcpu)| Step::Migrate(port, vcpu)),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let dispatch = (0..2_u32, prop::collection::vec(step(), 0..12), 0..4_usize);
    prop_oneof![
        3 => step().prop_map(Action::Step),
        2 => dispatch.prop_map(|(vcpu, steps, stop)| Action::Dispatch { vcpu, steps, stop }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_event_is_lost_doubled_or_starved(actions in prop::collection::vec((action(), 0..2_usize), 1..80)) {
        let mut world = World::new();
        for (action, here) in actions {
            match action {
                Action::Step(step) => {
                    world.here = here;
                    world.step(step);
                }
                Action::Dispatch { vcpu, steps, stop } => {
                    world.here = vcpu as usize;
                    world.dispatch(vcpu, &steps, stop);
                }
            }
            world.check();
        }
        for vcpu in 0..2 {
            world.dispatch(vcpu, &[], 0);
            prop_assert_eq!(world.due(vcpu), []);
        }
    }
}
