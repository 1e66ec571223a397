//! Masks and the dispatcher do the same as their twins in C, to the domain's memory and to the
//! handlers, at random.

use core::cell::Cell;
use core::ffi::c_void;
use core::ops::ControlFlow;
use core::ptr::{from_mut, null};

use proptest::prelude::*;
use xen_hal::event::{Drain, Port};
use xen_hal_bench::event::{
    Tally, dispatch, dispatch_all, mask, try_dispatch, twin, unmask, unmask_all,
};
use xen_hal_bench::fixture::Domain;
use xen_hal_bench::hypercall::answer_with;
use xen_pac::command::Command;
use xen_pac::event_channel::{EvtchnUnmask, command};
use xen_pac::hypercall::HypercallNr;

thread_local! {
    /// The domain whose hypercalls are answered, and how many there were.
    static DOMAIN: Cell<(*const Domain, u32)> = const { Cell::new((null(), 0)) };
}

fn answer(number: u32, command: usize, argument: *mut c_void) -> isize {
    let expected = (HypercallNr::EVENT_CHANNEL_OP.0, command::Unmask::NUMBER as usize);
    assert_eq!((number, command), expected);
    let (domain, calls) = DOMAIN.get();
    DOMAIN.set((domain, calls + 1));
    // SAFETY: the argument of this command is a port, in Rust and in C.
    let port = unsafe { argument.cast::<EvtchnUnmask>().read() }.port;
    // SAFETY: the test has set its domain, which lives until the test sets another.
    unsafe { &*domain }.unmask(port);
    0
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(u32),
    Mask(u32),
    Unmask(u32),
    UnmaskAll(u32),
}

#[derive(Clone, Debug)]
enum Action {
    Step(Step),
    /// The handler takes a step for each event, and stops after so many.
    Dispatch(Vec<Step>, u32),
    /// With the handlers that are compiled in.
    Count(Kind),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    All,
    Own,
    /// The handler stops after so many events.
    UpTo(u64),
}

struct Side {
    domain: Box<Domain>,
    ours: bool,
}

/// What a handler did.
struct Handler<'s> {
    side: &'s Side,
    steps: Vec<Step>,
    stop: u32,
    ports: Vec<u32>,
    answers: Vec<i64>,
}

impl Handler<'_> {
    fn handle(&mut self, port: u32) -> bool {
        self.ports.push(port);
        if let Some(step) = self.steps.pop() {
            self.answers.push(self.side.step(step));
        }
        self.ports.len() as u32 != self.stop
    }
}

extern "C" fn handle(state: *mut c_void, port: u32) -> bool {
    // SAFETY: the state is the handler that the test below passes, and nobody else uses it
    // meanwhile.
    unsafe { &mut *state.cast::<Handler<'_>>() }.handle(port)
}

impl Side {
    fn new(ours: bool, own: &[u32]) -> Self {
        let domain = Box::<Domain>::default();
        own.iter().for_each(|port| domain.bind(*port));
        Self { domain, ours }
    }

    fn step(&self, step: Step) -> i64 {
        let (domain, page) = (&*self.domain, self.domain.page.as_ptr());
        let (bitmaps, own) = (domain.bitmaps(), domain.own_words.as_ptr().cast());
        let before = DOMAIN.replace((domain, 0));
        let errno = |result: Result<(), xen_hal::hypercall::Errno>| {
            result.map_or_else(|errno| -i64::from(errno.number()), |()| 0)
        };
        let answer = match (step, self.ours) {
            (Step::Raise(port), _) => {
                domain.raise(port % 4096);
                0
            }
            (Step::Mask(port), true) => mask(bitmaps, Port(port)).into(),
            // SAFETY: the domain's memory lives, and is accessed alike by both.
            (Step::Mask(port), false) => unsafe { twin::twin_mask(page, port) }.into(),
            (Step::Unmask(port), true) => errno(unmask(bitmaps, Port(port), &domain.own)),
            // SAFETY: as above.
            (Step::Unmask(port), false) => unsafe { twin::twin_unmask(page, port, own) }.into(),
            (Step::UnmaskAll(port), true) => errno(unmask_all(bitmaps, Port(port))),
            // SAFETY: as above.
            (Step::UnmaskAll(port), false) => unsafe { twin::twin_unmask_all(page, port) }.into(),
        };
        let calls = DOMAIN.replace(before).1;
        answer << 8 | i64::from(calls)
    }

    fn dispatch(&self, steps: &[Step], stop: u32) -> (bool, Vec<u32>, Vec<i64>) {
        let domain = &*self.domain;
        let mut handler = Handler {
            side: self,
            steps: steps.to_vec(),
            stop,
            ports: Vec::new(),
            answers: Vec::new(),
        };
        let finished = if self.ours {
            let progress =
                domain.bitmaps().try_dispatch(domain.vcpu(), &domain.own, &domain.cursor, |port| {
                    if handler.handle(port.0) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
            progress == Drain::Finished
        } else {
            let (vcpu, own) = (domain.vcpu().as_ptr().as_ptr(), domain.own_words.as_ptr().cast());
            let state = from_mut(&mut handler).cast();
            // SAFETY: the domain's memory lives, and is accessed alike by both.
            unsafe {
                twin::twin_dispatch_with(
                    domain.page.as_ptr(),
                    vcpu,
                    own,
                    domain.cursor_word.as_ptr(),
                    handle,
                    state,
                )
            }
        };
        (finished, handler.ports, handler.answers)
    }

    fn count(&self, kind: Kind) -> (bool, Tally) {
        let (domain, mut tally) = (&*self.domain, Tally::default());
        let (bitmaps, vcpu, page) = (domain.bitmaps(), domain.vcpu(), domain.page.as_ptr());
        let (block, cursor) = (vcpu.as_ptr().as_ptr(), domain.cursor_word.as_ptr());
        let own = domain.own_words.as_ptr().cast();
        let finished = if self.ours {
            let drain = match kind {
                Kind::All => dispatch_all(bitmaps, vcpu, &mut tally),
                Kind::Own => dispatch(bitmaps, vcpu, &domain.own, &mut tally),
                Kind::UpTo(most) => {
                    try_dispatch(bitmaps, vcpu, &domain.own, &domain.cursor, &mut tally, most)
                }
            };
            drain == Drain::Finished
        } else {
            let tally = &raw mut tally;
            // SAFETY: the domain's memory lives, and is accessed alike by both.
            unsafe {
                match kind {
                    Kind::All => twin::twin_dispatch_all(page, block, tally),
                    Kind::Own => twin::twin_dispatch(page, block, own, tally),
                    Kind::UpTo(most) => {
                        twin::twin_try_dispatch(page, block, own, cursor, tally, most)
                    }
                }
            }
        };
        (finished, tally)
    }

    fn act(&self, action: &Action) -> (bool, Vec<u32>, Vec<i64>, Tally) {
        match action {
            Action::Step(step) => (true, Vec::new(), vec![self.step(*step)], Tally::default()),
            Action::Dispatch(steps, stop) => {
                let (finished, ports, answers) = self.dispatch(steps, *stop);
                (finished, ports, answers, Tally::default())
            }
            Action::Count(kind) => {
                let (finished, tally) = self.count(*kind);
                (finished, Vec::new(), Vec::new(), tally)
            }
        }
    }
}

/// Ports of few words, so that they meet; and some that there are not.
fn port() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0..8_u32,
        6 => 60..70_u32,
        4 => 4030..4096_u32,
        3 => 0..4096_u32,
        1 => any::<u32>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => port().prop_map(Step::Raise),
        2 => port().prop_map(Step::Mask),
        2 => port().prop_map(Step::Unmask),
        1 => port().prop_map(Step::UnmaskAll),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::All), Just(Kind::Own), (0..4_u64).prop_map(Kind::UpTo)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => step().prop_map(Action::Step),
        2 => (prop::collection::vec(step(), 0..10), 0..4_u32)
            .prop_map(|(steps, stop)| Action::Dispatch(steps, stop)),
        1 => kind().prop_map(Action::Count),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_sides_do_the_same(
        own in prop::collection::vec(0..4096_u32, 0..40),
        few in prop::collection::vec(0..70_u32, 0..40),
        actions in prop::collection::vec(action(), 1..60),
    ) {
        answer_with(answer);
        let own = [own, few].concat();
        let (ours, theirs) = (Side::new(true, &own), Side::new(false, &own));
        for action in &actions {
            prop_assert_eq!(ours.act(action), theirs.act(action), "{:?}", action);
            prop_assert_eq!(ours.domain.state(), theirs.domain.state(), "{:?}", action);
        }
    }
}
