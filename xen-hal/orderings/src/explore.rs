//! Runs a scenario in every execution that the machine permits.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use xen_pac::access::atomic::{Access, set_checker};

use crate::machine::{Bounds, Choice, Learnt, Machine, Next, plain};
use crate::sites::Weakening;

/// The number of executions at random, before the systematic ones, that find the values and the
/// threads of each place.
const LEARNING: u64 = 500;

/// The most executions of a run.
const MOST: u64 = 400_000;

/// Threads that run at once on shared memory.
pub struct Scenario<'s> {
    /// Prepares the memory.
    pub reset: &'s dyn Fn(),
    /// The threads. They do the same in each execution, as far as they read the same.
    pub threads: &'s [&'s dyn Fn()],
    /// Checks what is left after an execution.
    pub end: &'s dyn Fn(),
    /// Where the search ends.
    pub bounds: Bounds,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The number of executions, those with a wrong guess included.
    pub executions: u64,
    /// The number of executions that were not discarded.
    pub valid: u64,
    /// True if every execution within the bounds was tried.
    pub complete: bool,
    /// What an execution broke, and its accesses.
    pub failure: Option<(String, Vec<String>)>,
    /// The accesses in the sources that were made.
    pub sites: Vec<usize>,
}

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
    /// The way back from the running coroutine; null if none runs.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(std::ptr::null()) };
}

fn machine<R>(ask: impl FnOnce(&mut Machine) -> R) -> Option<R> {
    MACHINE.with_borrow_mut(|machine| machine.as_mut().map(ask))
}

/// Leaves the running coroutine until its thread is active.
fn suspend() {
    let yielder = YIELDER.get();
    // SAFETY: if not null, it is the yielder of the coroutine that runs: the coroutine sets it, and
    // the loop of executions clears it when the coroutine is left.
    if let Some(running) = unsafe { yielder.as_ref() } {
        running.suspend(());
        YIELDER.set(yielder);
    }
}

/// Carries out an access of the running thread.
fn checker(access: Access) -> u64 {
    // Outside of threads, and while the stack of a discarded execution is unwound.
    if YIELDER.get().is_null() || std::thread::panicking() {
        return plain(&access);
    }
    loop {
        match machine(|machine| machine.access(access)) {
            None => return plain(&access),
            Some(Next::Value(value)) => return value,
            // A discarded execution never comes back.
            Some(Next::Switch | Next::Discard) => suspend(),
        }
    }
}

/// Lets another thread run, for a thread that waits.
pub fn pause() {
    machine(Machine::pause);
    suspend();
}

/// Notes what an execution broke, unless `holds`.
pub fn check(holds: bool, what: &str) {
    if !holds {
        machine(|machine| machine.failures.push(what.to_owned()));
    }
}

/// Runs the executions of a scenario until one fails.
#[must_use]
pub fn explore(scenario: &Scenario<'_>, weakening: Option<Weakening>) -> Outcome {
    set_checker(checker);
    let new_stack = |_| DefaultStack::new(128 << 10).expect("memory for a stack");
    let mut stacks: Vec<DefaultStack> = (0..scenario.threads.len()).map(new_stack).collect();
    let (mut outcome, mut learnt) = (Outcome::default(), Learnt::default());
    let mut choice = Choice::Random(0x9e37_79b9_7f4a_7c15);
    loop {
        let learning = outcome.executions < LEARNING;
        if outcome.executions == LEARNING {
            choice = Choice::All(Vec::new(), 0);
        }
        (scenario.reset)();
        let count = scenario.threads.len();
        let new = Machine::new(count, scenario.bounds, weakening, choice, learnt, learning);
        MACHINE.set(Some(new));
        run(scenario, &mut stacks);
        let discarded = machine(|machine| machine.discarded) == Some(true);
        outcome.executions += 1;
        if !discarded {
            outcome.valid += 1;
            (scenario.end)();
        }
        let mut machine = MACHINE.take().expect("only this function takes it");
        if !discarded && !machine.failures.is_empty() {
            machine.failures.dedup();
            outcome.failure = Some((machine.failures.join("; "), machine.trace()));
        }
        (choice, learnt) = (machine.choice, machine.learnt);
        outcome.complete = !learning && !choice.advance();
        if outcome.failure.is_some() || outcome.complete || outcome.executions >= MOST {
            outcome.sites = learnt.sites.into_iter().collect();
            return outcome;
        }
    }
}

/// Runs one execution to its end, or until it is discarded.
fn run(scenario: &Scenario<'_>, stacks: &mut Vec<DefaultStack>) {
    let thread = |(stack, body): (DefaultStack, &&dyn Fn())| {
        // SAFETY: the scenario outlives the coroutine, which does not leave this function.
        let body = unsafe { std::mem::transmute::<&dyn Fn(), &'static dyn Fn()>(*body) };
        Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            let ended = catch_unwind(AssertUnwindSafe(body));
            // The stack of a discarded execution is unwound too.
            check(ended.is_ok(), "a thread panics");
        })
    };
    let mut threads: Vec<_> = stacks.drain(..).zip(scenario.threads).map(thread).collect();
    while let Some((active, false)) = machine(|machine| (machine.active, machine.discarded)) {
        let ended = threads[active].resume(()).as_return().is_some();
        YIELDER.set(std::ptr::null());
        if ended && machine(Machine::finish) != Some(true) {
            break;
        }
    }
    stacks.extend(threads.into_iter().map(|mut thread| {
        // Of a discarded execution.
        thread.force_unwind();
        thread.into_stack()
    }));
}
